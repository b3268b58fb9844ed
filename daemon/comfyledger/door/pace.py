"""How fast frames may come: a bucket that fills evenly and is emptied by each of them. Time comes in as an argument."""

from __future__ import annotations

from typing import Final

BURST_S: Final = 5.0
"""So many seconds' worth may come at once: a client that comes back repeats all that had no answer."""


class Pace:
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
