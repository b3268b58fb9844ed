"""What every test finds as the one before it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _the_log_speaks_as_at_the_start() -> Iterator[None]:
    """A command that was run in this process has set the level of the log for the whole process."""
    yield
    structlog.reset_defaults()
