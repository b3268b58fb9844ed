"""Bytes that somebody else sends, who must not take for ever: each piece in time, and all of them fast enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from comfyledger.errors import ComfyledgerError

STALL_S: Final = 30.0
"""How long one piece may take, and how much longer than `BYTES_PER_S_MIN` allows all of them may take."""
BYTES_PER_S_MIN: Final = 8_192


class TooSlow(ComfyledgerError):
    """The bytes did not come fast enough."""


async def paced(read: Callable[[], Awaitable[bytes]]) -> AsyncGenerator[bytes, None]:
    """The pieces that `read` returns, until it returns none. Only the time that it takes counts. Raises TooSlow."""
    loop, waited_s, count = asyncio.get_running_loop(), 0.0, 0
    while True:
        begun = loop.time()
        try:
            async with asyncio.timeout(STALL_S):
                piece = await read()
        except TimeoutError:
            raise TooSlow(f"Nothing came for {STALL_S:.0f} s.") from None
        if not piece:
            return
        count += len(piece)
        waited_s += loop.time() - begun
        if waited_s > STALL_S + count / BYTES_PER_S_MIN:
            raise TooSlow(f"{count} bytes came in {waited_s:.0f} s, fewer than {BYTES_PER_S_MIN} a second.")
        yield piece
