"""Deleting: delete forgotten images from stores, and forgotten files from the spool.

A store that holds other bytes under the name keeps them and reports it. The store's own trouble pauses its lane, as
with uploads. The spool follows the event log: `image_forgotten` is durable before a file is deleted, and the next start
deletes what a crash left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, assert_never

import msgspec
import structlog

from comfyledger.core.reports import DeletionDone, DeletionRefused
from comfyledger.core.scheduling.effects import DeleteImage
from comfyledger.core.values import WAITING_FIRST, image_id, waiting_index, waiting_indexes
from comfyledger.engine import EngineView
from comfyledger.guarded import DIED, PluginDied
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Reader
from comfyledger.plugin_api import Deleted, Foreign, Held, LaneFault, Store
from comfyledger.plugins import OpenedStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.resolve import Moved, StoreResolver

PAGE_LINES: Final = 500

log = structlog.get_logger("comfyledger.deletion")


class Deleter:
    """Deletes images from stores."""

    def __init__(self, stores: Mapping[str, OpenedStore], row_cache: RowCache, reporter: Reporter) -> None:
        self._resolver = StoreResolver(stores, row_cache, reporter)
        self._reporter = reporter

    async def delete(self, effect: DeleteImage) -> None:
        about = (effect.image.batch_id, effect.image.index, effect.store)
        store = await self._resolver.of(effect)
        if isinstance(store, Moved):
            await self._reporter.report(DeletionRefused(*about, code="identity_changed"))
        elif store is not None:
            await self._delete(effect, store)

    async def _delete(self, effect: DeleteImage, store: Store) -> None:
        about = (effect.image.batch_id, effect.image.index, effect.store)
        try:
            outcome = await store.delete(_ours(effect))
        except PluginDied:
            await self._reporter.report(DeletionRefused(*about, code=DIED))
            return
        match outcome:
            case Deleted(found=found):
                await self._reporter.report(DeletionDone(*about, found=found))
                await self._reporter.works(effect.lane)
            case Foreign(text=text):
                log.warning("deletion.foreign", store=effect.store, image=image_id(*about[:2]), text=text[:300])
                await self._reporter.report(DeletionRefused(*about, code="foreign"))
                await self._reporter.works(effect.lane)
            case LaneFault():
                await self._reporter.store_fault(effect.lane, outcome)
            case _:
                assert_never(outcome)


def _ours(effect: DeleteImage) -> Held:
    """What the store should hold of an image, under the name that it was stored with."""
    image = effect.image
    return Held(
        public_id=effect.upload.name or image.public_id,
        extension=image.extension,
        size_bytes=image.size_bytes,
        md5=image.md5,
        sha256=image.sha256,
        image_id=image_id(image.batch_id, image.index),
    )


class _Forgotten(msgspec.Struct):
    """The fields of `image_forgotten` that the spool needs."""

    batch_id: str
    images: tuple[int, ...]
    prompts: tuple[int, ...]


class SpoolFollower:
    """Deletes the files of forgotten images from the spool as soon as the event is in the log."""

    def __init__(self, view: EngineView, reader: Reader, spool: Spool) -> None:
        self._view = view
        self._reader = reader
        self._spool = spool
        self._position = view.position

    async def run(self) -> None:
        """Follow the log until cancelled. Retention tries again what the disk did not delete."""
        while True:
            news = self._view.news()
            for line in await self._next():
                if line.kind == "image_forgotten":
                    await self._remove(msgspec.json.decode(line.data, type=_Forgotten))
            if self._position >= self._view.position:
                await asyncio.shield(news)

    async def _next(self) -> list[Line]:
        """The next lines: from the engine's memory, or from the log if they are older."""
        lines = self._view.lines_after(self._position, PAGE_LINES)
        if lines is None:
            lines = await self._reader.page(after=self._position, limit=PAGE_LINES, upto=self._view.position)
        self._position = lines[-1].position if lines else self._view.position
        return lines

    async def _remove(self, forgotten: _Forgotten) -> None:
        try:
            waited = await self._waiting_files(forgotten)
            await asyncio.to_thread(self._spool.erase, forgotten.batch_id, (*forgotten.images, *waited))
        except OSError as error:
            log.warning("deletion.spool_failed", batch=forgotten.batch_id, error=str(error))

    async def _waiting_files(self, forgotten: _Forgotten) -> list[int]:
        """The files of these prompts that waited for a choice and that no image can take any more."""
        held = [one for one in await asyncio.to_thread(self._spool.indexes, forgotten.batch_id) if one >= WAITING_FIRST]
        if not held:
            return []
        rows = [await self._reader.prompt(forgotten.batch_id, prompt) for prompt in forgotten.prompts]
        known = [row for row in rows if row is not None]
        wanted = {waiting_index(row.index, file.image) for row in known for file in row.waiting}
        return [
            index for index in held if index not in wanted and any(index in waiting_indexes(row.index) for row in known)
        ]
