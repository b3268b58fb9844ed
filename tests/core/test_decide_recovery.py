"""Laws of recovery: what is owed again keeps its number, what is lost is rendered again, a new number is a next one."""

from __future__ import annotations

import msgspec
import pytest

from comfyledger.core.commands import OweStore
from comfyledger.core.decide.decide import Message
from comfyledger.core.results import Changed
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from support.core_builders import (
    cancel,
    dropping,
    failing,
    given,
    intended,
    kept,
    lost,
    one_kept,
    one_stored,
    owing,
    raising,
    rendered,
    renumbering,
    retry,
    submit,
    unwanted,
    uploaded,
    uploading,
)
from support.plain_engine import PlainEngine

ONE = submit(quantity=1)
TWO = submit(quantity=1, into=("folder", "cloud"))


def test_what_a_store_has_lost_is_owed_to_it_again_as_a_further_attempt() -> None:
    ledger = given(ONE, one_stored())
    then = ledger.when(owing(1))
    assert (then.answer, then.kinds) == (Changed(1), ["StoreOwed"])
    assert (ledger.image().state, ledger.batch().settled, ledger.batch().kept) == ("kept", False, 1)
    assert ledger.when(uploading()).answer.attempt == 2
    assert ledger.when(uploaded()).kinds == ["ImageUploaded", "BatchSettled"]
    assert (ledger.image().state, ledger.image().number) == ("stored", 1)


@pytest.mark.parametrize("before", [[unwanted(1, "cloud")], [dropping("cloud")]])
def test_what_a_store_would_not_take_or_was_given_up_is_owed_to_it_again(before: list[Message]) -> None:
    ledger = given(TWO, one_kept(), uploaded(), before, owing(1, store="cloud"))
    assert ledger.image().state == "kept"
    assert ledger.when(uploading(1, "folder")).answer.go is False
    ledger.given(uploading(1, "cloud"), uploaded(1, "cloud"))
    assert (ledger.image().state, ledger.image().code) == ("stored", "")


def test_a_store_added_later_gets_images_stored_elsewhere_and_new_ones() -> None:
    ledger = given(submit(quantity=2), one_stored(1))
    assert ledger.when(owing(1, 2, store="cloud")).answer == Changed(2)
    assert [ref.name for ref in ledger.batch().stores] == ["folder", "cloud"]
    assert ledger.states() == ["kept", "pending"]
    ledger.given(uploading(1, "cloud"), uploaded(1, "cloud"), one_kept(2), uploaded(2))
    assert ledger.states() == ["stored", "kept"]


def test_a_batch_without_stores_can_be_given_one() -> None:
    ledger = given(submit(quantity=1, into=()), one_kept(), owing(1))
    ledger.given(uploading(), uploaded())
    assert ledger.image().state == "stored"


def test_what_is_owed_already_failed_or_was_given_up_is_left_alone() -> None:
    ledger = given(submit(quantity=4), one_kept(1), failing(2), cancel(3))
    assert ledger.when(owing(1, 2, 3, 9)).events == ()
    assert ledger.states() == ["kept", "failed", "cancelled", "pending"]


def test_an_image_in_a_state_that_is_unknown_here_is_never_resurrected() -> None:
    ledger = given(ONE, one_stored())
    row = msgspec.structs.replace(ledger.image(), state="forgotten")  # type: ignore[arg-type]
    ledger.rows["image", "b1", 1] = row
    assert ledger.when(owing(1)).events == ledger.when(lost()).events == ledger.when(renumbering(1)).events == ()


def test_a_store_name_that_means_another_place_does_not_inherit_uploads() -> None:
    ledger = given(ONE, one_stored())
    with pytest.raises(Refused, match="folder:/elsewhere"):
        ledger.when(OweStore("app", "b1", (1,), StoreRef("folder", "folder:/elsewhere")))
    with pytest.raises(Refused, match="no batch"):
        ledger.when(owing(1, batch="nowhere"))


def test_a_lost_image_renders_again_with_its_number_and_goes_to_all_stores() -> None:
    ledger = given(TWO, one_kept(), uploading(), uploaded(), unwanted(1, "cloud"), owing(1))
    then = ledger.when(lost())
    assert then.kinds == ["ImageLost"]
    assert (ledger.image().state, ledger.image().sha256, ledger.prompt().state) == ("pending", "", "queued")
    assert ledger.when(intended(1, 2)).answer.go
    ledger.given(rendered(1, 2), one_kept(1, attempt=2))
    assert (ledger.image().attempt, ledger.image().number) == (2, 1)
    ledger.given(uploading(), uploaded(), uploading(1, "cloud"), uploaded(1, "cloud"))
    assert (ledger.image().state, ledger.batch().settled) == ("stored", True)
    assert [upload.attempts for upload in ledger.image().uploads] == [2, 1]


