"""Storing: put kept images into their stores, and ask stores for the highest number of a series.

A store answers with an outcome; whether that is the image's trouble or the lane's is said by its type. The intent is
durable before the call goes out. What goes out is what was pinned: a file that the spool has lost is brought back
first. Nothing is uploaded twice: the store is asked to put the same bytes under the same name, and finds them there if
they are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final, assert_never

import structlog

from comfyledger import crash_points
from comfyledger.core.decide.recorder import SeriesUnknown, Wanted
from comfyledger.core.reports import ImageIsLost, SeriesAnswered, UploadDone, UploadIntended, UploadRefused
from comfyledger.core.rows import BatchRow, ImageRow
from comfyledger.core.scheduling.effects import UploadImage
from comfyledger.core.values import Evidence, StoreRef, image_id, store_lane
from comfyledger.engine import HINT_LATER, Engine
from comfyledger.errors import Refused
from comfyledger.ledger.sqlite.reader import BatchFilter, ImageFilter, Reader
from comfyledger.plugin_api import Deposit, Doubted, ImageFault, LaneFault, Series, Store, Stored, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.spool import NoPlace, Spool
from comfyledger.workers.stores.resolve import Moved, StoreResolver
from comfyledger.workers.stores.restore_file import Bringer, CannotAsk, NobodyHas, SourceTrouble

BATCHES_PAGE: Final = 500
IMAGES_MAX: Final = 10_000
"""Of one batch; no batch is larger."""

ASK_FIRST_S: Final = 0.5
ASK_LAST_S: Final = 15.0
HINT_OUTLIER: Final = "Run one of the commands that the message names; the batch goes on, or repeat its request."


_TELLING: Final = {
    "altered": "upload.altered_by_store",
    "first_attempt": "upload.was_there_before",
    "adopted": "upload.adopted",
}
"""Details of a stored image that are told once for each store: the store changes bytes as they come in, held ours
before we ever asked (a foreign writer, or a lost log), or holds an earlier rendering of the image."""

log = structlog.get_logger("comfyledger.upload")


async def check_identities(stores: Mapping[str, OpenedStore], reader: Reader) -> None:
    """To be asked at the start: no store was pointed at another place while images are owed to the old one.

    Looks at open batches only. Raises Refused(config_invalid) naming the store and both places.
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


class Uploader:
    """The workers of all stores."""

    def __init__(self, stores: Mapping[str, OpenedStore], rows: RowCache, spool: Spool, desk: Reporter) -> None:
        self._places = StoreResolver(stores, rows, desk)
        self._rows = rows
        self._spool = spool
        self._desk = desk
        self._told: set[tuple[str, str]] = set()
        self._bringer = Bringer(stores, rows, spool)

    async def upload(self, effect: UploadImage) -> None:
        store = await self._places.of(effect)
        if isinstance(store, Moved):
            words = self._desk.words(
                f"The store {effect.store} is now {store.now}; the image is owed to {store.meant}."
            )
            about = (effect.image.batch_id, effect.image.index, effect.store)
            await self._desk.report(UploadRefused(*about, "identity_changed", words))
        elif store is not None and await self._in_the_spool(effect):
            crash_points.at("upload.owed")
            await self._put(effect, store)

    async def _in_the_spool(self, effect: UploadImage) -> bool:
        """Whether the bytes are there, brought back if need be; if not, what that means has been said.

        A store that should have them and cannot answer leaves the image owed: it is tried again ever later.
        """
        image = await self._now(effect)
        if image is None or image.state != "kept":
            return False
        about = (image.batch_id, image.index, effect.store)
        try:
            await self._bringer.see_to(image)
        except NobodyHas:
            await self._desk.report(ImageIsLost(*about, image.prompt, image.attempt))
        except CannotAsk as away:
            await self._desk.report(UploadRefused(*about, "altered", self._desk.words(str(away))))
        except SourceTrouble as trouble:
            log.warning("upload.source_in_trouble", image=image_id(*about[:2]), store=trouble.store, error=str(trouble))
            if trouble.store == effect.store:
                fault = trouble.fault
                await self._desk.stuck(effect.lane, fault.code, fault.text, fault.retry_after_s)
        except NoPlace as error:
            log.warning("upload.no_place", image=image_id(*about[:2]), error=str(error))
        else:
            return True
        return False

    async def _now(self, effect: UploadImage) -> ImageRow | None:
        """The image as it is: it may have another name, or other bytes, than when the effect was owed."""
        return await self._rows.image(effect.image.batch_id, effect.image.index)

    async def _put(self, effect: UploadImage, store: Store) -> None:
        lane, about = effect.lane, (effect.image.batch_id, effect.image.index, effect.store)
        wanted = await self._desk.report(UploadIntended(*about))
        image = await self._now(effect)
        if not isinstance(wanted, Wanted) or not wanted.go or image is None:
            return
        crash_points.at("upload.intended")
        outcome = await store.put(self._deposit(image, first=wanted.attempt == 1 and not wanted.resumed))
        crash_points.at("upload.answered")
        match outcome:
            case Stored(url=url, replayed=replayed, details=details):
                await self._desk.report(UploadDone(*about, url, replayed, details))
                crash_points.at("upload.logged")
                self._tell(effect.store, image.public_id, details)
                await self._desk.works(lane)
            case ImageFault(code=code, text=text):
                await self._desk.report(UploadRefused(*about, code, self._desk.words(text)))
                await self._desk.works(lane)
            case LaneFault(code=code, text=text, retry_after_s=retry_after_s):
                await self._desk.stuck(lane, code, text, retry_after_s)
            case _:
                assert_never(outcome)

    def _tell(self, store: str, public_id: str, details: Mapping[str, str | int]) -> None:
        """What an operator should know although the image is stored: what is said in the event is said once here."""
        for detail, fact in _TELLING.items():
            if detail in details and (store, fact) not in self._told:
                self._told.add((store, fact))
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


