"""Storing: put kept images into their stores.

The type of a store's outcome says whether the image or the store is at fault. The intent is durable before the call
goes out. The file that goes out is what was pinned: before each upload it is compared, by us or by a store that reads
it anyway. If the spool has lost it, it is restored first. Nothing is uploaded twice: a store that already has the same
bytes under the same name reports that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

import structlog

from comfyledger import crash_points
from comfyledger.core.reports import ImageIsLost, UploadDone, UploadIntended, UploadRefused
from comfyledger.core.results import Wanted
from comfyledger.core.rows import ImageRow
from comfyledger.core.scheduling.effects import UploadImage
from comfyledger.core.values import image_id
from comfyledger.guarded import Guarded
from comfyledger.plugin_api import Deposit, ImageFault, LaneFault, Outcome, Stored
from comfyledger.plugins import OpenedStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.resolve import Moved, StoreResolver
from comfyledger.workers.stores.restore_file import CannotAsk, FileRestorer, NobodyHas, SourceTrouble

_LOGGED_DETAILS: Final = {
    "altered": "upload.altered_by_store",
    "first_attempt": "upload.was_there_before",
    "adopted": "upload.adopted",
}
"""Details of a stored image that are logged once for each store: the store changes bytes at upload, had the bytes
before our first attempt (another writer, or a lost log), or holds an earlier rendering of the image."""

log = structlog.get_logger("comfyledger.upload")


class Uploader:
    """The workers of all stores."""

    def __init__(
        self, stores: Mapping[str, OpenedStore], row_cache: RowCache, spool: Spool, reporter: Reporter
    ) -> None:
        self._resolver = StoreResolver(stores, row_cache, reporter)
        self._row_cache = row_cache
        self._spool = spool
        self._reporter = reporter
        self._logged: set[tuple[str, str]] = set()
        self._restorer = FileRestorer(stores, row_cache, spool)

    async def upload(self, effect: UploadImage) -> None:
        store = await self._resolver.of(effect)
        if isinstance(store, Moved):
            words = self._reporter.error_text(
                f"The store {effect.store} is now {store.now}; the image is owed to {store.meant}."
            )
            about = (effect.image.batch_id, effect.image.index, effect.store)
            await self._reporter.report(UploadRefused(*about, "identity_changed", words))
        elif store is not None and (store.compares_bytes or await self._in_the_spool(effect)):
            crash_points.at("upload.owed")
            await self._put(effect, store)

    async def _in_the_spool(self, effect: UploadImage) -> bool:
        """Whether the spool has the bytes, restored if need be. If not, the reason has been reported.

        A store that should have them and cannot answer leaves the image owed. It is tried again with back-off.
        """
        image = await self._now(effect)
        if image is None or image.state != "kept":
            return False
        about = (image.batch_id, image.index, effect.store)
        try:
            await self._restorer.restore(image)
        except NobodyHas:
            await self._reporter.report(ImageIsLost(*about, image.prompt, image.attempt))
        except CannotAsk as away:
            await self._reporter.report(UploadRefused(*about, "altered", self._reporter.error_text(str(away))))
        except SourceTrouble as trouble:
            log.warning("upload.source_in_trouble", image=image_id(*about[:2]), store=trouble.store, error=str(trouble))
            if trouble.store == effect.store:
                await self._reporter.store_fault(effect.lane, trouble.fault)
        except NoPlace as error:
            log.warning("upload.no_place", image=image_id(*about[:2]), error=str(error))
        else:
            return True
        return False

    async def _now(self, effect: UploadImage) -> ImageRow | None:
        """The current image: its name or bytes may have changed since the effect was owed."""
        return await self._row_cache.image(effect.image.batch_id, effect.image.index)

    async def _put(self, effect: UploadImage, store: Guarded) -> None:
        lane, about = effect.lane, (effect.image.batch_id, effect.image.index, effect.store)
        wanted = await self._reporter.report(UploadIntended(*about))
        image = await self._now(effect)
        if not isinstance(wanted, Wanted) or not wanted.go or image is None:
            return
        crash_points.at("upload.intended")
        deposit = self._deposit(image, first=wanted.attempt == 1 and not wanted.resumed)
        outcome = await store.put(deposit)
        if store.compares_bytes and _is_altered(outcome):
            if not await self._in_the_spool(effect):
                return
            outcome = await store.put(deposit)
        crash_points.at("upload.answered")
        match outcome:
            case Stored(url=url, replayed=replayed, details=details):
                await self._reporter.report(UploadDone(*about, url, replayed, details))
                crash_points.at("upload.logged")
                self._log_details(effect.store, image.public_id, details)
                await self._reporter.works(lane)
            case ImageFault(code=code, text=text):
                await self._reporter.report(UploadRefused(*about, code, self._reporter.error_text(text)))
                await self._reporter.works(lane)
            case LaneFault():
                await self._reporter.store_fault(lane, outcome)
            case _:
                assert_never(outcome)

    def _log_details(self, store: str, public_id: str, details: Mapping[str, str | int]) -> None:
        """Log once for each store what an operator should know although the image is stored."""
        for detail, fact in _LOGGED_DETAILS.items():
            if detail in details and (store, fact) not in self._logged:
                self._logged.add((store, fact))
                log.warning(fact, store=store, public_id=public_id)

    def _deposit(self, image: ImageRow, *, first: bool) -> Deposit:
        return Deposit(
            image_id=image_id(image.batch_id, image.index),
            public_id=image.public_id,
            extension=image.extension,
            path=self._spool.path_of(image.batch_id, image.index, image.extension),
            sha256=image.sha256,
            md5=image.md5,
            size_bytes=image.size_bytes,
            first_attempt=first,
        )


def _is_altered(outcome: Outcome) -> bool:
    return isinstance(outcome, ImageFault) and outcome.code == "altered"
