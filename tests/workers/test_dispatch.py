"""What happens to effects and lanes of a ComfyUI that is not configured any more."""

from __future__ import annotations

from typing import Any, cast

from comfyledger.core.reports import LaneWorks
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.engine import Engine
from comfyledger.workers.dispatch import Workers
from comfyledger.workers.reporting import Reporter, Secrets

TROUBLES = dict.fromkeys(("backend/here", "backend/gone", "backend/busy", "backend/owing", "store/gone"), "not_reached")
STANDING = OpenWorkSummary(troubles=TROUBLES, at_backends={"busy": 1}, removals={"owing": 1})


class Ledger:
    """Stands for the engine."""

    def __init__(self) -> None:
        self.view = self
        self.reports: list[Any] = []

    def open_work(self) -> OpenWorkSummary:
        return STANDING

    def in_trouble(self, lane: str) -> bool:
        return lane in TROUBLES

    async def report(self, report: Any) -> None:
        self.reports.append(report)


async def test_a_removed_backend_that_has_nothing_is_no_trouble_after_a_start() -> None:
    ledger, other = Ledger(), cast(Any, None)
    reporter = Reporter(cast(Engine, ledger), lambda: b"salt", 100, Secrets({}, []))
    workers = Workers({"here": other}, other, other, other, other, reporter, other)
    await workers.release_removed()
    assert ledger.reports == [LaneWorks("backend/gone")]
