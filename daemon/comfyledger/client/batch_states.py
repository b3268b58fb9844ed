"""A batch as it changes, until it is settled: what `wait` shows, and when it gives up.

The subscription says when to look, and the daemon says what there is. So nothing is counted here, and a batch of many
images is not asked for more often than people read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Final

from comfyledger import wire
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.client import Client

BETWEEN_S: Final = 1.0
"""The least time between two looks at a batch."""

OVER: Final = frozenset({"settled", "cancelled"})

Batch = str | wire.BatchAccepted | wire.BatchInfo
"""A batch, or its id."""
OnProgress = Callable[[wire.BatchInfo], None]


def id_of(batch: Batch) -> str:
    return batch if isinstance(batch, str) else batch.batch_id


async def states_of(
    client: Client, batch: Batch, timeout_s: float | None, *, all_of_them: bool
) -> AsyncGenerator[wire.BatchInfo, None]:
    """The batch after events of it, if `all_of_them` are wanted; the last one is settled.

    Raises Refused(unknown_batch), and Refused(timeout) if it is not settled in time.
    """
    batch_id, news, loop = id_of(batch), asyncio.Event(), asyncio.get_running_loop()
    ends_at = None if timeout_s is None else loop.time() + timeout_s
    hearing = asyncio.create_task(_hear(client, batch_id, news))
    try:
        while not hearing.done():
            await _until_news(news, ends_at, f"The batch {batch_id} is not settled after {timeout_s} s.")
            news.clear()
            if all_of_them and not hearing.done():
                if (state := await client.get_batch(batch_id)).status not in OVER:
                    yield state
                left_s = BETWEEN_S if ends_at is None else min(BETWEEN_S, max(0.0, ends_at - loop.time()))
                await asyncio.wait({hearing}, timeout=left_s)
        await hearing
        yield await client.get_batch(batch_id)
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _hear(client: Client, batch_id: str, news: asyncio.Event) -> None:
    """Ends when the batch is settled."""
    try:
        async with contextlib.aclosing(client.follow(batch_id)) as events:
            async for _ in events:
                news.set()
    finally:
        news.set()


async def _until_news(news: asyncio.Event, ends_at: float | None, too_late: str) -> None:
    """Raises Refused(timeout), also while there is always something new."""
    try:
        async with asyncio.timeout_at(ends_at):
            await asyncio.sleep(0)  # a limit that is over is noticed here
            await news.wait()
    except TimeoutError:
        hint = "It goes on. Wait again, or see with `explain` what it waits for."
        raise Refused("timeout", too_late, hint=hint) from None
