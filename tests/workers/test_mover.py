"""Laws of the mover: what it reports about attempts at boxes of a fleet that were given up."""

from __future__ import annotations

from typing import Any, cast

from comfyledger.core.reports import PromptHasFailed, PromptIsLeft, Report
from comfyledger.core.results import Wanted
from comfyledger.core.rows import PromptRow
from comfyledger.core.values import Blob, blob_of
from comfyledger.engine import EngineView
from comfyledger.workers.backends.mover import Mover
from comfyledger.workers.reporting import Reporter
from support.core_builders import pinned

ACCEPTED = PromptRow("b1", 1, (1,), 7, "south.a", state="accepted", attempt=2, prompt_id="one")
CHOSEN = PromptRow("b1", 2, (2,), 7, "south.a", state="finished", attempt=1, prompt_id="two", waiting=(pinned(1),))


class House:
    """Stands for the view and the reporter."""

    def __init__(self, *given_up: PromptRow, go: bool = True) -> None:
        self.rows = list(given_up)
        self.go = go
        self.reports: list[Report] = []

    def given_up(self) -> list[PromptRow]:
        return self.rows

    def moves_due(self) -> list[PromptRow]:
        return []

    def error_text(self, text: str) -> Blob:
        return blob_of(text.encode(), b"salt")

    async def report(self, report: Report) -> Any:
        self.reports.append(report)
        return Wanted(self.go)


def mover(house: House) -> Mover:
    return Mover(cast(EngineView, house), cast(Reporter, house), lambda *_, is_away: False)


async def test_what_a_given_up_box_had_is_left_behind_for_good_and_chosen_files_are_missing() -> None:
    house = House(ACCEPTED, CHOSEN)
    await mover(house).look()
    failed, left = house.reports
    assert left == PromptIsLeft("b1", 1, 2, "removed")
    assert isinstance(failed, PromptHasFailed)
    assert (failed.prompt, failed.attempt, failed.code, failed.final) == (2, 1, "file_missing", False)


async def test_what_may_not_be_left_behind_is_not_asked_for_again() -> None:
    house = House(ACCEPTED, go=False)
    moving = mover(house)
    for _ in range(3):
        await moving.look()
    assert len(house.reports) == 1
