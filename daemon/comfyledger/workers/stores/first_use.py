"""Asking stores for the highest number of a series before its first use, so that no number is given twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from comfyledger import crash_points
from comfyledger.core.backoff import backoff
from comfyledger.core.reports import SeriesAnswered
from comfyledger.core.results import SeriesUnknown
from comfyledger.core.values import Evidence, StoreRef, store_lane
from comfyledger.engine import HINT_LATER, Engine
from comfyledger.plugin_api import Doubted, LaneFault, Series, Store, StoreTrouble
from comfyledger.plugins import OpenedStore

ASK_FIRST_S: Final = 0.5
ASK_LAST_S: Final = 15.0
HINT_OUTLIER: Final = "Run one of the commands in the message, then repeat the request if it was refused."


class Asker:
    """Asks every store of a series for its highest number, until all have answered or no request waits for it."""

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
        """One store's answer. Asks again with back-off; None once no request waits for it.

        `reasons`: why stores have not answered yet, of all that are asked.
        """
        series = Series(unknown.series.folder, unknown.series.stem, unknown.series.suffix)
        tries = 0
        while True:
            try:
                highest = await self._store(ref).highest_number(series)
                reasons.pop(ref.name, None)
                return Evidence(ref.name, ref.identity, highest)
            except StoreTrouble as trouble:
                reasons[ref.name] = trouble
            question = self._engine.view.question(unknown.series.key)
            if question is None or question.unknown is not unknown or not question.labels:
                return None
            reason = "; ".join(f"{store_lane(name)}: {one.fault.text.rstrip('.')}" for name, one in reasons.items())
            hint = HINT_OUTLIER if any(isinstance(one, Doubted) for one in reasons.values()) else HINT_LATER
            self._engine.series_waiting(unknown.series.key, reason, hint)
            tries += 1
            await asyncio.sleep(backoff(tries, ASK_FIRST_S, ASK_LAST_S, self._jitter.uniform(0.8, 1.2)))

    def _store(self, ref: StoreRef) -> Store:
        opened = self._stores.get(ref.name)
        store = opened.guarded if opened is not None else None
        if store is None:
            problem = opened.problem if opened is not None else "It is not configured."
            raise StoreTrouble(LaneFault("configuration", problem))
        return store
