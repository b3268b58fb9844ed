"""How long rendered files stay in the spool: until every store has them, and some days more.

What a crash left behind goes at the start. Nothing goes of which the ledger does not say that every store has it, or
that it was never kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from comfyledger.core.slices import ImageRow
from comfyledger.ledger.reader import ImageFilter, Reader
from comfyledger.work.spool import Spool

SWEEP_EVERY_S: Final = 3_600.0
DAY_S: Final = 86_400.0
IMAGES_MAX: Final = 10_000
"""Of one batch; no batch is larger."""

log = structlog.get_logger("comfyledger.retention")


class Retention:
    """Clears the spool. `now_s` is the wall clock, since files carry its times."""

    def __init__(self, spool: Spool, reader: Reader, keep_days: float, now_s: Callable[[], float]) -> None:
        self._spool = spool
        self._reader = reader
        self._keep_s = keep_days * DAY_S
        self._now_s = now_s

    async def sweep_at_start(self) -> int:
        """Remove temporaries, and files that were not recorded as kept: their images are fetched again.

        To be called before anything is fetched. Returns how many files went.
        """
        wanted = set()
        for batch_id in await asyncio.to_thread(self._spool.batches):
            wanted |= {(row.batch_id, row.index) for row in await self._images(batch_id) if row.sha256}
        removed = await asyncio.to_thread(self._spool.sweep, lambda batch_id, index: (batch_id, index) in wanted)
        if removed:
            log.info("spool.swept", files=len(removed))
        return len(removed)

    async def run(self) -> None:
        """Clear the spool now and then, until cancelled."""
        while True:
            await self.clear()
            await asyncio.sleep(SWEEP_EVERY_S)

    async def clear(self) -> int:
        """Remove files that every store has had for long enough. Returns how many went."""
        gone = 0
        for batch_id in await asyncio.to_thread(self._spool.batches):
            for row in await self._images(batch_id):
                gone += await asyncio.to_thread(self._clear_one, row)
        if gone:
            log.info("spool.cleared", files=gone)
        return gone

    def _clear_one(self, row: ImageRow) -> bool:
        if row.state != "stored" or not row.uploads:
            return False
        age_s = self._spool.age_s(row.batch_id, row.index, self._now_s())
        return age_s is not None and age_s >= self._keep_s and self._spool.remove(row.batch_id, row.index)

    async def _images(self, batch_id: str) -> list[ImageRow]:
        return await self._reader.images(ImageFilter(batch_id=batch_id, limit=IMAGES_MAX))
