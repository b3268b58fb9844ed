"""Storing: put kept images into their stores, and ask stores for the highest number of a series.

A store answers with an outcome; whether that is the image's trouble or the lane's is said by its type. The intent is
durable before the call goes out. Nothing is uploaded twice: the store is asked to put the same bytes under the same
name, and finds them there if they are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final, assert_never

from comfyledger.core.draft import SeriesUnknown, Wanted
from comfyledger.core.effects import UploadImage
from comfyledger.core.reports import SeriesAnswered, UploadDone, UploadIntended, UploadRefused
from comfyledger.core.slices import ImageRow
from comfyledger.core.values import Evidence, StoreRef, image_id, store_lane
from comfyledger.engine import Engine
from comfyledger.ledger.reader import Reader
from comfyledger.plugin_api import Deposit, ImageFault, LaneFault, Series, Store, Stored, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.work.desk import Desk
from comfyledger.work.spool import Spool

ASK_FIRST_S: Final = 0.5
ASK_LAST_S: Final = 15.0


class Uploader:
    """The workers of all stores."""

    def __init__(self, stores: Mapping[str, OpenedStore], reader: Reader, spool: Spool, desk: Desk) -> None:
        self._stores = stores
        self._reader = reader
        self._spool = spool
        self._desk = desk

    async def upload(self, effect: UploadImage) -> None:
        image, lane = effect.image, effect.lane
        store, problem = await self._store_of(image, effect.store)
        if store is None:
            await self._desk.stuck(lane, *problem)
            return
        wanted = await self._desk.report(UploadIntended(image.batch_id, image.index, effect.store))
        if not isinstance(wanted, Wanted) or not wanted.go:
            return
        outcome = await store.put(self._deposit(image, first=wanted.attempt == 1 and not wanted.resumed))
        about = (image.batch_id, image.index, effect.store)
        match outcome:
            case Stored(url=url, replayed=replayed, details=details):
                await self._desk.report(UploadDone(*about, url, replayed, details))
                await self._desk.works(lane)
            case ImageFault(code=code, text=text):
                await self._desk.report(UploadRefused(*about, code, self._desk.words(text)))
                await self._desk.works(lane)
            case LaneFault(code=code, text=text, retry_after_s=retry_after_s):
                await self._desk.stuck(lane, code, text, retry_after_s)
            case _:
                assert_never(outcome)

    async def _store_of(self, image: ImageRow, name: str) -> tuple[Store | None, tuple[str, str]]:
        """The store that a batch named, if it is still the same place; else why not, as code and sentence."""
        opened = self._stores.get(name)
        if opened is None:
            return None, ("unconfigured", f"The store {name} is not configured any more.")
        if opened.store is None:
            return None, ("configuration", opened.problem)
        batch = await self._reader.batch(image.batch_id)
        meant = next((ref.identity for ref in batch.stores if ref.name == name), "") if batch else ""
        if meant != opened.identity:
            text = f"The store {name} is now {opened.identity}; images are owed to {meant}."
            return None, ("identity_changed", text)
        return opened.store, ("", "")

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
        evidence = await asyncio.gather(*(self._answer(unknown, ref) for ref in unknown.stores))
        if all(evidence):
            found = tuple(one for one in evidence if one is not None)
            await self._engine.report(SeriesAnswered(unknown.series, found))

    async def _answer(self, unknown: SeriesUnknown, ref: StoreRef) -> Evidence | None:
        """One store's answer. Asks again with growing delays; None once nobody waits for it."""
        series = Series(unknown.series.folder, unknown.series.stem, unknown.series.suffix)
        delay_s = ASK_FIRST_S
        while True:
            try:
                highest = await self._store(ref).highest_number(series)
                return Evidence(ref.name, ref.identity, highest)
            except StoreTrouble as trouble:
                reason = f"{store_lane(ref.name)}: {trouble.fault.text.rstrip('.')}"
            question = self._engine.questions.get(unknown.series.key)
            if question is None or not question.waiting:
                return None
            question.reason = reason
            await asyncio.sleep(delay_s * self._jitter.uniform(0.8, 1.2))
            delay_s = min(ASK_LAST_S, delay_s * 2)

    def _store(self, ref: StoreRef) -> Store:
        opened = self._stores.get(ref.name)
        if opened is None or opened.store is None:
            problem = opened.problem if opened is not None else "It is not configured."
            raise StoreTrouble(LaneFault("configuration", problem))
        return opened.store