class Asker:
    """Asks every store of a series for its highest number, until all have answered or nobody waits any more."""

    def __init__(self, stores: Mapping[str, OpenedStore], engine: Engine, jitter: random.Random) -> None:
        self._stores = stores
        self._engine = engine
        self._jitter = jitter

    async def ask(self, unknown: SeriesUnknown) -> None:
        crash_points.at("series.asking")
        reasons: dict[str, StoreTrouble] = {}
        evidence = await asyncio.gather(*(self._answer(unknown, ref, reasons) for ref in unknown.stores))
        crash_points.at("series.answered")
        if all(evidence):
            found = tuple(one for one in evidence if one is not None)
            await self._engine.report(SeriesAnswered(unknown.series, found, unknown.by))
            crash_points.at("series.opened")

    async def _answer(self, unknown: SeriesUnknown, ref: StoreRef, reasons: dict[str, StoreTrouble]) -> Evidence | None:
        """One store's answer. Asks again with growing delays; None once nobody waits for it.

        `reasons`: why stores have not answered yet, of all that are asked.
        """
        series = Series(unknown.series.folder, unknown.series.stem, unknown.series.suffix)
        delay_s = ASK_FIRST_S
        while True:
            try:
                highest = await self._store(ref).highest_number(series)
                reasons.pop(ref.name, None)
                return Evidence(ref.name, ref.identity, highest)
            except StoreTrouble as trouble:
                reasons[ref.name] = trouble
            question = self._engine.questions.get(unknown.series.key)
            if question is None or question.unknown is not unknown or not question.waiting:
                return None
            question.reason = "; ".join(
                f"{store_lane(name)}: {one.fault.text.rstrip('.')}" for name, one in reasons.items()
            )
            question.hint = HINT_OUTLIER if any(isinstance(one, Doubted) for one in reasons.values()) else HINT_LATER
            await asyncio.sleep(delay_s * self._jitter.uniform(0.8, 1.2))
            delay_s = min(ASK_LAST_S, delay_s * 2)

    def _store(self, ref: StoreRef) -> Store:
        opened = self._stores.get(ref.name)
        store = opened.guarded if opened is not None else None
        if store is None:
            problem = opened.problem if opened is not None else "It is not configured."
            raise StoreTrouble(LaneFault("configuration", problem))
        return store
