"""Restoring a kept file that the spool has lost, from any store of its batch that has it.

Before each upload the spool's file is compared with what was pinned. If it is gone or altered, the stores are asked;
those that hold it according to the log come first. A copy is compared as well. The type of the exception says how it
ended. The image is lost only if every store has answered that it does not have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from weakref import WeakValueDictionary

import structlog

from comfyledger.core.rows import ImageRow
from comfyledger.core.values import StoreRef, image_id
from comfyledger.errors import ComfyledgerError
from comfyledger.guarded import PluginDied
from comfyledger.plugin_api import LaneFault, Store, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.resolve import name_in, same_place

log = structlog.get_logger("comfyledger.bringback")


class NobodyHas(ComfyledgerError):
    """Neither the spool nor any store has the bytes."""


class CannotAsk(ComfyledgerError):
    """The bytes may be in a store that is no longer configured, or that is another place now."""


class SourceTrouble(ComfyledgerError):
    """A store that may have the bytes could not answer just now."""

    def __init__(self, store: str, fault: LaneFault) -> None:
        self.store = store
        self.fault = fault
        super().__init__(f"{store}: {fault.code}: {fault.text}")


class FileRestorer:
    """Restores files of the spool. Calls for one image wait for each other."""

    def __init__(self, stores: Mapping[str, OpenedStore], row_cache: RowCache, spool: Spool) -> None:
        self._stores = stores
        self._row_cache = row_cache
        self._spool = spool
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def restore(self, image: ImageRow) -> None:
        """Return once the spool has the bytes of a kept image; fetch them from a store if need be.

        Raises NobodyHas, CannotAsk, SourceTrouble, NoPlace, SpoolUnusable.
        """
        name = image_id(image.batch_id, image.index)
        async with self._turns.setdefault(name, asyncio.Lock()):
            holds = partial(self._spool.holds, image.batch_id, image.index, _pinned(image))
            if not await asyncio.to_thread(holds):
                store = await self._restore(image)
                log.info("spool.brought_back", image=name, store=store)

    async def _restore(self, image: ImageRow) -> str:
        """Restore from a store. Returns the name of the store that had the file."""
        batch = await self._row_cache.batch(image.batch_id)
        refs = sorted(batch.stores if batch is not None else (), key=lambda ref: not _is_stored(image, ref.name))
        trouble: SourceTrouble | None = None
        died: list[str] = []
        for ref in refs:
            try:
                store = self._store(ref)
                if store is not None and await self._from(store, image, name_in(image, ref.name)):
                    return ref.name
            except PluginDied as error:
                died.append(f"{ref.name}: {error.fault.text}")
            except StoreTrouble as error:
                trouble = trouble or SourceTrouble(ref.name, error.fault)
        if trouble is not None:
            raise trouble
        if died:
            raise CannotAsk(f"The spool has lost the file, and a store that may have it cannot be asked: {died[0]}")
        gone = [ref.name for ref in refs if self._store(ref) is None and _is_stored(image, ref.name)]
        if gone:
            raise CannotAsk(f"The spool has lost the file, and {', '.join(gone)}, which had it, cannot be asked.")
        raise NobodyHas(image_id(image.batch_id, image.index))

    def _store(self, ref: StoreRef) -> Store | None:
        """The store, if it is still the place that the batch named. Raises StoreTrouble for one not prepared yet."""
        opened = self._stores.get(ref.name)
        if opened is not None and opened.waiting is not None:
            raise StoreTrouble(LaneFault("unknown", opened.problem))
        return same_place(opened, ref)

    async def _from(self, store: Store, image: ImageRow, name: str) -> bool:
        held = await store.check(name, image.extension)
        if held is None or held.size_bytes != image.size_bytes or held.md5 not in {"", image.md5}:
            return False
        fetch = partial(store.fetch, name, image.extension)
        return await self._spool.take_back(image.batch_id, image.index, image.attempt, _pinned(image), fetch)


def _pinned(image: ImageRow) -> ProvedFile:
    return ProvedFile(image.sha256, image.md5, image.size_bytes, image.width, image.height, image.extension)


def _is_stored(image: ImageRow, store: str) -> bool:
    upload = image.upload(store)
    return upload is not None and upload.state == "stored"
