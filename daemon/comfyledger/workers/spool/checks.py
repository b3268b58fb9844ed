"""What checks of files may take together: memory of decoders, and processors for what is long.

Each check says what it costs; together they stay below one bound, in the order of asking. A file whose check the
process did not survive is checked alone, so that the next death blames nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comfyledger.workers.spool.imagefile import DECODE_BYTES_MAX

ALL = DECODE_BYTES_MAX
LONG = ALL // 2
"""Of a check that is long without needing memory: two at once leave threads for those of others."""


class Checks:
    """Costs under way, in bytes, never above ALL."""

    def __init__(self) -> None:
        self._free = ALL
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, cost: int) -> AsyncIterator[None]:
        """Wait until there is room for it. What costs nothing waits for nobody."""
        if cost:
            await self._take(cost)
        try:
            yield
        finally:
            self._free += cost
            self._let_in()

    async def _take(self, cost: int) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, mine))
        self._let_in()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._waiting = deque(one for one in self._waiting if one[1] is not mine)
            else:
                self._free += cost
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            cost, first = self._waiting.popleft()
            if not first.done():
                self._free -= cost
                first.set_result(None)
