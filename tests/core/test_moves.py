"""Laws of moving: what leaves a backend by itself, when, and what stays there for which reason."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import PromptMoved
from comfyledger.core.reports import LaneWorks
from comfyledger.core.results import Wanted
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import FetchPrompt
from comfyledger.core.scheduling.moves import WhyStays
from comfyledger.core.values import EVERYTHING, SPOOL, backend_lane, user_lane
from support.core_builders import (
    accepted,
    cancel,
    fallen,
    finished,
    given,
    hold,
    intended,
    kept,
    laid_by,
    left,
    miscounted,
    rendered,
    rendering,
    stuck,
    submit,
    taking,
)
from support.plain_engine import PlainEngine, kept_in_memory

AFTER_MS = 2_000
TWO = Limits({"main": 2, "other": 2}, move_after_ms={"main": AFTER_MS})
MAIN, OTHER = backend_lane("main"), backend_lane("other")


def away(*messages: object, limits: Limits = TWO) -> PlainEngine:
    """One prompt that is rendered at `main` when that goes away."""
    return PlainEngine(limits).given(submit(quantity=1), rendering(1), *messages, stuck(MAIN))  # type: ignore[arg-type]


def due(lived: PlainEngine, after_ms: int = AFTER_MS) -> list[int]:
    """The prompts that leave after a time."""
    return [row.index for row in lived.wait(after_ms).owed.moves_due(lived.now_ms)]


def stays(lived: PlainEngine, backend: str = "main") -> list[WhyStays]:
    return [one.why for one in lived.owed.moves.at(backend)]


def test_what_a_backend_has_leaves_after_it_was_in_trouble_for_so_long_and_not_before() -> None:
    lived = away()
    assert due(lived, AFTER_MS - 1) == []
    assert due(lived, 1) == [1]


def test_with_0_it_waits_for_ever() -> None:
    assert due(away(limits=replace(TWO, move_after_ms={"main": 0})), 10**9) == []
    assert due(away(limits=replace(TWO, move_after_ms={})), 10**9) == []


def test_only_trouble_without_a_break_counts() -> None:
    lived = away()
    assert due(lived, AFTER_MS - 1) == []
    lived.post(LaneWorks(MAIN))
    lived.post(stuck(MAIN))
    assert due(lived, AFTER_MS - 1) == []
    assert due(lived, 1) == [1]


def test_another_code_of_the_same_trouble_begins_no_new_one() -> None:
    lived = away()
    assert due(lived, AFTER_MS - 1) == []
    lived.post(stuck(MAIN, "http_503"))
    assert due(lived, 1) == [1]


def test_after_a_restart_of_the_daemon_the_time_counts_anew() -> None:
    lived = away()
    assert due(lived) == [1]
    lived.restart()
    assert due(lived, AFTER_MS - 1) == []
    assert due(lived, 1) == [1]


@pytest.mark.parametrize("before", [(intended(2),), rendering(2), rendered(2)])
def test_it_leaves_wherever_it_is_on_its_way(before: tuple[Message, ...]) -> None:
    lived = PlainEngine(TWO).given(submit(quantity=2), before, stuck(MAIN))
    assert due(lived) == [2]


def test_what_was_left_behind_is_not_due_again() -> None:
    lived = away(left(1))
    assert due(lived) == []
    assert stays(lived) == []


@pytest.mark.parametrize("lane", [EVERYTHING, user_lane("areg")])
def test_nothing_leaves_while_nothing_would_be_sent_elsewhere(lane: str) -> None:
    lived = away(PauseLane("app", lane))
    assert due(lived) == []
    lived.post(ResumeLane("app", lane))
    assert due(lived, 0) == [1]


def test_nothing_of_a_held_batch_leaves_and_nothing_while_the_spool_is_full() -> None:
    assert due(away(hold())) == []
    assert due(away(stuck(SPOOL, "spool_full"))) == []


@pytest.mark.parametrize("other", [stuck(OTHER), PauseLane("app", OTHER)])
def test_it_stays_as_long_as_no_other_works(other: Message) -> None:
    lived = away(other)
    assert (due(lived), stays(lived)) == ([], ["nowhere"])


def test_it_leaves_a_backend_that_a_person_paused_too() -> None:
    assert due(away(PauseLane("app", MAIN))) == [1]


def test_a_suspect_stays() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendering(1), fallen(1), rendering(1, 2), stuck(MAIN))
    assert (due(lived), stays(lived)) == ([], ["suspect"])


def test_what_is_pinned_stays() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1, backend="main"), rendering(1), stuck(MAIN))
    assert (due(lived), stays(lived)) == ([], ["pinned"])


def test_what_no_other_can_run_stays() -> None:
    lived = away()
    lived.owed.refuse("other", lived.ledger.batch().template, "", "no such node", lived.now_ms)
    assert (due(lived), stays(lived)) == ([], ["nowhere"])


def test_what_is_being_cancelled_stays() -> None:
    lived = away(cancel())
    assert (due(lived), stays(lived)) == ([], ["cancelling"])


def test_files_of_a_backend_that_works_are_fetched_and_not_left() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendered(1))
    assert stays(lived) == ["fetching"]
    lived.post(stuck(MAIN))
    assert stays(lived) == [""]


def test_files_that_a_person_chose_stay() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendering(1), miscounted(files=2), laid_by(2))
    lived.given(taking("first"), stuck(MAIN))
    assert (due(lived), stays(lived)) == ([], ["choice"])


def test_every_reason_to_stay_has_a_test() -> None:
    assert set(get_args(WhyStays)) == {"", "cancelling", "fetching", "choice", "suspect", "pinned", "nowhere"}


def test_memory_keeps_nothing_of_what_has_left_and_ended() -> None:
    lived = away(left(1), finished(1), kept(1))
    lived.post(LaneWorks(MAIN))
    lived.work()
    assert kept_in_memory(lived.owed) == 0


# ---- what the report means


def test_the_answer_says_whether_it_was_left() -> None:
    ledger = given(submit(quantity=1), rendering(1))
    assert ledger.when(left(1)).answer == Wanted(go=True, attempt=1)
    assert ledger.when(left(1)).answer == Wanted(go=False)
    assert ledger.when(left(1, 7)).answer == Wanted(go=False)
    struck = given(submit(quantity=1), rendering(1), policy=Policy(poison_strikes_max=1))
    assert struck.when(left(1, running=True)).answer == Wanted(go=False)


def test_a_person_who_moves_what_ran_when_its_comfyui_went_away_moves_it_once() -> None:
    ledger = given(submit(quantity=1), rendering(1))
    moved = PromptMoved("b1", 1, 1, "main", "person", running=True)
    assert ledger.when(left(1, 1, "person", running=True)).events == (moved,)
    ledger.given(intended(1, 2, backend="other"), accepted(1, 2))
    assert ledger.when(left(1, 2, "person")).events == ()


# ---- what is sent and fetched meanwhile


def test_no_attempt_begins_at_a_backend_that_a_person_has_just_paused() -> None:
    ledger = given(submit(quantity=1), PauseLane("app", MAIN))
    assert ledger.when(intended(1)).answer == Wanted(go=False)
    assert ledger.when(intended(1, backend="other")).answer == Wanted(go=True, attempt=1)


def test_an_attempt_that_was_begun_before_the_pause_goes_on() -> None:
    ledger = given(submit(quantity=1), intended(1), PauseLane("app", MAIN))
    assert ledger.when(intended(1)).answer == Wanted(go=True, attempt=1)


def fetches(lived: PlainEngine) -> list[FetchPrompt]:
    return [one for one in lived.take() if isinstance(one, FetchPrompt)]


@pytest.mark.parametrize("late", [(), (finished(1, 2),)])
def test_files_of_two_attempts_are_never_fetched_at_the_same_time(late: tuple[Message, ...]) -> None:
    """The second attempt has finished and its files do not come, when the first, which was left behind, turns up."""
    second = (intended(1, 2, backend="other"), accepted(1, 2), finished(1, 2))
    lived = PlainEngine(TWO).given(submit(quantity=1), rendering(1), left(1), second)
    (slow,) = fetches(lived)
    lived.given(left(1, 2), finished(1, 1), late)
    assert fetches(lived) == []
    lived.done(slow)
    (one,) = fetches(lived)
    assert (one.attempt, one.backend) == (1, "main")
    lived.post(kept(1, attempt=1))
    lived.done(one)
    assert fetches(lived) == []


def test_a_fetch_that_was_left_behind_and_is_wanted_again_goes_on() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendered(1))
    (fetch,) = fetches(lived)
    lived.given(left(1), finished(1, 1))
    assert fetches(lived) == []
    assert lived.ledger.when(kept(1)).answer is not None
    lived.done(fetch)
    assert lived.ledger.states() == ["kept"]
