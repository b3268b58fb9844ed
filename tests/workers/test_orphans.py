"""Laws of taking up what a box kept that has left: from a store if one has it, lost only if all say so."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from comfyledger.core.reports import OrphanBroughtBack, OrphanIsLost, Report
from comfyledger.core.rows import ImageRow, Upload
from comfyledger.engine import EngineView
from comfyledger.plugin_api import LaneFault
from comfyledger.workers.fleet.orphans import AGAIN_S, Orphans
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.stores.restore_file import CannotAsk, FileRestorer, NobodyHas, SourceTrouble

ROW = ImageRow("b1", 1, 7, "f", "n", 2, "areg", "kept", (Upload("folder"),), attempt=3, box="north")
ABOUT = ("b1", 1, 2, 3, "north")


class House:
    """Stands for the view, the restorer and the reporter."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0
        self.reports: list[Report] = []

    def orphans_due(self) -> list[ImageRow]:
        return [] if self.reports else [ROW]

    async def restore(self, image: ImageRow) -> None:
        assert image == ROW
        self.asked += 1
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome

    async def report(self, report: Report) -> Any:
        self.reports.append(report)


def orphans(house: House) -> Orphans:
    return Orphans(cast(EngineView, house), cast(FileRestorer, house), cast(Reporter, house))


async def test_what_a_store_has_is_brought_back_and_said_to_be_here() -> None:
    house = House(None)
    await orphans(house).look()
    assert house.reports == [OrphanBroughtBack(*ABOUT)]


async def test_what_no_store_has_is_lost() -> None:
    house = House(NobodyHas("b1/1"))
    await orphans(house).look()
    assert house.reports == [OrphanIsLost(*ABOUT)]


@pytest.mark.parametrize(
    "trouble", [CannotAsk("it is no longer configured"), SourceTrouble("folder", LaneFault("not_reached", "no route"))]
)
async def test_a_store_that_cannot_answer_is_asked_again_later_and_nothing_is_lost(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(trouble, None)
    taking_up = orphans(house)
    await taking_up.look()
    await taking_up.look()
    assert (house.asked, house.reports) == (1, [])
    loop = asyncio.get_running_loop()
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + AGAIN_S)
    await taking_up.look()
    assert house.reports == [OrphanBroughtBack(*ABOUT)]


async def test_what_stays_lost_although_it_was_reported_is_looked_at_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other files of its prompt wait for a person's choice."""
    house = House(NobodyHas("b1/1"), NobodyHas("b1/1"))
    monkeypatch.setattr(house, "orphans_due", lambda: [ROW])
    taking_up = orphans(house)
    await taking_up.look()
    await taking_up.look()
    assert (house.asked, len(house.reports)) == (1, 1)
    loop = asyncio.get_running_loop()
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + AGAIN_S)
    await taking_up.look()
    assert (house.asked, len(house.reports)) == (2, 2)
