"""Laws of cancelling: in each state of a prompt and an image, and what comes after it."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.decide import Message
from comfyledger.core.results import Changed, Taken, Wanted
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    accepted,
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
    release,
    rendered,
    rendering,
    retry,
    submit,
    unwanted,
    uploaded,
    uploading,
)

PAIR = submit(quantity=2, per_prompt=2)


@pytest.mark.parametrize(
    ("before", "prompt", "image"),
    [
        ((), "done", "cancelled"),
        ((intended(1),), "cancelling", "cancelled"),
        (rendering(1), "cancelling", "cancelled"),
        (rendered(1), "done", "cancelled"),
        (one_kept(1), "done", "kept"),
        ((*one_kept(1), uploading(1)), "done", "kept"),
        (one_stored(1), "done", "stored"),
        ((*one_kept(1), unwanted(1)), "done", "parked"),
        (failing(1), "done", "failed"),
        ((hold(),), "done", "cancelled"),
    ],
)
def test_cancel_gives_up_what_is_not_kept_and_nothing_else(
    before: tuple[Message, ...], prompt: str, image: str
) -> None:
    ledger = given(submit(quantity=1), before, cancel())
    assert (ledger.prompt().state, ledger.image().state) == (prompt, image)


def test_a_cancelled_batch_settles_at_once_if_no_upload_is_under_way() -> None:
    ledger = given(submit(), one_stored(1))
    then = ledger.when(cancel())
    assert then.kinds == ["BatchCancelled", "ImageCancelled", "BatchSettled"]
    assert then.answer == Changed(2, {"stored": 1})
    assert ledger.batch().status == "cancelled"


def test_a_cancelled_batch_still_carries_its_kept_images_to_their_stores() -> None:
    ledger = given(submit(), one_kept(1), cancel())
    assert not ledger.batch().settled
    ledger.given(uploaded(1))
    assert ledger.states() == ["stored", "cancelled", "cancelled"]
    assert ledger.batch().settled


def test_a_batch_that_is_cancelled_is_held_no_more() -> None:
    ledger = given(submit(), one_kept(1), hold(), cancel())
    assert (ledger.batch().held, ledger.batch().status) == ("", "open")


def test_cancelling_twice_changes_nothing_more() -> None:
    ledger = given(submit(), one_kept(1), cancel())
    then = ledger.when(cancel())
    assert then.events == ()
    assert then.answer == Changed(0, {"kept": 1, "cancelled": 2})


ENDS: list[Message] = [
    accepted(1),
    refused(1),
    finished(1),
    finished(1, files=0),
    failed(1),
    interrupted(1),
    gone(1),
    gone(1, restarted=True),
]


@pytest.mark.parametrize("begun", [(intended(1),), rendering(1)], ids=["submitting", "accepted"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
def test_cancelled_stays_cancelled_however_its_prompt_ends(begun: tuple[Message, ...], end: Message) -> None:
    ledger = given(submit(quantity=1), begun, cancel(), end, gone(1))
    assert ledger.states() == ["cancelled"]
    assert ledger.prompt().state == "done"
    assert not ledger.batch().held
    assert [type(entry.event).__name__ for entry in ledger.log].count("BatchSettled") == 1


def test_files_that_come_after_the_cancel_are_not_taken() -> None:
    assert given(submit(), rendered(1), cancel()).when(kept(1)).answer == Taken(())


def test_an_intent_after_the_cancel_is_told_not_to_go() -> None:
    assert given(submit(), cancel()).when(intended(1)).answer == Wanted(go=False)


def test_cancelling_one_image_leaves_the_others() -> None:
    ledger = given(submit())
    then = ledger.when(cancel(2))
    assert then.kinds == ["ImageCancelled"]
    assert ledger.states() == ["pending", "cancelled", "pending"]


@pytest.mark.parametrize(
    ("before", "state"),
    [((), "queued"), ((intended(1),), "submitting"), (rendering(1), "accepted"), (rendered(1, files=2), "finished")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_prompt_goes_on_while_one_of_its_images_is_wanted(before: tuple[Message, ...], state: str) -> None:
    ledger = given(PAIR, before, cancel(1))
    assert ledger.prompt().state == state
    _run_to_the_end(ledger)
    assert ledger.when(kept(1, 2)).answer == Taken((2,))
    ledger.given(uploaded(2))
    assert ledger.states() == ["cancelled", "stored"]
    assert ledger.batch().settled


def _run_to_the_end(ledger: PlainLedger) -> None:
    """The rest of the reports on the first attempt of prompt 1; those that came before change nothing."""
    ledger.given(rendered(1, files=2))


def test_the_last_image_cancelled_takes_its_prompt_out_of_comfyui() -> None:
    ledger = given(PAIR, rendering(1), cancel(1), cancel(2))
    assert ledger.prompt().state == "cancelling"
    assert ledger.batch().settled


def test_cancelling_the_rest_of_a_kept_pair_ends_its_prompt() -> None:
    ledger = given(PAIR, rendered(1, files=2), kept(1), cancel(2))
    assert ledger.prompt().state == "done"
    assert ledger.when(kept(2)).answer == Taken(())


def test_a_cancelled_image_stays_cancelled_although_it_was_rendered() -> None:
    ledger = given(PAIR, rendering(1), cancel(1), finished(1, files=2), kept(1, 2))
    assert ledger.states() == ["cancelled", "kept"]


def test_a_settled_batch_is_not_held() -> None:
    ledger = given(submit(), hold(), cancel(1, 2, 3))
    assert ledger.batch().settled
    for command in (hold(), release(), retry()):
        with pytest.raises(Refused) as refusal:
            ledger.when(command)
        assert refusal.value.code == "nothing_to_do"


def test_a_batch_held_after_its_cancel_is_released_by_the_next_cancel() -> None:
    ledger = given(submit(quantity=1), one_kept(1), cancel(), hold(), cancel())
    assert ledger.batch().held == ""
    assert ledger.when(cancel()).events == ()
