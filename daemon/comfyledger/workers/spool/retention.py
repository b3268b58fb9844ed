"""How long rendered files stay: until every store has them, and some days more.

That applies to the spool and, if the configuration names it, to ComfyUI's output folder. The start deletes what a crash
left. A file is deleted only if the ledger says that every store has it, or that it was never kept. In ComfyUI's folder
only files with the names that this ledger gave ComfyUI are deleted.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from comfyledger.core.media import EXTENSION
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import WAITING_FIRST, waiting_index
from comfyledger.ledger.ports import ImageFilter, Reader
from comfyledger.workers.spool.files import entered
from comfyledger.workers.spool.spool import Spool

SWEEP_EVERY_S: Final = 3_600.0
DAY_S: Final = 86_400.0
IMAGES_MAX: Final = 10_000
"""Of one batch; no batch is larger."""

OURS: Final = "comfyledger"
BATCH_FOLDER: Final = re.compile(r"[0-9a-z]{26}")
OUTPUT: Final = re.compile(
    rf"([1-9][0-9]{{0,14}})-a[1-9][0-9]*(?:-o[1-9][0-9]*)?_[0-9]+(?:_|-audio)?\.{EXTENSION}", re.I
)
"""Number of the prompt's first image, attempt, output, and the counter that ComfyUI or VideoHelperSuite appends."""

log = structlog.get_logger("comfyledger.retention")


class Outputs:
    """Deletes what this ledger had one ComfyUI write below `<output_dir>/comfyledger`. Follows no symbolic link there.

    The outputs of forgotten images are deleted too. The folder must be on this machine.
    `now_s` is the wall clock, because file times are.
    """

    def __init__(self, output_dir: Path, reader: Reader, keep_days: float, now_s: Callable[[], float]) -> None:
        self._ours = output_dir / OURS
        self._reader = reader
        self._keep_s = keep_days * DAY_S
        self._now_s = now_s

    async def clear(self) -> int:
        """Delete old files of prompts whose images are all in all stores. Returns how many.

        Raises OSError. Without the folder there is nothing to clear.
        """
        gone = 0
        for name, files in await asyncio.to_thread(self._old):
            numbers = await self._stored_numbers(name.upper())
            unwanted = [file for file in files if int(file.partition("-")[0]) in numbers]
            if unwanted:
                gone += await asyncio.to_thread(self._remove, name, unwanted)
        return gone

    async def _stored_numbers(self, batch_id: str) -> set[int]:
        """The number of the first image of each prompt of a batch that needs no output any more."""
        rows = await self._reader.images(ImageFilter(batch_id=batch_id, limit=IMAGES_MAX))
        first: dict[int, ImageRow] = {}
        for row in sorted(rows, key=lambda row: row.index):
            first.setdefault(row.prompt, row)
        owed = {row.prompt for row in rows if not (_every_store_has(row) or row.is_forgotten)}
        return {row.number for prompt, row in first.items() if prompt not in owed}

    def _old(self) -> list[tuple[str, list[str]]]:
        """Batches with old files of ours, and the names of these files."""
        with suppress(FileNotFoundError), entered(self._ours) as ours:
            return [(name, files) for name in _batch_folders(ours) if (files := self._old_in(ours, name))]
        return []

    def _old_in(self, ours: int, name: str) -> list[str]:
        latest = self._now_s() - self._keep_s
        with entered(name, ours) as folder:
            return [file for file in os.listdir(folder) if OUTPUT.fullmatch(file) and _is_old(folder, file, latest)]

    def _remove(self, name: str, files: list[str]) -> int:
        with entered(self._ours) as ours:
            with entered(name, ours) as folder:
                for file in files:
                    os.unlink(file, dir_fd=folder)
            with suppress(OSError):  # other files are in it
                os.rmdir(name, dir_fd=ours)
        return len(files)


