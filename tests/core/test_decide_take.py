"""Laws of runs that give more files than images: nothing is thrown away or rendered again before a person chooses."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.events import FilesTaken, ImageAdded, ImageCancelled
from comfyledger.core.results import Accepted, Changed, Taken, Wanted
from comfyledger.core.rows import PromptRow
from comfyledger.core.values import Take
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    cancel,
    dropping,
    failed,
    folded,
    forget,
    given,
    kept,
    laid_by,
    lost,
    miscounted,
    one_stored,
    owing,
    rendering,
    retry,
    submit,
    taking,
    uploaded,
)

CANCELLED = ImageCancelled("b1", (1,), (1,), by="app", choice_over=True)


def waiting(images: int, files: int) -> PlainLedger:
    """A batch of one prompt that gave more files than images, all of them in the spool."""
    asked = submit(quantity=images, per_prompt=images)
    return given(asked, rendering(1), miscounted(1, files=files), laid_by(files))


def test_more_files_than_images_are_wanted_and_wait_for_a_choice() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendering(1))
    then = ledger.when(miscounted(1, files=4))
    assert (then.kinds, then.answer) == (["PromptFinished"], Wanted(go=True, attempt=1))
    then = ledger.when(laid_by(4))
    assert (then.kinds, then.answer) == (["FilesWaiting", "BatchSettled"], Taken((1, 2)))
    assert [(ledger.image(index).state, ledger.image(index).code) for index in (1, 2)] == [
        ("parked", "wrong_count")
    ] * 2
    assert ledger.image(1).words
    assert ledger.prompt().state == "done"
    assert (ledger.batch().parked, ledger.batch().settled) == (2, True)


@pytest.mark.parametrize(("take", "places"), [("first", (1, 2)), ("last", (3, 4))])
def test_the_first_or_the_last_files_go_to_the_images_in_their_order(take: Take, places: tuple[int, ...]) -> None:
    ledger = waiting(images=2, files=4)
    then = ledger.when(taking(take))
    assert then.events == (FilesTaken("b1", 1, (1, 2), places, take, "app"),)
    assert then.answer == Changed(2)
    prompt = ledger.prompt()
    assert prompt.state == "finished"
    assert [file.filename for file in prompt.files] == [f"1-a1_{place - 1:05}_.png" for place in places]
    assert [file.image for file in prompt.waiting] == list(places)
    assert ledger.states() == ["pending", "pending"]
    ledger.given(kept(1, 2), uploaded(1), uploaded(2))
    assert ledger.states() == ["stored", "stored"]
    assert ledger.prompt().waiting == ()
    assert ledger.batch().settled


def test_all_files_are_taken_under_new_numbers() -> None:
    ledger = waiting(images=2, files=4)
    ledger.given(submit("b2", 1))
    then = ledger.when(taking("all"))
    assert then.kinds == ["ImageAdded", "ImageAdded", "FilesTaken"]
    assert [event.number for event in then.events if isinstance(event, ImageAdded)] == [4, 5]
    assert then.answer == Changed(4)
    assert ledger.prompt().images == (1, 2, 3, 4)
    assert ledger.image(3).file.endswith("_4")
    ledger.given(kept(1, 2, 3, 4), *(uploaded(index) for index in (1, 2, 3, 4)))
    assert ledger.states() == ["stored"] * 4
    assert (ledger.batch().images, ledger.batch().asked_for, ledger.batch().stored) == (4, 2, 4)
    assert ledger.when(submit("b3", 1)).answer.images[0].number == 6
    assert folded(ledger.log, narrow=True) == {key: row for key, row in ledger.rows.items() if key[0] != "template"}


def test_a_request_repeated_is_answered_without_the_images_that_were_added() -> None:
    asked = submit(quantity=1)
    ledger = given(asked, rendering(1), miscounted(1, files=3), laid_by(3), taking("all"))
    answer = ledger.when(asked).answer
    assert isinstance(answer, Accepted)
    assert [image.index for image in answer.images] == [1]


def test_a_retry_without_a_choice_renders_nothing_again() -> None:
    ledger = waiting(images=1, files=3)
    with pytest.raises(Refused) as refused:
        ledger.when(retry())
    assert refused.value.code == "take_missing"
    assert "--take" in (refused.value.hint or "")


def test_a_retry_of_other_images_leaves_those_that_wait_for_a_choice() -> None:
    asked = submit(quantity=2)
    ledger = given(asked, rendering(1), miscounted(1, files=3), laid_by(3), rendering(2))
    ledger.given(failed(2, final=True))
    assert ledger.when(retry()).answer == Changed(1, {"parked": 1})
    assert ledger.image(1).state == "parked"


def test_a_choice_touches_nothing_else() -> None:
    asked = submit(quantity=2)
    ledger = given(asked, rendering(1), miscounted(1, files=3), laid_by(3), rendering(2), failed(2, final=True))
    assert ledger.when(taking("first")).answer == Changed(1, {"failed": 1})
    assert ledger.states() == ["pending", "failed"]


@pytest.mark.parametrize("take", ["first", "last", "all"])
def test_where_nothing_waits_there_is_nothing_to_choose(take: Take) -> None:
    ledger = given(submit(quantity=1), one_stored(1))
    with pytest.raises(Refused, match="gave more files"):
        ledger.when(taking(take))


def test_a_choice_is_made_once() -> None:
    ledger = waiting(images=1, files=2)
    ledger.given(taking("last"))
    with pytest.raises(Refused, match="gave more files"):
        ledger.when(taking("first"))
    assert ledger.when(laid_by(2)).kinds == []


def test_files_of_images_that_nobody_wants_any_more_are_not_kept() -> None:
    ledger = given(submit(quantity=1), rendering(1), miscounted(1, files=2), cancel(1))
    assert ledger.when(laid_by(2)).answer == Taken(())


def test_a_chosen_file_that_is_gone_is_rendered_again_without_the_choice() -> None:
    ledger = waiting(images=1, files=2)
    ledger.given(taking("last"), failed(1, code="file_missing"))
    prompt: PromptRow = ledger.prompt()
    assert (prompt.state, prompt.waiting) == ("queued", ())
    ledger.given(rendering(1, 2), miscounted(1, 2, files=2))
    assert ledger.when(laid_by(2, attempt=2)).answer == Taken((1,))


def test_what_waits_for_a_choice_is_no_file_for_another_store() -> None:
    ledger = waiting(images=1, files=2)
    assert ledger.when(owing(1, store="cloud")).kinds == []
    ledger.given(dropping("folder", "b1"))
    assert ledger.image().awaits_choice
    ledger.given(taking("first"), kept(1))
    assert (ledger.image().state, ledger.image().code) == ("parked", "store_dropped")


def test_forgetting_the_last_image_that_waits_lets_the_files_go() -> None:
    ledger = waiting(images=2, files=4)
    ledger.given(forget(1))
    assert len(ledger.prompt().waiting) == 4
    ledger.given(forget(2))
    assert ledger.prompt().waiting == ()


@pytest.mark.parametrize("over", [False, True])
def test_a_cancelled_choice_goes_only_where_its_event_says_so(over: bool) -> None:
    """Events of earlier ledgers do not say so, and their tables still have the row."""
    ledger = waiting(images=1, files=2).given(taking("last"), cancel(1))
    assert ledger.prompt().waiting == ()
    log = [
        replace(entry, event=replace(entry.event, choice_over=over)) if entry.event == CANCELLED else entry
        for entry in ledger.log
    ]
    prompt = folded(log, narrow=True)["prompt", "b1", 1]
    assert isinstance(prompt, PromptRow)
    assert [file.image for file in prompt.waiting] == ([] if over else [2])


def test_a_cancel_of_what_is_rendered_says_nothing_of_a_choice() -> None:
    (cancelled,) = (
        event
        for event in given(submit(quantity=1), rendering(1)).when(cancel(1)).events
        if isinstance(event, ImageCancelled)
    )
    assert not cancelled.choice_over


def test_a_cancelled_choice_of_an_earlier_ledger_keeps_no_image_waiting() -> None:
    """The row of its prompt still names the files; see above."""
    ledger = waiting(images=2, files=3)
    ledger.given(taking("last"))
    chosen = ledger.prompt().waiting
    ledger.given(kept(1), cancel(2))
    prompt = ledger.prompt()
    ledger.rows["prompt", "b1", 1] = replace(prompt, waiting=chosen)
    assert ledger.when(lost(1)).kinds == ["ImageLost"]
    ledger.given(rendering(1, 2))
    assert ledger.prompt().waiting == ()
    ledger.given(miscounted(1, 2, files=3))
    assert ledger.when(laid_by(3, attempt=2)).kinds == ["FilesWaiting", "BatchSettled"]
