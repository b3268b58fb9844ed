"""Laws of attempts that are left behind: one is live at most, whatever finishes first is used once, nothing is mixed,
and a suspect does not walk from one ComfyUI to the next."""

from __future__ import annotations

from typing import get_args

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import PromptMoved, PromptRemoved, StrayEnded
from comfyledger.core.results import Taken, Wanted
from comfyledger.core.rows import Stray
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import CancelPrompt, Effect, FetchPrompt, FollowPrompt, SubmitPrompt
from comfyledger.core.values import StrayOutcome, prompt_uuid
from support.core_builders import (
    PlainLedger,
    accepted,
    cancel,
    failed,
    fallen,
    finished,
    given,
    gone,
    intended,
    interrupted,
    kept,
    laid_by,
    left,
    lost,
    refused,
    rendered,
    rendering,
    submit,
    taking,
    uploading,
    wrote,
)
from support.plain_engine import PlainEngine

LEFT: tuple[Message, ...] = (*rendering(1), left(1))
TWO = Limits({"main": 2, "other": 2})


def stray(attempt: int = 1, backend: str = "main") -> Stray:
    return Stray(attempt, backend, prompt_uuid("b1", 1, attempt))


@pytest.mark.parametrize("before", [(intended(1),), rendering(1), rendered(1)])
def test_an_attempt_that_is_left_behind_makes_room_for_the_next(before: tuple[Message, ...]) -> None:
    ledger = given(submit(quantity=1), before)
    assert ledger.when(left(1)).events == (PromptMoved("b1", 1, 1, "main", "away"),)
    prompt = ledger.prompt()
    assert (prompt.state, prompt.next_attempt, prompt.files, prompt.failures) == ("queued", 2, (), 0)
    assert prompt.strays == (stray(),)
    assert ledger.when(intended(1, 2, backend="other")).answer == Wanted(go=True, attempt=2)


@pytest.mark.parametrize("before", [(), (*rendering(1), cancel()), (*rendered(1), kept(1))])
def test_what_is_nowhere_or_wanted_by_nobody_is_not_left_behind(before: tuple[Message, ...]) -> None:
    ledger = given(submit(quantity=1), before)
    assert ledger.when(left(1)).events == ()


def test_no_attempt_is_left_behind_twice_and_none_that_does_not_exist() -> None:
    ledger = given(submit(quantity=1), LEFT)
    assert ledger.when(left(1)).events == ()
    assert ledger.when(left(1, 2)).events == ()


def test_the_next_attempt_of_a_stray_never_begins_twice() -> None:
    ledger = given(submit(quantity=1), LEFT, intended(1, 2, backend="other"))
    assert ledger.when(intended(1, 1)).answer == Wanted(go=False)
    assert ledger.when(intended(1, 2, backend="main")).answer == Wanted(go=False)


def test_a_stray_that_finishes_before_its_successor_begins_is_used() -> None:
    ledger = given(submit(quantity=1), LEFT)
    then = ledger.when(finished(1, 1))
    assert then.answer == Wanted(go=True, attempt=1)
    assert then.events == (StrayEnded("b1", 1, 1, "main", "used", finished(1, 1).files),)
    assert (ledger.prompt().state, ledger.prompt().attempt, ledger.prompt().strays) == ("finished", 1, ())
    ledger.given(kept(1, prompt=1, attempt=1))
    assert (ledger.states(), ledger.image().attempt, ledger.batch().succeeded) == (["kept"], 1, 1)


@pytest.mark.parametrize("successor", [(intended(1, 2, backend="other"),), (intended(1, 2), accepted(1, 2))])
def test_a_stray_that_finishes_first_overtakes_its_successor(successor: tuple[Message, ...]) -> None:
    ledger = given(submit(quantity=1), LEFT, successor)
    there = ledger.prompt().backend
    assert ledger.when(finished(1, 1)).events == (
        PromptMoved("b1", 1, 2, there, "overtaken"),
        StrayEnded("b1", 1, 1, "main", "used", finished(1, 1).files),
    )
    assert ledger.prompt().strays == (stray(2, there),)
    assert ledger.prompt().backend == "main"
    assert ledger.when(finished(1, 2)).events == (StrayEnded("b1", 1, 2, there, "late"),)
    ledger.given(kept(1, prompt=1, attempt=1))
    assert ledger.image().attempt == 1
    assert ledger.prompt().is_over


def test_the_number_of_an_overtaken_attempt_is_not_given_again() -> None:
    ledger = given(submit(quantity=1), LEFT, rendering(1, 2), finished(1, 1), failed(1, 1, "file_missing"))
    assert (ledger.prompt().state, ledger.prompt().next_attempt) == ("queued", 3)
    assert ledger.when(intended(1, 2)).answer == Wanted(go=False)
    assert ledger.when(intended(1, 3)).answer == Wanted(go=True, attempt=3)
    assert ledger.prompt().next_attempt == 4