class Retention:
    """Clears the spool and ComfyUI's outputs: those that `outputs` names when they are cleared. `now_s` is the wall
    clock, because file times are. `box`: this one of a fleet, whose spool it is.
    """

    def __init__(
        self,
        spool: Spool,
        reader: Reader,
        keep_days: float,
        now_s: Callable[[], float],
        outputs: Callable[[], Iterable[Outputs]] = tuple,
        box: str = "",
    ) -> None:
        self._spool = spool
        self._reader = reader
        self._keep_s = keep_days * DAY_S
        self._now_s = now_s
        self._outputs = outputs
        self._box = box

    async def sweep_at_start(self) -> int:
        """Delete temporaries, forgotten files, and files that are not recorded as kept; these are fetched again.

        Files of a batch that the ledger does not know stay: after a restore they are all that is left of it.
        Call it before anything is fetched. Returns how many files it deleted.
        """
        kept: dict[str, set[int]] = {}
        for batch_id in await asyncio.to_thread(self._spool.batches):
            rows = await self._images(batch_id)
            if rows:
                own = (row for row in rows if not row.is_elsewhere(self._box))
                images = {row.index for row in own if row.sha256 and not row.is_forgotten}
                kept[batch_id] = images | await self._waiting(batch_id)
        removed = await asyncio.to_thread(
            self._spool.sweep, lambda batch_id, index: batch_id not in kept or index in kept[batch_id]
        )
        if removed:
            log.info("spool.swept", files=len(removed))
        return len(removed)

    async def _waiting(self, batch_id: str) -> set[int]:
        """The indexes of files that wait until a person chooses."""
        held = await asyncio.to_thread(self._spool.indexes, batch_id)
        if all(index < WAITING_FIRST for index in held):
            return set()
        prompts = await self._reader.prompts(batch_id)
        return {waiting_index(prompt.index, file.image) for prompt in prompts for file in prompt.waiting}

    async def run(self) -> None:
        """Clear once an hour, until cancelled. An error of the disk is logged and does not stop the daemon."""
        while True:
            try:
                await self.clear()
            except OSError as error:
                log.warning("retention.failed", error=str(error))
            await asyncio.sleep(SWEEP_EVERY_S)

    async def clear(self) -> int:
        """Delete files that every store has had for long enough, and forgotten ones that are still there.

        Returns how many. Raises OSError for the spool.
        """
        gone = 0
        for batch_id in await asyncio.to_thread(self._spool.batches):
            rows = await self._images(batch_id)
            gone += await asyncio.to_thread(self._clear_batch, batch_id, rows)
        if gone:
            log.info("spool.cleared", files=gone)
        return gone + await self._clear_outputs()

    async def _clear_outputs(self) -> int:
        """A folder that cannot be cleared is logged, and the next one is cleared all the same."""
        gone = 0
        for outputs in self._outputs():
            try:
                cleared = await outputs.clear()
            except OSError as error:
                log.warning("retention.failed", error=str(error))
                continue
            gone += cleared
            if cleared:
                log.info("outputs.cleared", files=cleared)
        return gone

    def _clear_batch(self, batch_id: str, rows: list[ImageRow]) -> int:
        for row in rows:
            if row.state != "pending":
                self._spool.acquit(batch_id, row.index)
        ages_s = self._spool.ages_s(batch_id, self._now_s())
        held = [row for row in rows if row.index in ages_s]
        unwanted = {
            row.index
            for row in held
            if row.is_forgotten or (_every_store_has(row) and ages_s[row.index] >= self._keep_s)
        }
        return self._spool.remove_among(batch_id, unwanted) if unwanted else 0

    async def _images(self, batch_id: str) -> list[ImageRow]:
        return await self._reader.images(ImageFilter(batch_id=batch_id, limit=IMAGES_MAX))


def _every_store_has(row: ImageRow) -> bool:
    return row.state == "stored" and bool(row.uploads)


def _batch_folders(ours: int) -> list[str]:
    with os.scandir(ours) as entries:
        found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(name for name in found if BATCH_FOLDER.fullmatch(name))


def _is_old(folder: int, file: str, latest: float) -> bool:
    found = os.stat(file, dir_fd=folder, follow_symlinks=False)
    return stat.S_ISREG(found.st_mode) and found.st_mtime <= latest
