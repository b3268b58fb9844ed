"""Which store a name means: the configured one, if it is usable and still the place that the batch named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.scheduling.effects import DeleteImage, UploadImage
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.guarded import Guarded
from comfyledger.ledger.ports import BatchFilter, ImageFilter, Reader
from comfyledger.plugins import OpenedStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache

BATCHES_PAGE: Final = 500
IMAGES_MAX: Final = 10_000
"""Of one batch; no batch is larger."""


class Moved(msgspec.Struct, frozen=True):
    """The name means another place now. Only a retry or recovery comes here: a start refuses the other cases."""

    now: str
    meant: str


class StoreResolver:
    """The configured stores of one daemon, as effects name them."""

    def __init__(self, stores: Mapping[str, OpenedStore], row_cache: RowCache, reporter: Reporter) -> None:
        self._stores = stores
        self._row_cache = row_cache
        self._reporter = reporter

    async def of(self, effect: UploadImage | DeleteImage) -> Guarded | Moved | None:
        """The store; None if it cannot be used, which is then reported on its lane."""
        name = effect.store
        opened = self._stores.get(name)
        if opened is None or opened.store is None:
            unconfigured = ("unconfigured", f"The store {name} is no longer configured.")
            problem = unconfigured if opened is None else ("configuration", opened.problem)
            await self._reporter.stuck(effect.lane, *problem)
            return None
        batch = await self._row_cache.batch(effect.image.batch_id)
        meant = next((ref.identity for ref in batch.stores if ref.name == name), "") if batch else ""
        return opened.guarded if meant == opened.identity else Moved(opened.identity, meant)


def same_place(opened: OpenedStore | None, ref: StoreRef) -> Guarded | None:
    """The store, if it is still the place that a batch named."""
    return opened.guarded if opened is not None and opened.identity == ref.identity else None


def name_in(image: ImageRow, store: str) -> str:
    """The name under which a store has the image: its number may have been another one then."""
    upload = image.upload(store)
    return (upload.name if upload is not None else "") or image.public_id


async def check_identities(stores: Mapping[str, OpenedStore], reader: Reader) -> None:
    """Check at the start that no store was pointed at another place while images are owed to the old one.

    Reads open batches only. Raises Refused(config_invalid) naming the store and both places.
    """
    before: str | None = None
    while page := await reader.batches(BatchFilter(open_only=True, before=before, limit=BATCHES_PAGE)):
        for batch in page:
            await _check_batch(batch, stores, reader)
        before = page[-1].batch_id


async def _check_batch(batch: BatchRow, stores: Mapping[str, OpenedStore], reader: Reader) -> None:
    for meant in batch.stores:
        opened = stores.get(meant.name)
        if opened is None or opened.store is None or opened.identity == meant.identity:
            continue
        images = await reader.images(ImageFilter(batch_id=batch.batch_id, limit=IMAGES_MAX))
        owed = sum(_is_owed(image, meant.name) for image in images)
        if owed:
            raise _moved(meant, opened.identity, batch.batch_id, owed)


def _is_owed(image: ImageRow, store: str) -> bool:
    upload = image.upload(store)
    return image.state in {"pending", "kept"} and upload is not None and upload.state in {"owed", "uploading"}


def _moved(meant: StoreRef, now: str, batch_id: str, owed: int) -> Refused:
    return Refused(
        "config_invalid",
        f"The store {meant.name} is now {now}, but images of batch {batch_id} ({owed}) are owed to {meant.identity}.",
        hint=f"Give the new place another name, and leave [stores.{meant.name}] as it was until its images are stored.",
        path=f"stores.{meant.name}",
    )