def test_a_stray_that_finishes_after_its_successor_is_late() -> None:
    ledger = given(submit(quantity=1), LEFT, rendered(1, 2))
    assert ledger.when(finished(1, 1)).answer == Wanted(go=False)
    assert ledger.log[-1].event == StrayEnded("b1", 1, 1, "main", "late")
    assert ledger.when(kept(1, prompt=1, attempt=2)).answer == Taken((1,))
    assert ledger.image().attempt == 2


def test_files_of_a_stray_are_not_kept_while_it_is_one() -> None:
    ledger = given(submit(quantity=1), rendered(1), left(1))
    assert ledger.when(kept(1, prompt=1, attempt=1)).answer == Taken(())
    assert ledger.states() == ["pending"]


@pytest.mark.parametrize("files", [(), (1,), (3,)])
def test_a_stray_without_exactly_its_files_is_not_used(files: tuple[int, ...]) -> None:
    ledger = given(submit(quantity=2, per_prompt=2), LEFT)
    assert ledger.when(wrote(1, 1, files=files)).events == (StrayEnded("b1", 1, 1, "main", "late"),)
    assert ledger.prompt().state == "queued"


def left_with_one_output_of_two() -> PlainLedger:
    """The first output has its file, and the attempt that was left behind was asked for the second alone."""
    ledger = given(submit(quantity=1, outputs=2), rendering(1), wrote(1, files=(1, 0), code="execution_error"))
    ledger.given(kept(1, prompt=1), rendering(1, 2), left(1, 2))
    assert ledger.prompt().strays[0].outputs == (2,)
    return ledger


def test_a_stray_that_was_asked_for_the_outputs_that_wait_is_used() -> None:
    ledger = left_with_one_output_of_two()
    assert ledger.when(wrote(1, 2, files=(0, 1))).answer == Wanted(go=True, attempt=2)
    assert ledger.prompt().outputs == (2,)


def test_a_stray_that_was_asked_for_fewer_outputs_than_wait_now_is_not_used() -> None:
    ledger = left_with_one_output_of_two().given(uploading(1), lost(1))
    assert ledger.states() == ["pending", "pending"]
    assert ledger.when(wrote(1, 2, files=(0, 1))).events == (StrayEnded("b1", 1, 2, "main", "late"),)


@pytest.mark.parametrize("end", [failed(1), interrupted(1), gone(1), gone(1, restarted=True), fallen(1), refused(1)])
def test_a_stray_that_comes_to_nothing_ends_and_costs_nothing(end: Message) -> None:
    ledger = given(submit(quantity=1), LEFT)
    assert ledger.when(end).events == (StrayEnded("b1", 1, 1, "main", "gone"),)
    prompt = ledger.prompt()
    assert (prompt.state, prompt.failures, prompt.strikes, prompt.strays) == ("queued", 0, 0, ())
    assert (ledger.batch().held, ledger.when(end).events) == ("", ())


def test_every_outcome_of_a_stray_has_a_test() -> None:
    assert set(get_args(StrayOutcome)) == {"used", "late", "gone", "given_up"}


# ---- a server that is not used any more


@pytest.mark.parametrize("reason", ["removed", "replaced"])
@pytest.mark.parametrize(
    "before", [(intended(1),), rendering(1), rendered(1), (*rendering(1), fallen(1), *rendering(1, 2))]
)
def test_what_was_sent_to_a_server_that_nobody_can_ask_is_given_up_and_made_elsewhere(
    before: tuple[Message, ...], reason: str
) -> None:
    """Also if it is a suspect: it must go somewhere."""
    ledger = given(submit(quantity=1), before)
    attempt = ledger.prompt().attempt
    about = ("b1", 1, attempt, "main")
    report = left(1, attempt, reason=reason, running=True)
    assert ledger.when(report).events == (PromptMoved(*about, reason), StrayEnded(*about, "given_up"))  # type: ignore[arg-type]
    assert (ledger.prompt().state, ledger.prompt().strays, ledger.prompt().next_attempt) == ("queued", (), attempt + 1)
    assert ledger.when(report).events == ()
    assert ledger.when(finished(1, attempt)).answer == Wanted(go=False)


@pytest.mark.parametrize("reason", ["removed", "replaced"])
def test_a_stray_at_a_server_that_nobody_can_ask_any_more_is_given_up(reason: str) -> None:
    ledger = given(submit(quantity=1), LEFT, intended(1, 2, backend="other"))
    assert ledger.when(left(1, reason=reason)).events == (StrayEnded("b1", 1, 1, "main", "given_up"),)
    assert (ledger.prompt().state, ledger.prompt().attempt) == ("submitting", 2)


def test_a_stray_is_not_given_up_because_its_server_is_away() -> None:
    ledger = given(submit(quantity=1), LEFT)
    assert [ledger.when(left(1, reason=reason)).events for reason in ("away", "person")] == [(), ()]


@pytest.mark.parametrize("reason", ["removed", "replaced"])
def test_what_is_being_cancelled_there_is_cancelled(reason: str) -> None:
    ledger = given(submit(quantity=1), rendering(1), cancel())
    assert ledger.when(left(1, reason="away")).events == ()
    assert ledger.when(left(1, reason=reason)).events == (PromptRemoved("b1", 1, 1, by="cancel"),)
    assert ledger.prompt().is_over


