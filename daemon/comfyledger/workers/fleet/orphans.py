"""Takes up what a box kept that has left and is not waited for any longer: the caretaker of the fleet does.

If a store has the bytes of an image, they come from there into this box's spool. Otherwise the image is lost, and is
rendered again under its number. A store that cannot answer is asked again.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from comfyledger.core.reports import OrphanBroughtBack, OrphanIsLost
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import image_id
from comfyledger.engine import EngineView
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.stores.restore_file import CannotAsk, FileRestorer, NobodyHas, SourceTrouble

LOOK_EVERY_S: Final = 1.0
AT_ONCE: Final = 8
AGAIN_S: Final = 30.0
"""After so long a store is asked again that could not answer, or an image is looked at again that stays lost."""

log = structlog.get_logger("comfyledger.fleet")


class Orphans:
    """Of one box. It does nothing while this box is not the caretaker."""

    def __init__(self, view: EngineView, restorer: FileRestorer, reporter: Reporter) -> None:
        self._view, self._restorer, self._reporter = view, restorer, reporter
        self._places = asyncio.Semaphore(AT_ONCE)
        self._again_at: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Take up the images that are due. Raises SpoolUnusable."""
        now_s = asyncio.get_running_loop().time()
        due = [row for row in self._view.orphans_due() if self._again_at.get((row.batch_id, row.index), 0.0) <= now_s]
        await asyncio.gather(*(self._take_up(row) for row in due))

    async def _take_up(self, row: ImageRow) -> None:
        about = (row.batch_id, row.index, row.prompt, row.attempt, row.box)
        named = {"image": image_id(row.batch_id, row.index), "box": row.box}
        self._again_at.pop((row.batch_id, row.index), None)
        try:
            async with self._places:
                await self._restorer.restore(row)
        except NobodyHas:
            log.warning("fleet.image_lost", **named)
            await self._reporter.report(OrphanIsLost(*about))
            self._later(row)  # nothing comes of it while other files of the prompt wait for a person's choice
        except (CannotAsk, SourceTrouble, NoPlace) as trouble:
            log.warning("fleet.image_waits", **named, error=str(trouble))
            self._later(row)
        else:
            log.info("fleet.image_taken_over", **named)
            await self._reporter.report(OrphanBroughtBack(*about))

    def _later(self, row: ImageRow) -> None:
        self._again_at[row.batch_id, row.index] = asyncio.get_running_loop().time() + AGAIN_S
