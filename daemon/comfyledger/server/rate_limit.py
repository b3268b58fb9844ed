"""How fast frames may come, and log lines that strangers cause: a bucket that fills evenly and is emptied by each of
them. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

BURST_S: Final = 5.0
"""So many seconds' worth may come at once: a client that comes back repeats all that had no answer."""


class TokenBucket:
    """Of one connection. `rate` in frames a second; times in seconds of any steady clock."""

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate, self._most = rate, rate * BURST_S
        self._left, self._seen_s = self._most, now_s

    def take(self, now_s: float) -> float:
        """0 if a frame may come now, else in how many seconds one may."""
        self._left = min(self._most, self._left + (now_s - self._seen_s) * self._rate)
        self._seen_s = now_s
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


LINES_PER_SECOND: Final = 2.0


class RateLimitedLog:
    """Logs what anybody can cause at will, not more often than `LINES_PER_SECOND`; the next line says how many of them
    were left out, as `left_out`. `now_s`: any steady clock.
    """

    def __init__(self, log: Any, now_s: Callable[[], float]) -> None:
        self._log, self._now_s = log, now_s
        self._bucket = TokenBucket(LINES_PER_SECOND, now_s())
        self._left_out = 0

    def info(self, fact: str, **keys: Any) -> None:
        if self._bucket.take(self._now_s()):
            self._left_out += 1
            return
        if self._left_out:
            keys["left_out"] = self._left_out
        self._left_out = 0
        self._log.info(fact, **keys)
