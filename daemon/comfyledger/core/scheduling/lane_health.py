"""A lane that does not work, and when it is tried again."""

from __future__ import annotations

from typing import Final

import msgspec

PROBE_FIRST_MS: Final = 1_000
PROBE_LAST_MS: Final = 60_000
"""A lane in trouble is probed after one second, then two, four, up to a minute."""


class Trouble(msgspec.Struct):
    """A lane that does not work: when to try it again, how often it was tried in vain, whether it is being tried."""

    code: str
    probe_at_ms: int
    probes: int = 0
    probing: bool = False


def backoff_ms(times: int) -> int:
    """How long to wait after so many tries in vain."""
    return min(PROBE_LAST_MS, PROBE_FIRST_MS << min(times - 1, 10))
