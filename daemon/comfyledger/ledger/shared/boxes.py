"""What the boxes of a fleet tell each other beside the log: that they live, where they are, and what they have.

None of this is an event. The time is that of the database, so no two clocks are compared. The connection also hears of
new events, by NOTIFY, which is a hint: whoever misses one looks again within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from comfyledger.core.webhooks import WebhookProgress
from comfyledger.ledger.ports import BoxSeen, LogUnreachable
from comfyledger.ledger.shared import deliverer, door_files
from comfyledger.ledger.shared.connection import SESSION, meaning
from comfyledger.ledger.shared.log import CHANNEL

CALL_S: Final = 5.0

_BEAT: Final = """
INSERT INTO boxes (name, url, about, position, beat, seen) VALUES (%s, %s, %s, %s, 1, now())
ON CONFLICT (name) DO UPDATE SET url = excluded.url, about = excluded.about, position = excluded.position,
    beat = boxes.beat + 1, seen = now()"""
_SEEN: Final = "SELECT name, url, about, position, beat, extract(epoch FROM now() - seen) FROM boxes ORDER BY name"


_progress = msgspec.json.Decoder(WebhookProgress)


class BoxTable:
    """The table of boxes, over an open connection; see `ports.Boxes`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def beat(self, name: str, url: str, about: str, position: int) -> None:
        async with _bounded():
            await self._connection.execute(_BEAT, (name, url, about, position))

    async def seen(self) -> list[BoxSeen]:
        async with _bounded():
            rows = await (await self._connection.execute(_SEEN)).fetchall()
        return [BoxSeen(name, url, about, at, beat, float(age)) for name, url, about, at, beat, age in rows]

    async def door_files(self) -> dict[str, str]:
        async with _bounded():
            rows = await (await self._connection.execute(door_files.READ)).fetchall()
        return {str(name): str(content) for name, content in rows}

    async def hold_deliveries(self, box: str, lasts_s: float) -> bool:
        async with _bounded():
            asked = {"box": box, "lasts_s": lasts_s}
            return await (await self._connection.execute(deliverer.HOLD, asked)).fetchone() is not None

    async def webhook_progress(self) -> list[WebhookProgress]:
        async with _bounded():
            rows = await (await self._connection.execute(deliverer.PROGRESS)).fetchall()
        return [_progress.decode(row) for (row,) in rows]

    async def news(self, within_s: float) -> bool:
        with meaning():
            async for _ in self._connection.notifies(timeout=within_s, stop_after=1):
                return True
        return False


@asynccontextmanager
async def box_table(address: str) -> AsyncIterator[BoxTable]:
    """Connect, and listen for news. Raises LogUnreachable, LedgerUnusable."""
    async with _bounded():
        connection = await psycopg.AsyncConnection.connect(make_conninfo(address, **SESSION), autocommit=True)
    try:
        async with _bounded():
            await connection.execute(f"LISTEN {CHANNEL}")
        yield BoxTable(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Raises LogUnreachable for a database that is away, or does not answer in time."""
    try:
        with meaning():
            async with asyncio.timeout(CALL_S):
                yield
    except TimeoutError as error:
        raise LogUnreachable(f"The shared log did not answer within {CALL_S:.0f} seconds.") from error