def test_what_a_person_chose_among_is_not_given_up() -> None:
    ledger = given(submit(quantity=1), rendering(1), wrote(1, files=(2,)), laid_by(2), taking("first"))
    assert ledger.prompt().waiting
    assert ledger.when(left(1, reason="removed")).events == ()


def test_a_stray_is_looked_after_when_its_prompt_is_done() -> None:
    ledger = given(submit(quantity=1), LEFT, rendered(1, 2), kept(1, prompt=1, attempt=2))
    assert (ledger.prompt().state, ledger.prompt().is_over) == ("done", False)
    assert ledger.when(finished(1, 1)).events == (StrayEnded("b1", 1, 1, "main", "late"),)
    assert ledger.prompt().is_over


def test_nobody_wants_the_files_of_a_stray_whose_images_were_cancelled() -> None:
    ledger = given(submit(quantity=1), LEFT, cancel())
    assert (ledger.prompt().state, ledger.prompt().is_over) == ("done", False)
    assert ledger.when(finished(1, 1)).events == (StrayEnded("b1", 1, 1, "main", "late"),)


# ---- suspects


def test_a_prompt_that_ran_when_its_comfyui_went_away_is_struck_and_stays_from_then_on() -> None:
    ledger = given(submit(quantity=1), rendering(1))
    assert ledger.when(left(1, running=True)).events == (PromptMoved("b1", 1, 1, "main", "away", running=True),)
    assert ledger.prompt().strikes == 1
    ledger.given(intended(1, 2, backend="other"), accepted(1, 2))
    assert ledger.when(left(1, 2)).events == ()
    assert ledger.when(left(1, 2, "person")).events == ()


def test_where_one_strike_is_the_last_no_running_prompt_moves_by_itself() -> None:
    ledger = given(submit(quantity=1), rendering(1), policy=Policy(poison_strikes_max=1))
    assert ledger.when(left(1, running=True)).events == ()
    assert ledger.when(left(1)).kinds == ["PromptMoved"]


# ---- what is owed


def owed(lived: PlainEngine) -> set[tuple[str, int, str]]:
    """What starts: kind, attempt and backend of each effect."""
    return {(one.kind, one.attempt, one.backend) for one in lived.take()}  # type: ignore[attr-defined]


def test_a_stray_is_followed_and_cancelled_where_it_is_while_its_successor_goes_elsewhere() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), LEFT)
    assert owed(lived) == {("follow", 1, "main"), ("cancel", 1, "main"), ("submit", 2, "other")}


def test_after_a_restart_the_same_is_owed() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), LEFT, rendered(1, 2), kept(1, prompt=1, attempt=2))
    lived.restart()
    found: list[Effect] = [one for one in lived.take() if isinstance(one, FollowPrompt | CancelPrompt)]
    assert {(one.kind, one.attempt) for one in found} == {("follow", 1), ("cancel", 1)}  # type: ignore[attr-defined]
    lived.given(gone(1, 1))
    assert lived.owed.open_counts()["prompts"] == 0


def test_no_attempt_begins_while_files_of_one_that_was_left_behind_are_fetched() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendered(1))
    (fetch,) = [one for one in lived.take() if isinstance(one, FetchPrompt)]
    lived.given(left(1))
    assert [one for one in lived.take() if isinstance(one, SubmitPrompt)] == []
    lived.done(fetch)
    assert [one.attempt for one in lived.take() if isinstance(one, SubmitPrompt)] == [2]


def test_files_of_two_attempts_are_never_fetched_at_once() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), LEFT, rendered(1, 2))
    (second,) = [one for one in lived.take() if isinstance(one, FetchPrompt)]
    lived.given(left(1, 2), finished(1, 1))
    assert (lived.ledger.prompt().state, lived.ledger.prompt().attempt) == ("finished", 1)
    lived.wait(60_000)
    assert [one for one in lived.take() if isinstance(one, FetchPrompt)] == []
    lived.done(second)
    lived.wait(60_000)
    assert [one.attempt for one in lived.take() if isinstance(one, FetchPrompt)] == [1]


def test_no_attempt_begins_while_files_are_fetched_of_one_that_has_ended() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendered(1))
    (fetch,) = [one for one in lived.take() if isinstance(one, FetchPrompt)]
    lived.given(left(1), gone(1, 1))
    assert [one for one in lived.take() if isinstance(one, SubmitPrompt)] == []
    lived.done(fetch)
    assert [one.attempt for one in lived.take() if isinstance(one, SubmitPrompt)] == [2]


def test_a_suspect_that_was_left_behind_goes_elsewhere() -> None:
    lived = PlainEngine(TWO).given(submit(quantity=1), rendering(1), left(1, running=True))
    assert [one.backend for one in lived.take() if isinstance(one, SubmitPrompt)] == ["other"]


def test_a_prompt_goes_back_to_where_it_was_left_if_there_is_no_other() -> None:
    lived = PlainEngine(Limits({"main": 2})).given(submit(quantity=1), LEFT)
    assert [one.backend for one in lived.take() if isinstance(one, SubmitPrompt)] == ["main"]
