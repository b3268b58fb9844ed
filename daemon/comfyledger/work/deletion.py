"""Deleting: have stores give up what is forgotten, and take forgotten files out of the spool.

A store that holds something else under the name leaves it and says so. What the store's own trouble is pauses its lane,
as with uploads. The spool follows the log: `image_forgotten` is durable before a file goes, and what a crash leaves is
swept at the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, assert_never

import msgspec
import structlog

from comfyledger.core.effects import DeleteImage
from comfyledger.core.reports import DeletionDone, DeletionRefused
from comfyledger.core.values import image_id
from comfyledger.engine import Engine
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.reader import Reader
from comfyledger.plugin_api import Deleted, Foreign, Held, LaneFault, Store
from comfyledger.plugins import OpenedStore
from comfyledger.work.desk import Desk
from comfyledger.work.spool import Spool

PAGE_LINES: Final = 500

log = structlog.get_logger("comfyledger.deletion")


class Deleter:
    """The workers that ask stores to delete."""

    def __init__(self, stores: Mapping[str, OpenedStore], reader: Reader, desk: Desk) -> None:
        self._stores = stores
        self._reader = reader
        self._desk = desk

    async def delete(self, effect: DeleteImage) -> None:
        store = await self._store_of(effect)
        if store is None:
            return
        outcome = await store.delete(_ours(effect))
        about = (effect.image.batch_id, effect.image.index, effect.store)
        match outcome:
            case Deleted(found=found):
                await self._desk.report(DeletionDone(*about, found=found))
                await self._desk.works(effect.lane)
            case Foreign(text=text):
                log.warning("deletion.foreign", store=effect.store, image=image_id(*about[:2]), text=text[:300])
                await self._desk.report(DeletionRefused(*about, code="foreign"))
                await self._desk.works(effect.lane)
            case LaneFault(code=code, text=text, retry_after_s=retry_after_s):
                await self._desk.stuck(effect.lane, code, text, retry_after_s)
            case _:
                assert_never(outcome)

    async def _store_of(self, effect: DeleteImage) -> Store | None:
        """The store that the batch named, if it is still the same place; None after it was said why it is not."""
        image, name = effect.image, effect.store
        opened = self._stores.get(name)
        if opened is None or opened.store is None:
            unconfigured = ("unconfigured", f"The store {name} is not configured any more.")
            problem = unconfigured if opened is None else ("configuration", opened.problem)
            await self._desk.stuck(effect.lane, *problem)
            return None
        batch = await self._reader.batch(image.batch_id)
        meant = next((ref.identity for ref in batch.stores if ref.name == name), "") if batch else ""
        if meant == opened.identity:
            return opened.store
        await self._desk.report(DeletionRefused(image.batch_id, image.index, name, code="identity_changed"))
        return None


def _ours(effect: DeleteImage) -> Held:
    """What the store holds of an image, if it is ours: under the name that it had when it was stored."""
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
    """What the spool must know of `image_forgotten`."""

    batch_id: str
    images: tuple[int, ...]


class SpoolFollower:
    """Takes the files of forgotten images out of the spool as soon as the log says so."""

    def __init__(self, engine: Engine, reader: Reader, spool: Spool) -> None:
        self._engine = engine
        self._reader = reader
        self._spool = spool
        self._position = engine.position

    async def run(self) -> None:
        """Follow the log until cancelled. What the disk will not have removed is tried again by retention."""
        while True:
            news = self._engine.news()
            for line in await self._next():
                if line.kind == "image_forgotten":
                    await self._remove(msgspec.json.decode(line.data, type=_Forgotten))
            if self._position >= self._engine.position:
                await asyncio.shield(news)

    async def _next(self) -> list[Line]:
        """From the engine's tail; further back from the log."""
        tail = self._engine.tail
        if tail and tail[0].position <= self._position + 1:
            lines = [tail[place] for place in range(self._position + 1 - tail[0].position, len(tail))]
        else:
            lines = await self._reader.page(after=self._position, limit=PAGE_LINES, upto=self._engine.position)
        self._position = lines[-1].position if lines else self._engine.position
        return lines

    async def _remove(self, forgotten: _Forgotten) -> None:
        try:
            await asyncio.to_thread(self._spool.erase, forgotten.batch_id, forgotten.images)
        except OSError as error:
            log.warning("deletion.spool_failed", batch=forgotten.batch_id, error=str(error))
