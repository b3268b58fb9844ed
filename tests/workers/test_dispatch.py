"""What happens to effects and lanes of a ComfyUI that is not used any more, or whose name another server has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from comfyledger.core.reports import LaneStuck, LaneWorks, PromptIsLeft
from comfyledger.core.rows import PromptRow, Stray
from comfyledger.core.scheduling.effects import CancelPrompt, FetchPrompt, FollowPrompt, RemoveInput, SubmitPrompt
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.engine import Engine
from comfyledger.workers.comfyui.under_way import UnderWay
from comfyledger.workers.dispatch import Workers
from comfyledger.workers.reporting import Reporter, Secrets
from support.core_builders import pinned

SERVERS = {1: "here:8188", 2: "", 3: "elsewhere:8188"}
STRAY = Stray(1, "here", "its prompt id", server="elsewhere:8188")
BACKENDS = ("here", "gone", "busy", "owing", "left")
TROUBLES = dict.fromkeys([*(f"backend/{name}" for name in BACKENDS), "store/gone"], "not_reached")
STANDING = OpenWorkSummary(troubles=TROUBLES, at_backends={"busy": 1}, removals={"owing": 1}, strays={"left": 1})


class Ledger:
    """Stands for the engine."""

    def __init__(self) -> None:
        self.view = self
        self.reports: list[Any] = []

    def prompt(self, batch_id: str, index: int) -> PromptRow:
        return PromptRow(batch_id, index, (1,), 1, attempt=2, server=SERVERS[index], strays=(STRAY,))

    def open_work(self) -> OpenWorkSummary:
        return STANDING

    def lane_here(self, lane: str) -> str:
        return lane

    def in_trouble(self, lane: str) -> bool:
        return lane in TROUBLES

    async def report(self, report: Any) -> None:
        self.reports.append(report)


class Here:
    """A renderer that notes what it is to do."""

    def __init__(self) -> None:
        self.server = "here:8188"
        self.under_way = UnderWay()
        self.done: list[Any] = []

    async def submit(self, effect: Any) -> bool:
        self.done.append(effect)
        return True

    follow = cancel = fetch = submit


class Room:
    """A disk with room."""

    spool_short = False

    async def fetch(self, fetch: Callable[[], Awaitable[bool]]) -> None:
        await fetch()


def workers(ledger: Ledger, here: Here | None = None) -> Workers:
    other = cast(Any, None)
    reporter = Reporter(cast(Engine, ledger), lambda: b"salt", 100, Secrets({}, []))
    return Workers({"here": cast(Any, here)}, other, other, other, other, reporter, cast(Any, Room()))


def follow(prompt: int, attempt: int = 2) -> FollowPrompt:
    return FollowPrompt("b1", prompt, attempt, "here", "prompt id", (1,))


async def test_only_what_was_sent_to_this_server_is_asked_of_it() -> None:
    """Index 1 was sent to it, 2 by a release that recorded no server, 3 elsewhere; the stray of each elsewhere."""
    ledger, here = Ledger(), Here()
    for effect in (follow(1), follow(2), follow(3), follow(1, 1)):
        await workers(ledger, here).perform(effect)
    assert here.done == [follow(1), follow(2)]
    assert ledger.reports == [PromptIsLeft("b1", 3, 2, "replaced"), PromptIsLeft("b1", 1, 1, "replaced")]


async def test_what_only_begins_and_what_lies_in_the_spool_needs_no_earlier_server() -> None:
    ledger, here = Ledger(), Here()
    begins = SubmitPrompt("b1", 3, 3, "here")
    chosen = FetchPrompt("b1", 3, 2, "here", "prompt id", (1,), (), (pinned(1),))
    resumed = SubmitPrompt("b1", 3, 2, "here", resumed=True)
    for effect in (begins, chosen, resumed):
        await workers(ledger, here).perform(effect)
    assert here.done == [begins, chosen]
    assert ledger.reports == [PromptIsLeft("b1", 3, 2, "replaced")]


async def test_what_is_at_a_removed_backend_is_left_there_and_the_last_of_it_ends_its_trouble() -> None:
    ledger = Ledger()
    await workers(ledger).perform(CancelPrompt("b1", 1, 1, "gone", "prompt id"))
    await workers(ledger).perform(CancelPrompt("b1", 2, 1, "busy", "prompt id"))
    left = [PromptIsLeft("b1", 1, 1, "removed"), LaneWorks("backend/gone"), PromptIsLeft("b1", 2, 1, "removed")]
    assert ledger.reports == left


async def test_files_that_a_person_chose_and_inputs_to_remove_wait_for_a_removed_backend() -> None:
    ledger = Ledger()
    await workers(ledger).perform(FetchPrompt("b1", 1, 2, "gone", "prompt id", (1,), (), (pinned(1),)))
    await workers(ledger).perform(RemoveInput("aa", "gone", "name"))
    assert [(type(one), one.lane, one.code) for one in ledger.reports] == [
        (LaneStuck, "backend/gone", "unconfigured")
    ] * 2


async def test_a_removed_backend_that_has_nothing_is_no_trouble_after_a_start() -> None:
    ledger = Ledger()
    await workers(ledger).release_removed()
    assert ledger.reports == [LaneWorks("backend/gone")]
