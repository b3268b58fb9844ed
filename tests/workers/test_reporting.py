"""What workers say of a lane: one line in the log for one trouble, however many calls meet it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from structlog.testing import capture_logs

from comfyledger.core.reports import LaneStuck, LaneWorks
from comfyledger.core.values import lane_at
from comfyledger.engine import Engine
from comfyledger.workers.reporting import Reporter, Secrets


class Ledger:
    """Stands for the engine: a lane is in trouble once its report is durable, which takes a turn of the loop."""

    def __init__(self, box: str = "") -> None:
        self.view = self
        self._box = box
        self.reports: list[Any] = []
        self.troubles: set[str] = set()

    def lane_here(self, lane: str) -> str:
        return lane_at(lane, self._box)

    def in_trouble(self, lane: str) -> bool:
        return self.lane_here(lane) in self.troubles

    async def report(self, report: Any) -> None:
        await asyncio.sleep(0)
        self.reports.append(report)
        (self.troubles.add if isinstance(report, LaneStuck) else self.troubles.discard)(report.lane)


def made(box: str = "") -> tuple[Reporter, Ledger]:
    ledger = Ledger(box)
    return Reporter(cast(Engine, ledger), lambda: b"salt", 100, Secrets({}, ["secret-key"])), ledger


async def test_one_trouble_of_a_lane_is_one_line_and_every_call_is_reported() -> None:
    reporter, ledger = made()
    with capture_logs() as lines:
        await asyncio.gather(*(reporter.stuck("store/a", "away", "no route") for _ in range(4)))
        for _ in range(3):
            await reporter.stuck("store/a", "away", "no route")
        await reporter.stuck("store/b", "full", "no room, says secret-key", 5.0)
    assert [(line["event"], line["lane"]) for line in lines] == [("lane.stuck", "store/a"), ("lane.stuck", "store/b")]
    assert lines[1]["code"] == "full"
    assert "secret-key" not in lines[1]["error"]
    assert [report.lane for report in ledger.reports] == ["store/a"] * 7 + ["store/b"]
    assert ledger.reports[-1].retry_after_s == 5.0


def test_words_are_masked_before_they_are_cut_and_cut_to_the_bound() -> None:
    reporter, _ = made()
    assert reporter.error_text("x" * 101).content == b"x" * 100
    assert b"secret" not in reporter.error_text("x" * 95 + "secret-key").content
    assert reporter.error_text("short").content == b"short"


async def test_the_next_trouble_of_a_lane_is_another_line() -> None:
    reporter, ledger = made()
    with capture_logs() as lines:
        for _ in range(2):
            await reporter.stuck("store/a", "away", "no route")
            await reporter.works("store/a")
        await reporter.works("store/a")
    assert [line["event"] for line in lines] == ["lane.stuck", "lane.works"] * 2
    assert [type(report) for report in ledger.reports] == [LaneStuck, LaneWorks] * 2


async def test_a_box_of_a_fleet_reports_its_own_trouble_with_a_store_and_the_end_of_it() -> None:
    reporter, ledger = made("north")
    for lane in ("store/a", "backend/north.main"):
        await reporter.stuck(lane, "away", "no route")
        await reporter.works(lane)
    assert [report.lane for report in ledger.reports] == ["store/a@north"] * 2 + ["backend/north.main"] * 2
