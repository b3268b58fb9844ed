"""How long to wait before the next try, for all that try again: lanes, reconnections, stores that do not answer."""

from __future__ import annotations

from typing import Final

_DOUBLINGS_MAX: Final = 64
"""A power of two that no delay needs; more tries than that must not make a number too large for a float."""


def backoff(tries: int, first: float, last: float, jitter: float = 1.0) -> float:
    """The delay after this many failed tries in a row, 1 or more: `first`, doubled with each further try up to `last`.

    In the unit of `first` and `last`. `jitter` multiplies the delay: a random factor spreads callers that failed at the
    same moment.
    """
    return min(last, first * 2.0 ** min(tries - 1, _DOUBLINGS_MAX)) * jitter