def test_what_is_lost_goes_to_no_store_that_was_given_up() -> None:
    ledger = given(TWO, one_kept(), dropping("cloud"), lost(), one_kept(1, attempt=2))
    assert ledger.when(uploading(1, "cloud")).answer.go is False


@pytest.mark.parametrize(
    ("before", "late"),
    [
        ([], lost()),
        ([one_kept()], lost(attempt=2)),
        ([one_kept()], lost(store="elsewhere")),
        ([one_kept()], lost(batch="nowhere")),
        ([one_kept(), uploaded()], lost()),
        ([one_kept(), lost()], lost()),
        ([one_kept(), lost(), one_kept(attempt=2)], lost()),
        ([cancel(1)], lost()),
    ],
)
def test_a_loss_that_is_told_late_or_twice_changes_nothing(before: list[Message], late: Message) -> None:
    assert given(submit(quantity=2), *before).when(late).events == ()


def test_a_lost_image_joins_a_run_of_its_prompt_that_is_under_way() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendered(1, files=2))
    ledger.given(kept(1))
    assert ledger.when(lost()).kinds == ["ImageLost"]
    assert ledger.prompt().state == "finished"


def test_memory_reloads_a_settled_batch_that_owes_work_and_drops_it_after() -> None:
    engine = PlainEngine()
    engine.post([ONE])
    engine.work()
    assert engine.owed.open_counts()["batches"] == 0
    engine.post([owing(1)])
    engine.work()
    assert engine.ledger.image().state == "stored"
    engine.post([owing(1), lost()])
    engine.work()
    assert (engine.ledger.image().attempt, engine.owed.open_counts()["batches"]) == (2, 0)


def test_a_collision_gets_its_series_next_number_and_stored_copies_stay() -> None:
    ledger = given(TWO, one_kept(), uploading(), uploaded(), unwanted(1, "cloud"), submit("b2", 2))
    then = ledger.when(renumbering(1))
    (event,) = then.events
    assert (event.number, event.before.rpartition("_")[2], event.file) == (4, "1", "Areg_opal-fever_image_4")  # type: ignore[attr-defined]
    image = ledger.image()
    assert (image.state, image.number, image.public_id) == ("kept", 4, event.before[:-1] + "4")  # type: ignore[attr-defined]
    assert (image.upload("folder").name, image.upload("cloud").name) == (event.before, "")  # type: ignore[union-attr, attr-defined]
    assert ledger.when(submit("b3", 1)).answer.images[0].number == 5
    ledger.given(uploading(1, "cloud"), uploaded(1, "cloud"))
    assert ledger.image().state == "stored"


def test_a_store_that_is_owed_the_image_again_gets_it_under_the_new_name() -> None:
    ledger = given(TWO, one_kept(), uploaded(), unwanted(1, "cloud"), renumbering(1), owing(1))
    assert ledger.image().upload("folder").name == ""  # type: ignore[union-attr]


def test_new_numbers_are_for_collisions_only_and_not_during_another_upload() -> None:
    ledger = given(TWO, one_kept())
    assert ledger.when(renumbering(1)).events == ()
    ledger.given(unwanted(1, "cloud"), uploading())
    assert ledger.when(renumbering(1)).events == ()
    ledger.given(uploaded())
    assert ledger.when(renumbering(1)).answer == Changed(1)
    assert ledger.when(renumbering(1)).events == ()
    with pytest.raises(Refused, match="naming templates no longer give"):
        ledger.when(renumbering(1, user="Mara"))


def test_several_collisions_get_consecutive_numbers_or_none_is_left() -> None:
    ledger = given(submit(quantity=2), *(one_kept(index) for index in (1, 2)), unwanted(1), unwanted(2))
    ledger.given(raising(("Areg", 10**15 - 2)))
    with pytest.raises(Refused, match="Too few numbers are left"):
        ledger.when(renumbering(1, 2))
    assert ledger.numbers() == [1, 2]
    assert ledger.when(renumbering(2)).answer == Changed(1)


def test_two_of_one_batch_in_their_order() -> None:
    ledger = given(submit(quantity=3), *(one_kept(index) for index in (1, 2)), unwanted(1), unwanted(2))
    assert ledger.when(renumbering(2, 1, 2)).answer == Changed(2)
    assert ledger.numbers() == [5, 4, 3]


def test_a_renumbered_image_is_taken_up_like_any_other() -> None:
    ledger = given(ONE, one_kept(), unwanted(), renumbering(1), unwanted(), retry(), uploading(), uploaded())
    assert (ledger.image().state, ledger.image().number) == ("stored", 2)
