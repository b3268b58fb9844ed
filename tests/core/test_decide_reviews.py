"""Laws of reviews: one event a batch, all images or none, a repeat changes nothing, and a verdict is about one file."""

from __future__ import annotations

import pytest

from comfyledger.core.events import ImageReviewed
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    cancel,
    failing,
    forget,
    given,
    lost,
    miscounted,
    one_kept,
    one_stored,
    rendering,
    retry,
    reviewing,
    submit,
    unwanted,
)
from support.row_checks import check_batch, check_fold


def three_stored() -> PlainLedger:
    return given(submit("b1", 3), one_stored(1), one_stored(2), one_stored(3))


def said(ledger: PlainLedger, index: int = 1, batch: str = "b1") -> tuple[str, int]:
    image = ledger.image(index, batch)
    return image.verdict, image.rating


def test_a_review_gives_the_verdict_and_the_rating_and_says_who_did() -> None:
    ledger = three_stored()
    then = ledger.when(reviewing("b1/1", "b1/3", verdict="approved", rating=4))
    assert then.events == (ImageReviewed("b1", (1, 3), "app", "approved", 4),)
    assert then.answer.images == 2
    assert [said(ledger, index) for index in (1, 2, 3)] == [("approved", 4), ("", 0), ("approved", 4)]
    check_batch(ledger, ledger.batch())
    check_fold(ledger)


def test_what_a_review_does_not_name_stays_as_it_was() -> None:
    ledger = three_stored().given(reviewing("b1/1", verdict="rejected"), reviewing("b1/1", rating=2))
    assert said(ledger) == ("rejected", 2)
    assert said(ledger.given(reviewing("b1/1", verdict="none"))) == ("", 2)
    assert said(ledger.given(reviewing("b1/1", rating=0))) == ("", 0)


def test_the_same_values_again_change_nothing() -> None:
    ledger = three_stored().given(reviewing("b1/1", "b1/2", verdict="approved", rating=5))
    assert ledger.when(reviewing("b1/1", "b1/2", verdict="approved", rating=5)).events == ()
    then = ledger.when(reviewing("b1/1", "b1/2", "b1/3", verdict="approved"))
    assert then.events == (ImageReviewed("b1", (3,), "app", "approved"),)


def test_an_image_that_is_named_twice_is_reviewed_once() -> None:
    then = three_stored().when(reviewing("b1/2", "b1/2", rating=1))
    assert then.events == (ImageReviewed("b1", (2,), "app", rating=1),)
    assert then.answer.images == 1


def test_each_batch_of_a_review_gets_one_event() -> None:
    ledger = three_stored().given(submit("b2", 1), one_stored(1, batch="b2"))
    then = ledger.when(reviewing("b1/1", "b1/2", "b2/1", verdict="rejected"))
    assert [(event.batch_id, event.images) for event in then.events] == [("b1", (1, 2)), ("b2", (1,))]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "ends",
    [[one_kept(1)], [one_stored(1)], [one_kept(1), unwanted(1)]],
    ids=["kept", "stored", "parked"],
)
def test_an_image_with_a_file_can_be_reviewed_in_any_state(ends: list[object]) -> None:
    ledger = given(submit("b1", 1), *ends)  # type: ignore[arg-type]
    assert said(ledger.given(reviewing("b1/1", rating=3))) == ("", 3)


@pytest.mark.parametrize(
    "ends",
    [
        [],
        [failing(1)],
        [cancel(1)],
        [rendering(1), miscounted(1, files=3)],
        [one_stored(1), forget(1)],
        [one_stored(1), forget(1, stores=True)],
    ],
    ids=["pending", "failed", "cancelled", "waiting for a choice", "forgotten", "forgetting"],
)
def test_an_image_without_a_file_is_refused_and_with_it_all_others(ends: list[object]) -> None:
    ledger = given(submit("b1", 2), *ends, one_stored(2))  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        ledger.when(reviewing("b1/2", "b1/1", verdict="approved"))
    assert refused.value.code == "no_file"
    assert said(ledger, 2) == ("", 0)


@pytest.mark.parametrize(("image", "code"), [("nowhere/1", "unknown_batch"), ("b1/4", "unknown_image")])
def test_what_does_not_exist_is_refused(image: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        three_stored().when(reviewing("b1/1", image, rating=1))
    assert refused.value.code == code


def test_a_forgotten_image_keeps_its_verdict_and_may_be_given_the_same_again() -> None:
    ledger = three_stored().given(reviewing("b1/1", verdict="rejected"), forget(1))
    assert said(ledger) == ("rejected", 0)
    then = ledger.when(reviewing("b1/1", "b1/2", verdict="rejected"))
    assert then.events == (ImageReviewed("b1", (2,), "app", "rejected"),)
    with pytest.raises(Refused, match="forgotten"):
        ledger.when(reviewing("b1/1", verdict="approved"))


def test_a_review_is_about_the_file_and_goes_with_it() -> None:
    ledger = given(submit("b1", 1), one_kept(1), reviewing("b1/1", verdict="approved", rating=5), lost(1))
    assert said(ledger) == ("", 0)
    check_fold(ledger)


def test_a_review_does_not_stop_an_image_on_its_way() -> None:
    ledger = given(submit("b1", 1), one_kept(1), unwanted(1), reviewing("b1/1", verdict="rejected"), retry())
    assert ledger.image().state == "kept"
    assert said(ledger) == ("rejected", 0)
