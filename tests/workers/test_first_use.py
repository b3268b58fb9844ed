"""Asking stores for the highest number of a series: who waits is told of every store that has not answered."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.results import SeriesUnknown
from comfyledger.core.values import Evidence, StoreRef
from comfyledger.engine import HINT_LATER, Question
from comfyledger.plugin_api import Doubted, LaneFault, Series, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.stores import first_use
from comfyledger.workers.stores.first_use import HINT_OUTLIER, Asker
from support.waiting import until

SERIES = series_of(Templates(), "Areg", "Opal Fever", True)
DOWN = StoreTrouble(LaneFault("not_reached", "no route to host."))


class Shelf:
    """Answers as it is told, with a number or with trouble."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def highest_number(self, series: Series) -> int:
        if isinstance(self.answer, Exception):
            raise self.answer
        number: int = self.answer
        return number


class Engine:
    def __init__(self, unknown: SeriesUnknown) -> None:
        self.view = self
        self.key = unknown.series.key
        self.questions = {self.key: Question(unknown, 0, ("app",))}
        self.reports: list[Any] = []

    def question(self, key: str) -> Question | None:
        return self.questions.get(key)

    @property
    def told(self) -> Question:
        return self.questions[self.key]

    async def report(self, report: Any) -> None:
        self.reports.append(report)

    def series_waiting(self, key: str, reason: str, hint: str) -> None:
        self.questions[key] = replace(self.questions[key], reason=reason, hint=hint)


def asking(**answers: Any) -> tuple[Engine, dict[str, Shelf], asyncio.Task[None]]:
    shelves = {name: Shelf(answer) for name, answer in answers.items()}
    stores = {name: OpenedStore(name, "odd", f"odd:{name}", shelf) for name, shelf in shelves.items()}  # type: ignore[arg-type]
    unknown = SeriesUnknown(SERIES, tuple(StoreRef(name, f"odd:{name}") for name in shelves))
    engine = Engine(unknown)
    asker = Asker(stores, engine, random.Random(1))  # type: ignore[arg-type]
    return engine, shelves, asyncio.create_task(asker.ask(unknown))


def doubt() -> Doubted:
    return Doubted("a", Series("f", "s_"), "f/s_20251122", 20251122, 57)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_use, "ASK_FIRST_S", 0.001)
    monkeypatch.setattr(first_use, "ASK_LAST_S", 0.01)


async def test_each_store_that_has_not_answered_is_named_with_its_reason() -> None:
    engine, shelves, task = asking(a=doubt(), b=DOWN, c=9)
    await until(lambda: "store/a" in engine.told.reason and "store/b" in engine.told.reason)
    assert "`comfyledger import a --prefix f --ignore-outlier`" in engine.told.reason
    assert "no route to host" in engine.told.reason
    assert "store/c" not in engine.told.reason
    assert engine.told.hint == HINT_OUTLIER
    shelves["a"].answer = 57
    await until(lambda: engine.told.reason == "store/b: no route to host")
    assert engine.told.hint == HINT_LATER
    shelves["b"].answer = 0
    await task
    (report,) = engine.reports
    assert report.evidence == (Evidence("a", "odd:a", 57), Evidence("b", "odd:b", 0), Evidence("c", "odd:c", 9))


async def test_an_asker_whose_question_was_settled_otherwise_says_nothing_more() -> None:
    engine, _, task = asking(a=DOWN)
    await until(lambda: "store/a" in engine.told.reason)
    engine.questions[engine.key] = Question(SeriesUnknown(SERIES, ()), 0, ("app",))
    await task
    assert engine.told.reason == "asking the stores"
    assert engine.reports == []


async def test_a_plugin_that_dies_is_a_reason_like_any_other() -> None:
    engine, shelves, task = asking(a=ValueError("日本"))
    await until(lambda: "The plugin of the store failed" in engine.told.reason)
    shelves["a"].answer = 3
    await task
    assert len(engine.reports) == 1
