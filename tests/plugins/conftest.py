"""A bucket in moto for the tests of object stores that need no other server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Moto's address. It is imported here, because other tests of this folder need neither moto nor obstore."""
    from support.object_places import moto_s3

    with moto_s3() as address:
        yield address


@pytest.fixture
async def place(server: str, tmp_path: Path) -> AsyncIterator[Any]:
    from support.object_places import s3_place

    async with s3_place(server, tmp_path) as made:
        yield made
