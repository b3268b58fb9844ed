"""Laws of holding: people come first, and sixty failures of one kind are one failure."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.events import BatchHeld, PromptRemoved
from comfyledger.core.reports import PromptReport
from comfyledger.core.results import Wanted
from comfyledger.errors import Refused
from support.core_builders import (
    cancel,
    failed,
    failing,
    finished,
    given,
    gone,
    hold,
    intended,
    interrupted,
    kept,
    one_kept,
    one_stored,
    release,
    rendered,
    rendering,
    retry,
    submit,
    unfit,
    uploaded,
)


def test_nothing_new_of_a_held_batch_goes_to_comfyui_until_it_is_resumed() -> None:
    ledger = given(submit(), hold())
    assert ledger.when(intended(1)).answer == Wanted(go=False)
    ledger.given(release())
    assert ledger.when(intended(1)).answer == Wanted(go=True, attempt=1)


def test_what_is_under_way_goes_on_while_its_batch_is_held() -> None:
    ledger = given(submit(quantity=3), rendered(1), rendering(2), intended(3), hold())
    ledger.given(kept(1), uploaded(1), finished(2), kept(2, prompt=2), uploaded(2))
    assert ledger.when(intended(3)).answer == Wanted(go=True, attempt=1)
    ledger.given(rendered(3), kept(3, prompt=3), uploaded(3))
    assert ledger.states() == ["stored"] * 3
    assert ledger.batch().settled


def test_holding_twice_is_no_error_and_releasing_twice_is_refused() -> None:
    ledger = given(submit(), hold())
    assert ledger.when(hold()).events == ()
    ledger.given(release())
    with pytest.raises(Refused):
        ledger.when(release())


@pytest.mark.parametrize(("report", "reason"), [(interrupted, "interrupted"), (gone, "removed")])
@pytest.mark.parametrize("begun", [(intended(1),), rendering(1)], ids=["submitting", "accepted"])
def test_a_prompt_removed_in_comfyui_by_a_person_is_held_not_resubmitted(
    report: type[PromptReport], reason: str, begun: tuple[Message, ...]
) -> None:
    ledger = given(submit(), begun)
    then = ledger.when(report(1))  # type: ignore[call-arg, arg-type]
    assert then.events == (PromptRemoved("b1", 1, 1, by="foreign"), BatchHeld("b1", reason))
    assert ledger.prompt().failures == 0
    assert ledger.when(intended(1, 2)).answer == Wanted(go=False)
    ledger.given(release())
    assert ledger.when(intended(1, 2)).answer == Wanted(go=True, attempt=2)


def test_a_second_prompt_taken_out_holds_no_second_time() -> None:
    ledger = given(submit(), rendering(1), rendering(2), interrupted(1))
    assert ledger.when(gone(2)).kinds == ["PromptRemoved"]
    assert ledger.batch().held == "interrupted"


def test_a_batch_whose_first_prompts_all_fail_alike_is_held() -> None:
    ledger = given(submit(quantity=60), failing(1, times=1), failing(2, times=1), rendering(3))
    then = ledger.when(failed(3))
    assert then.kinds == ["PromptFailed", "BatchHeld"]
    assert ledger.batch().held == "failing"
    assert ledger.when(intended(4)).answer == Wanted(go=False)


def test_a_batch_whose_first_prompts_fail_differently_is_not_held() -> None:
    ledger = given(submit(quantity=60), failing(1, times=1), rendering(2), failed(2, code="broken"))
    ledger.given(failing(3, times=1), failing(4, times=1))
    assert not ledger.batch().held


def test_a_batch_that_had_a_success_is_not_held_for_failures() -> None:
    ledger = given(submit(quantity=60), one_kept(1), *(failing(prompt, times=1) for prompt in range(2, 8)))
    assert not ledger.batch().held


def test_a_batch_held_for_failures_is_held_again_if_it_goes_on_failing() -> None:
    ledger = given(submit(quantity=60), *(failing(prompt, times=1) for prompt in (1, 2, 3)), release())
    ledger.given(failing(4, times=1), failing(5, times=1))
    assert not ledger.batch().held
    ledger.given(failing(6, times=1))
    assert ledger.batch().held == "failing"


def test_retry_begins_to_count_first_failures_anew() -> None:
    ledger = given(submit(quantity=60), *(failing(prompt, times=1) for prompt in (1, 2, 3)), retry())
    ledger.given(failing(4, times=1), failing(5, times=1))
    assert not ledger.batch().held


def test_a_small_batch_fails_without_being_held() -> None:
    ledger = given(submit(quantity=2), failing(1), failing(2))
    assert ledger.states() == ["failed", "failed"]
    assert ledger.batch().status == "settled"


def test_a_held_batch_can_be_cancelled_and_taken_up_again() -> None:
    ledger = given(submit(), hold(), cancel())
    assert ledger.batch().status == "cancelled"
    ledger = given(submit(), one_stored(1), failing(2), hold(), retry())
    assert ledger.batch().status == "open"


def test_a_prompt_that_comfyui_would_refuse_holds_its_batch_and_uses_up_no_attempt() -> None:
    ledger = given(submit(quantity=4, per_prompt=2))
    then = ledger.when(unfit(2))
    assert then.events == (BatchHeld("b1", "unfit", images=(3, 4), words=unfit().words.digest),)
    assert (ledger.batch().held, ledger.batch().held_words) == ("unfit", unfit().words.digest)
    assert ledger.states() == ["pending"] * 4
    assert ledger.when(unfit(1)).events == ()
    assert ledger.when(intended(1)).answer == Wanted(go=False)


@pytest.mark.parametrize("again", [release(), retry()], ids=["release", "retry"])
def test_a_batch_that_is_continued_may_be_held_again(again: Message) -> None:
    ledger = given(submit(), unfit(), again)
    assert (ledger.batch().held, ledger.batch().held_words) == ("", None)
    ledger.given(unfit())
    assert ledger.batch().held == "unfit"
    ledger.given(cancel())
    assert (ledger.batch().settled, ledger.batch().held_words) == (True, None)


@pytest.mark.parametrize("begun", [(intended(1),), rendering(1), rendered(1)], ids=["submitting", "accepted", "ended"])
@pytest.mark.parametrize("attempt", [0, 1, 2])
def test_a_prompt_that_was_sent_is_held_by_no_check(begun: tuple[Message, ...], attempt: int) -> None:
    ledger = given(submit(), begun)
    assert ledger.when(unfit(1, attempt)).events == ()


def test_only_the_attempt_that_comes_next_is_held() -> None:
    ledger = given(submit())
    assert ledger.when(unfit(1, 2)).events == ()
    assert ledger.when(unfit(9, 1)).events == ()
