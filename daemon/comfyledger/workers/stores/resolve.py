"""The store that an effect means: configured, usable, and still the place that its batch named."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from comfyledger.core.scheduling.effects import DeleteImage, UploadImage
from comfyledger.plugin_api import Store
from comfyledger.plugins import OpenedStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache


class Moved(msgspec.Struct, frozen=True):
    """The name means another place now. Only what a person took up again comes here: a start refuses the rest."""

    now: str
    meant: str


class StoreResolver:
    """The configured stores of one daemon, as effects name them."""

    def __init__(self, stores: Mapping[str, OpenedStore], rows: RowCache, desk: Reporter) -> None:
        self._stores = stores
        self._rows = rows
        self._desk = desk

    async def of(self, effect: UploadImage | DeleteImage) -> Store | Moved | None:
        """None after its lane was told why the store cannot be used."""
        name = effect.store
        opened = self._stores.get(name)
        if opened is None or opened.store is None:
            unconfigured = ("unconfigured", f"The store {name} is not configured any more.")
            problem = unconfigured if opened is None else ("configuration", opened.problem)
            await self._desk.stuck(effect.lane, *problem)
            return None
        batch = await self._rows.batch(effect.image.batch_id)
        meant = next((ref.identity for ref in batch.stores if ref.name == name), "") if batch else ""
        return opened.guarded if meant == opened.identity else Moved(opened.identity, meant)
