"""Laws of giving a store up: what is owed to it is owed no more, and no image is lost sight of by it."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.results import Changed
from comfyledger.errors import Refused
from support.core_builders import (
    cancel,
    dropping,
    failing,
    given,
    one_kept,
    one_stored,
    rendered,
    retry,
    stuck,
    submit,
    unwanted,
    uploaded,
    uploading,
)

TWO = submit(quantity=1, into=("folder", "cloud"))
ONE = submit(quantity=1)


@pytest.mark.parametrize(
    ("outcomes", "state", "code"),
    [
        ([uploaded(1, "folder")], "stored", ""),
        ([uploaded(1, "folder"), uploading(1, "cloud")], "stored", ""),
        ([uploaded(1, "folder"), unwanted(1, "cloud")], "stored", ""),
        ([unwanted(1, "folder")], "parked", "collision"),
        ([], "kept", ""),
    ],
)
def test_an_image_is_what_its_other_stores_say(outcomes: list[Message], state: str, code: str) -> None:
    ledger = given(TWO, one_kept(1), outcomes)
    assert ledger.when(dropping("cloud")).answer == Changed(1)
    assert (ledger.image().state, ledger.image().code) == (state, code)
    assert ledger.image().upload("cloud").state == "dropped"  # type: ignore[union-attr]
    assert ledger.batch().settled == (state != "kept")


def test_an_image_without_any_store_left_is_parked_and_owed_after_a_retry() -> None:
    ledger = given(ONE, one_kept(1), dropping())
    assert (ledger.image().state, ledger.image().code) == ("parked", "store_dropped")
    ledger.given(retry(), uploading(), uploaded())
    assert ledger.image().state == "stored"


def test_what_is_not_rendered_yet_goes_to_the_stores_that_are_left() -> None:
    ledger = given(TWO, dropping("cloud"), one_kept(1))
    assert ledger.image().state == "kept"
    assert ledger.when(uploading(1, "cloud")).answer.go is False
    ledger.given(uploading(), uploaded())
    assert ledger.image().state == "stored"
    assert given(ONE, dropping(), one_kept(1)).image().code == "store_dropped"


def test_a_retried_image_does_not_owe_dropped_uploads() -> None:
    ledger = given(TWO, failing(1), dropping("cloud"), retry(), rendered(1, 4))
    assert ledger.image().upload("cloud").state == "dropped"  # type: ignore[union-attr]


def test_what_the_store_has_and_what_was_cancelled_is_left_alone() -> None:
    ledger = given(submit(quantity=2), one_stored(1), cancel(2))
    then = ledger.when(dropping())
    assert (then.answer, then.events) == (Changed(0), ())


def test_an_answer_that_comes_after_the_store_was_given_up_changes_nothing() -> None:
    ledger = given(TWO, one_kept(1), uploading(1, "cloud"), dropping("cloud"))
    assert ledger.when(uploaded(1, "cloud")).events == ()


def test_the_trouble_of_its_lane_is_over_with_what_it_owed() -> None:
    ledger = given(TWO, one_kept(1), stuck("store/cloud", "unconfigured"), dropping("cloud"))
    assert ledger.lane("store/cloud").code == ""


def test_several_batches_are_given_up_by_one_command_or_none_is() -> None:
    ledger = given(submit("b1", 1), submit("b2", 2))
    with pytest.raises(Refused):
        ledger.when(dropping("folder", "b1", "nowhere"))
    assert ledger.when(dropping("folder", "b1", "b2")).answer == Changed(3)
