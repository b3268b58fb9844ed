"""Laws of forgetting: numbers stay used, nothing is taken up again, and no text goes that somebody still needs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.events import BlobErased
from comfyledger.core.reports import DeletionRefused, PromptDoesNotFit, PromptWasRefused
from comfyledger.core.scheduling.effects import DeleteImage, UploadImage
from comfyledger.core.values import Blob, blob_of
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    cancel,
    deleted,
    dropping,
    failing,
    finished,
    foreign,
    forget,
    given,
    gone,
    intended,
    kept,
    one_kept,
    one_stored,
    owing,
    rendered,
    rendering,
    renumbering,
    retry,
    stuck,
    submit,
    unwanted,
    uploaded,
    uploading,
)
from support.plain_engine import PlainEngine
from support.row_checks import check_batch, check_fold, check_numbers


def typed(name: str) -> Blob:
    return blob_of(name.encode(), b"salt")


def asked(batch: str = "b1", quantity: int = 3, *, per_prompt: int = 1, alike: bool = False) -> SubmitBatch:
    """A batch with texts: inputs for each prompt (the same for all if `alike`), and metadata."""
    plain = submit(batch, quantity, per_prompt=per_prompt)
    inputs = [typed("inputs" if alike else f"inputs {one.index} of {batch}").digest for one in plain.prompts]
    prompts = tuple(replace(one, inputs=digest) for one, digest in zip(plain.prompts, inputs, strict=True))
    return replace(plain, prompts=prompts, metadata=typed(f"metadata of {batch}").digest)


def erased(ledger: PlainLedger) -> set[str]:
    events = [entry.event for entry in ledger.log]
    return {digest for event in events if isinstance(event, BlobErased) for digest in event.digests}


def states(ledger: PlainLedger, index: int = 1) -> tuple[str, ...]:
    return tuple(upload.state for upload in ledger.image(index).uploads)


def check(ledger: PlainLedger) -> None:
    check_numbers(ledger)
    check_batch(ledger, ledger.batch())
    check_fold(ledger)


# ---- images


def test_an_image_in_any_state_is_forgotten_and_its_number_stays_used() -> None:
    ledger = given(submit(quantity=6), one_stored(1), one_kept(2), (*one_kept(3), unwanted(3)), failing(4), cancel(5))
    before = ledger.numbers()
    then = ledger.when(forget())
    assert then.kinds == ["ImageForgotten", "BlobErased", "BatchSettled"]
    assert (then.answer.images, then.answer.left) == (6, {"folder": 1})
    assert set(ledger.states()) == {"forgotten"}
    assert ledger.numbers() == before
    assert (ledger.batch().forgotten, ledger.batch().settled) == (6, True)
    assert ledger.when(submit("b2")).answer.images[0].number == max(before) + 1
    check(ledger)


def test_only_the_images_that_are_named_are_forgotten() -> None:
    ledger = given(submit(), one_stored(1), one_stored(2))
    assert ledger.when(forget(2)).answer.images == 1
    assert ledger.states() == ["stored", "forgotten", "pending"]
    check(ledger)


def test_what_is_forgotten_already_is_passed_over() -> None:
    ledger = given(submit(), one_stored(1), forget())
    assert ledger.when(forget()).events == ()
    assert ledger.when(forget(1)).answer.images == 0


@pytest.mark.parametrize(("message", "code"), [(forget(batch="b9"), "unknown_batch"), (forget(4), "unknown_image")])
def test_what_does_not_exist_cannot_be_forgotten(message: object, code: str) -> None:
    with pytest.raises(Refused) as caught:
        given(submit()).when(message)  # type: ignore[arg-type]
    assert caught.value.code == code


@pytest.mark.parametrize(("before", "after"), [((), "done"), (rendering(1), "cancelling"), (rendered(1), "done")])
def test_a_prompt_without_any_wanted_image_is_removed_from_comfyui(before: object, after: str) -> None:
    ledger = given(submit(quantity=1), before, forget())  # type: ignore[arg-type]
    assert ledger.prompt().state == after
    check(ledger)


def test_a_prompt_with_other_waiting_images_goes_on_for_those_only() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendering(1), forget(1))
    assert ledger.prompt().state == "accepted"
    ledger.given(finished(1, files=2))
    assert ledger.when(kept(1, 2)).answer.images == (2,)
    assert ledger.states() == ["forgotten", "kept"]
    check(ledger)


@pytest.mark.parametrize("stores", [False, True])
def test_nothing_takes_up_again_what_was_forgotten(stores: bool) -> None:
    ledger = given(submit(quantity=3), one_stored(1), (*one_kept(2), unwanted(2)), failing(3), forget(stores=stores))
    with pytest.raises(Refused, match="Nothing in this batch"):
        ledger.when(retry())
    with pytest.raises(Refused, match="Nothing in this batch"):
        ledger.when(retry(2))
    assert ledger.when(cancel()).answer.images == 0
    for late in (uploading(1), uploaded(2), unwanted(1), kept(3, prompt=3, attempt=3), uploading(2)):
        assert ledger.when(late).events == ()
    assert set(ledger.states()) <= {"forgotten", "forgetting"}
    check(ledger)


# ---- texts


def test_with_a_whole_batch_all_of_its_texts_go() -> None:
    ledger = given(asked(), failing(1))
    assert ledger.when(forget()).answer.texts == len(erased(ledger)) == 6
    assert erased(ledger) >= {typed("metadata of b1").digest, ledger.batch().template}
    assert ledger.texts() == []
    check(ledger)


def test_inputs_stay_while_an_image_of_theirs_is_remembered() -> None:
    ledger = given(asked(quantity=4, per_prompt=2), forget(1))
    assert erased(ledger) == set()
    ledger.given(forget(2))
    assert erased(ledger) == {typed("inputs 1 of b1").digest}


def test_shared_inputs_stay_while_one_of_their_prompts_is_remembered() -> None:
    ledger = given(asked(alike=True), forget(1, 2))
    assert erased(ledger) == set()
    ledger.given(forget(3))
    assert typed("inputs").digest in erased(ledger)


def test_a_graph_that_another_batch_uses_stays() -> None:
    ledger = given(asked("b1"), asked("b2"), forget(batch="b1"))
    template = ledger.batch("b2").template
    assert template not in erased(ledger)
    ledger.given(forget(batch="b2"))
    assert template in erased(ledger)


def test_words_about_several_images_stay_while_one_of_them_is_remembered() -> None:
    ledger = given(submit(quantity=2), intended(1), PromptWasRefused("b1", 1, 1, "c", typed("no node")))
    assert ledger.states() == ["failed", "failed"]
    ledger.given(forget(1))
    assert typed("no node").digest not in erased(ledger)
    ledger.given(forget(2))
    assert typed("no node").digest in erased(ledger)


def test_words_about_a_check_are_erased_with_the_images_that_it_was_about() -> None:
    ledger = given(submit(quantity=2), PromptDoesNotFit("b1", 2, 1, typed("no such model")))
    ledger.given(forget(1))
    assert typed("no such model").digest not in erased(ledger)
    ledger.given(forget(2))
    assert typed("no such model").digest in erased(ledger)


def test_words_that_come_after_are_not_kept() -> None:
    ledger = given(submit(quantity=1), rendering(1), forget())
    then = ledger.when(PromptWasRefused("b1", 1, 1, "c", typed("no node")))
    assert [event.words for event in then.events] == [None]  # type: ignore[attr-defined]
    assert ledger.prompt().state == "done"


# ---- stores


def test_without_stores_what_they_have_stays_and_is_said() -> None:
    ledger = given(submit(quantity=2, into=("folder", "cloud")), one_stored(1), uploaded(1, "cloud"))
    assert ledger.when(forget()).answer.left == {"folder": 1, "cloud": 1}
    assert states(ledger) == ("stored", "stored")
    assert states(ledger, 2) == ("dropped", "dropped")


def test_deletion_is_owed_only_for_copies_that_may_be_in_a_store() -> None:
    ledger = given(submit(quantity=2, into=("folder", "cloud")), one_kept(1), uploading(1))
    then = ledger.when(forget(stores=True))
    assert (then.answer.deletions, then.answer.left) == (1, {})
    assert states(ledger) == ("deleting", "dropped")
    assert ledger.states() == ["forgetting", "forgotten"]
    assert ledger.when(deleted(1)).kinds == ["ImageDeleted"]
    assert states(ledger) == ("deleted", "dropped")
    assert ledger.states() == ["forgotten", "forgotten"]
    check(ledger)


def test_stores_may_be_asked_later_as_well() -> None:
    ledger = given(submit(quantity=1), one_stored(1), forget())
    assert ledger.when(forget(stores=True)).answer.deletions == 1
    assert ledger.states() == ["forgetting"]
    assert ledger.when(forget(stores=True)).events == ()


def test_what_is_foreign_is_left_and_said() -> None:
    ledger = given(submit(quantity=1), one_kept(1), uploading(1), unwanted(1), forget(stores=True))
    assert ledger.when(foreign(1)).kinds == ["ImageLeft"]
    assert (states(ledger), ledger.states()) == (("foreign",), ["forgotten"])


def test_a_store_whose_name_meant_another_place_may_be_asked_again() -> None:
    ledger = given(submit(quantity=1), one_stored(1), forget(stores=True))
    ledger.given(DeletionRefused("b1", 1, "folder", code="identity_changed"))
    assert (states(ledger), ledger.states()) == (("foreign",), ["forgotten"])
    assert ledger.when(forget()).events == ()
    assert ledger.when(forget(stores=True)).answer.deletions == 1
    ledger.given(foreign(1))
    assert ledger.when(forget(stores=True)).events == ()


def test_what_was_stored_under_an_earlier_name_is_deleted_under_it() -> None:
    ledger = given(submit(quantity=1, into=("folder", "cloud")), one_stored(1), uploading(1, "cloud"))
    before = ledger.image().public_id
    ledger.given(unwanted(1, "cloud"), renumbering(1), forget(stores=True))
    assert ledger.image().public_id != before
    (event,) = ledger.when(deleted(1)).events
    assert event.name == before  # type: ignore[attr-defined]


def test_recovery_does_not_take_up_what_was_forgotten() -> None:
    ledger = given(submit(quantity=2), one_stored(1), (*one_kept(2), unwanted(2)), forget())
    for message in (owing(1, 2), renumbering(1, 2)):
        assert ledger.when(message).events == ()
    assert ledger.states() == ["forgotten", "forgotten"]


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    ledger = given(submit(quantity=1), one_stored(1))
    assert ledger.when(deleted(1)).events == ()
    ledger.given(forget(stores=True), deleted(1))
    for late in (deleted(1), foreign(1), deleted(9), deleted(1, "nowhere")):
        assert ledger.when(late).events == ()


def test_an_upload_that_ends_during_the_forgetting_is_known_to_be_stored() -> None:
    ledger = given(submit(quantity=1), one_kept(1), uploading(1), forget())
    assert ledger.when(uploaded(1)).kinds == ["ImageUploaded"]
    assert (states(ledger), ledger.states()) == (("stored",), ["forgotten"])
    check(ledger)


def test_a_store_that_is_given_up_is_owed_no_deletion_any_more() -> None:
    ledger = given(submit(quantity=1), one_stored(1), forget(stores=True), dropping())
    assert (states(ledger), ledger.states()) == (("dropped",), ["forgotten"])
    check(ledger)


# ---- what is owed


def test_a_deletion_waits_until_the_upload_under_way_has_ended() -> None:
    engine = PlainEngine().given(submit(quantity=1), one_kept(1))
    (upload,) = engine.take()
    engine.given(uploading(1), forget(stores=True))
    assert isinstance(upload, UploadImage)
    assert engine.take() == []
    engine.given(uploaded(1)).done(upload)
    (deletion,) = engine.wait(60_000).take()
    assert isinstance(deletion, DeleteImage)


def test_a_store_in_trouble_is_asked_one_at_a_time_and_after_a_crash_again() -> None:
    engine = PlainEngine().given(submit(quantity=3), one_stored(1), one_stored(2), one_stored(3), forget(stores=True))
    engine.given(stuck("store/folder"))
    engine.restart()
    assert len(engine.wait(60_000).take()) == 1
    engine.restart()
    engine.work()
    assert engine.ledger.states() == ["forgotten"] * 3


def test_a_prompt_that_is_gone_leaves_a_forgotten_image_forgotten() -> None:
    ledger = given(submit(quantity=1), rendering(1), forget(), gone(1))
    assert (ledger.states(), ledger.prompt().state) == (["forgotten"], "done")
    check(ledger)
