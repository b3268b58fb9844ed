"""Laws of a prompt that takes ComfyUI down: struck only if it was seen running, parked after the third time, taken up
again by a person, and nobody else is blamed."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import ImageFailed, PromptLost, PromptRemoved
from support.core_builders import (
    cancel,
    failing,
    fallen,
    finished,
    given,
    gone,
    kept,
    one_stored,
    rendered,
    rendering,
    retry,
    submit,
)
from support.core_builders import failed as has_failed

MAX = Policy().poison_strikes_max


def falling(prompt: int = 1, *, times: int = MAX, first: int = 1) -> tuple[Message, ...]:
    """`times` attempts during each of which ComfyUI went away."""
    attempts = range(first, first + times)
    return tuple(message for attempt in attempts for message in (*rendering(prompt, attempt), fallen(prompt, attempt)))


def test_a_prompt_running_when_comfyui_died_gets_a_strike_and_is_owed() -> None:
    ledger = given(submit(), rendering(1))
    assert ledger.when(fallen(1)).events == (PromptLost("b1", 1, 1, running=True),)
    assert (ledger.prompt().state, ledger.prompt().strikes, ledger.prompt().failures) == ("queued", 1, 0)


def test_a_prompt_that_was_not_seen_running_is_never_struck() -> None:
    ledger = given(submit())
    for attempt in range(1, 10):
        ledger.given(rendering(1, attempt), gone(1, attempt, restarted=True))
    assert (ledger.prompt().state, ledger.prompt().strikes) == ("queued", 0)
    assert ledger.states() == ["pending"] * 3


def test_a_suspect_that_only_waited_when_comfyui_went_away_is_not_parked() -> None:
    ledger = given(submit(quantity=1), falling(1, times=MAX - 1), rendering(1, MAX))
    assert ledger.when(gone(1, MAX, restarted=True)).kinds == ["PromptLost"]
    assert ledger.prompt().strikes == MAX - 1


def test_the_last_strike_fails_the_images_of_this_prompt_and_of_no_other() -> None:
    ledger = given(submit(quantity=4, per_prompt=2), rendering(2), falling(1, times=MAX - 1), rendering(1, MAX))
    report = fallen(1, MAX)
    then = ledger.when(report)
    assert report.words is not None
    lost, ended = then.events
    assert lost == PromptLost("b1", 1, MAX, running=True)
    assert ended == ImageFailed("b1", (1, 2), (1,), "poison", report.words.digest)
    assert ledger.states() == ["failed", "failed", "pending", "pending"]
    assert (ledger.prompt(1).state, ledger.prompt(2).state, ledger.prompt(2).strikes) == ("done", "accepted", 0)


def test_a_poison_settles_its_batch_when_all_else_is_done() -> None:
    ledger = given(submit(quantity=2), one_stored(2), falling(1, times=MAX - 1), rendering(1, MAX))
    assert ledger.when(fallen(1, MAX)).kinds == ["PromptLost", "ImageFailed", "BatchSettled"]
    assert ledger.batch().settled


def test_retry_renews_the_budget_of_a_poison_and_not_its_innocence() -> None:
    ledger = given(submit(quantity=1), falling(1), retry())
    assert (ledger.prompt().state, ledger.prompt().strikes) == ("queued", 1)
    ledger.given(falling(1, times=MAX - 2, first=MAX + 1))
    assert ledger.states() == ["pending"]
    ledger.given(falling(1, times=1, first=2 * MAX - 1))
    assert ledger.states() == ["failed"]


def test_a_suspect_that_finishes_is_none_any_more() -> None:
    ledger = given(submit(quantity=1), falling(1, times=2), rendered(1, 3))
    assert ledger.prompt().strikes == 0
    ledger.given(kept(1, attempt=3))
    assert ledger.states() == ["kept"]


def test_a_suspect_whose_image_is_in_the_spool_already_keeps_it() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendered(1, files=2), kept(1), has_failed(1, code="file_missing"))
    ledger.given(falling(1, first=2))
    assert ledger.states() == ["kept", "failed"]


def test_strikes_and_failures_have_budgets_of_their_own() -> None:
    ledger = given(submit(quantity=1), falling(1, times=2), failing(1, times=2, first=3))
    assert (ledger.prompt().strikes, ledger.prompt().failures) == (2, 2)
    assert ledger.states() == ["pending"]


def test_a_prompt_that_was_being_cancelled_is_gone_and_not_struck() -> None:
    ledger = given(submit(quantity=1), rendering(1), cancel())
    assert ledger.when(fallen(1)).events == (PromptRemoved("b1", 1, 1, by="cancel"),)
    assert ledger.prompt().strikes == 0


def test_who_removes_a_prompt_from_a_comfyui_that_goes_on_strikes_it_not() -> None:
    ledger = given(submit(quantity=1), rendering(1))
    assert ledger.when(fallen(1, restarted=False)).kinds == ["PromptRemoved", "BatchHeld"]
    assert ledger.prompt().strikes == 0


@pytest.mark.parametrize("late", [fallen(1), fallen(1, 3), finished(1, 1)])
def test_a_late_report_of_a_fall_changes_nothing(late: Message) -> None:
    ledger = given(submit(quantity=1), falling(1, times=1), rendering(1, 2))
    assert ledger.when(late).events == ()
    assert ledger.prompt().strikes == 1


def test_the_policy_says_how_many_strikes_park() -> None:
    ledger = given(submit(quantity=1), rendering(1), policy=Policy(poison_strikes_max=1))
    assert ledger.when(fallen(1)).kinds == ["PromptLost", "ImageFailed", "BatchSettled"]
