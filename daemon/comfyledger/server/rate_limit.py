"""A token bucket, for frames and for log lines that anybody can cause. Time comes in as an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

BURST_S: Final = 5.0
"""How many seconds' worth may come at once: a client that reconnects repeats every request without a reply."""


class TokenBucket:
    """Allows `rate` a second and bursts of `BURST_S`. Times are in seconds of any steady clock."""

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate, self._most = rate, rate * BURST_S
        self._left, self._seen_s = self._most, now_s

    @property
    def most(self) -> int:
        """How many may come at once."""
        return int(self._most)

    @property
    def left(self) -> int:
        """How many may still come at once, as of the last `take`."""
        return int(self._left)

    def take(self, now_s: float) -> float:
        """Take one token and return 0, or return in how many seconds there will be one."""
        self._left = min(self._most, self._left + (now_s - self._seen_s) * self._rate)
        self._seen_s = now_s
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


LINES_PER_SECOND: Final = 2.0


class RateLimitedLog:
    """Logs at most `LINES_PER_SECOND`. The next line says how many were omitted, as `left_out`.

    `now_s`: any steady clock.
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
