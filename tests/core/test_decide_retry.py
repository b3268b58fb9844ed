"""Laws of taking up again: exactly what failed or was parked, under the same numbers, and never twice at once."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.events import BatchReopened
from comfyledger.core.results import Changed, Taken, Wanted
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
    refused,
    rendered,
    rendering,
    retry,
    submit,
    unwanted,
    uploaded,
    uploading,
)

PAIR = submit(quantity=2, per_prompt=2)


def test_retry_takes_exactly_failed_and_parked_images_with_their_numbers() -> None:
    ledger = given(submit(quantity=6), one_stored(1), one_kept(2), unwanted(2), failing(3), one_kept(4), cancel(5))
    numbers = ledger.numbers()
    then = ledger.when(retry())
    assert then.events == (BatchReopened("b1", "app", render=(3,), images=(3,), upload=(2,)),)
    assert then.answer == Changed(2, {"stored": 1, "kept": 1, "cancelled": 1, "pending": 1})
    assert ledger.states() == ["stored", "kept", "pending", "kept", "cancelled", "pending"]
    assert ledger.numbers() == numbers


def test_retry_of_named_images_leaves_the_others() -> None:
    ledger = given(submit(), failing(1), failing(2), retry(2))
    assert ledger.states() == ["failed", "pending", "pending"]


@pytest.mark.parametrize("before", [(), one_kept(1), one_stored(1), (cancel(),), rendering(1)])
def test_retry_of_nothing_is_refused(before: tuple[Message, ...]) -> None:
    ledger = given(submit(), before)
    with pytest.raises(Refused) as refusal:
        ledger.when(retry())
    assert refusal.value.code == "nothing_to_do"


def test_a_settled_batch_that_is_taken_up_again_is_settled_once_more() -> None:
    ledger = given(submit(quantity=1), failing(1), retry())
    assert not ledger.batch().settled
    ledger.given(one_stored(1, attempt=4))
    assert ledger.batch().settled
    assert [type(entry.event).__name__ for entry in ledger.log].count("BatchSettled") == 2


def test_retry_renews_the_budget_and_not_the_attempt() -> None:
    ledger = given(submit(quantity=1), failing(1), retry(), failing(1, times=2, first=4))
    assert ledger.states() == ["pending"]
    ledger.given(failing(1, times=1, first=6))
    assert ledger.states() == ["failed"]


def test_retry_of_a_refused_graph_offers_it_again() -> None:
    ledger = given(submit(), intended(1), refused(1), retry())
    assert ledger.states() == ["pending"] * 3
    assert ledger.when(intended(1, 2)).answer == Wanted(go=True, attempt=2)


def test_a_prompt_with_one_stored_image_renders_again_for_the_other_only() -> None:
    ledger = given(PAIR, failing(1), retry(1), rendered(1, 4, files=2))
    assert ledger.when(kept(1, 2, attempt=4)).answer == Taken((1,))
    ledger.given(uploaded(1), retry(2), rendered(1, 5, files=2))
    assert ledger.when(kept(1, 2, attempt=5)).answer == Taken((2,))
    ledger.given(uploaded(2))
    assert ledger.states() == ["stored", "stored"]
    assert ledger.image(1).sha256 == "sha256 of 1-a4"


UNDER_WAY = [(), (intended(1, 4),), rendering(1, 4), rendered(1, 4, files=2)]


@pytest.mark.parametrize("under_way", UNDER_WAY, ids=["queued", "submitting", "accepted", "finished"])
def test_retry_joins_the_attempt_that_is_under_way_for_other_images(under_way: tuple[Message, ...]) -> None:
    ledger = given(PAIR, failing(1), retry(1), under_way)
    state, attempt = ledger.prompt().state, ledger.prompt().attempt
    ledger.given(retry(2))
    assert (ledger.prompt().state, ledger.prompt().attempt) == (state, attempt)
    ledger.given(rendered(1, 4, files=2))
    assert ledger.when(kept(1, 2, attempt=4)).answer == Taken((1, 2))


def test_a_file_fetched_before_the_retry_does_not_end_the_prompt() -> None:
    ledger = given(PAIR, failing(1), retry(1), rendered(1, 4, files=2), retry(2), kept(1, attempt=4))
    assert ledger.prompt().state == "finished"
    assert ledger.when(kept(2, attempt=4)).answer == Taken((2,))


CANCELLING = (failing(1), retry(1), rendering(1, 4), cancel(1), retry(2))


@pytest.mark.parametrize(
    "end", [gone(1, 4), gone(1, 4, restarted=True), interrupted(1, 4), failed(1, 4), finished(1, 4, files=1)]
)
def test_a_prompt_retried_during_its_removal_renders_again_and_is_not_held(end: Message) -> None:
    ledger = given(PAIR, *CANCELLING)
    assert ledger.prompt().state == "cancelling"
    ledger.given(end)
    assert not ledger.batch().held
    assert ledger.when(intended(1, 5)).answer == Wanted(go=True, attempt=5)


def test_a_retried_prompt_that_finishes_before_its_removal_gives_its_files() -> None:
    ledger = given(PAIR, *CANCELLING, finished(1, 4, files=2))
    assert ledger.when(kept(1, 2, attempt=4)).answer == Taken((2,))
    assert ledger.states() == ["cancelled", "kept"]


def test_a_prompt_wanted_again_that_is_refused_fails() -> None:
    ledger = given(PAIR, failing(1), retry(1), intended(1, 4), cancel(1), retry(2), refused(1, 4))
    assert ledger.states() == ["cancelled", "failed"]
    assert ledger.batch().settled


def test_retry_resumes_a_held_batch_even_if_nothing_failed() -> None:
    ledger = given(submit(), hold())
    assert ledger.when(retry()).answer == Changed(0, {"pending": 3})
    assert ledger.batch().status == "open"


def test_a_cancelled_batch_that_was_retried_ends_settled_not_cancelled() -> None:
    ledger = given(submit(quantity=2), failing(1), cancel(), retry(), one_stored(1, attempt=4))
    assert ledger.states() == ["stored", "cancelled"]
    assert ledger.batch().status == "settled"


def test_an_image_parked_in_one_store_is_taken_up_there_alone() -> None:
    ledger = given(submit(quantity=1, into=("folder", "cloud")), one_kept(1), unwanted(1, "cloud"), retry())
    assert [upload.state for upload in ledger.image().uploads] == ["owed", "owed"]
    ledger.given(uploaded(1, "folder"), uploading(1, "cloud"), unwanted(1, "cloud"), retry())
    assert [upload.state for upload in ledger.image().uploads] == ["stored", "owed"]
    assert ledger.when(uploading(1, "cloud")).answer == Wanted(go=True, attempt=2)
    ledger.given(uploaded(1, "cloud"))
    assert ledger.states() == ["stored"]


def test_cancel_then_retry_takes_up_only_what_failed_before() -> None:
    ledger = given(submit(), failing(1), cancel(), retry())
    assert ledger.states() == ["pending", "cancelled", "cancelled"]
    assert ledger.batch().status == "open"
