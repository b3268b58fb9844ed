"""Turns: so many at once, where who takes long no longer counts.

A file that drips holds its place for half a minute and more, and four of them would keep everybody's files waiting. So
a place is given back after a while, whether its holder has ended or not. How many there may be in all is bounded by
whoever starts them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

SLOW_AFTER_S: Final = 3.0
SLOW_TIMES: Final = 4
"""How many times as many may be under way in all as have a place."""


class Turns:
    """`places` at once, each for `long_s` at most."""

    def __init__(self, places: int, long_s: float) -> None:
        self._free = asyncio.Semaphore(places)
        self._long_s = long_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place, in the order of asking."""
        await self._free.acquire()
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._long_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
