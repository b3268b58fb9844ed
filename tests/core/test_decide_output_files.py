"""Laws of runs with several outputs: each gives files to its own images, and none spoils what another one gave."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import FilesTaken, FilesWaiting, ImageAdded, ImageKept, PromptFailed, PromptFinished
from comfyledger.core.reports import PromptWasAccepted
from comfyledger.core.results import Changed, Taken, Wanted
from comfyledger.core.values import Take, blob_of
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    cancel,
    failed,
    folded,
    forget,
    given,
    intended,
    kept,
    laid,
    lost,
    refused,
    rendering,
    retry,
    series_of_output,
    submit,
    taking,
    uploaded,
    wrote,
)
from support.row_checks import check_batch, check_fold, check_numbers


def shot(outputs: int = 2) -> PlainLedger:
    """One prompt that renders one shot: an image for each output."""
    return given(submit(quantity=1, outputs=outputs), rendering(1))


def codes(ledger: PlainLedger) -> list[tuple[str, str]]:
    return [(ledger.image(index).state, ledger.image(index).code) for index in ledger.prompt().images]


def check(ledger: PlainLedger) -> None:
    check_batch(ledger, ledger.batch())
    check_numbers(ledger)
    check_fold(ledger)


def test_the_files_of_each_output_go_to_its_own_images() -> None:
    ledger = given(submit(quantity=2, per_prompt=2, outputs=2), rendering(1))
    assert [ledger.image(index).output for index in ledger.prompt().images] == [1, 2, 1, 2]
    assert ledger.when(wrote(files=(2, 2))).kinds == ["PromptFinished"]
    assert ledger.when(kept(1, 2, 3, 4)).answer == Taken((1, 2, 3, 4))
    assert ledger.prompt().state == "done"
    check(ledger)


def test_of_fewer_files_in_one_output_only_its_missing_images_fail() -> None:
    ledger = given(submit(quantity=2, per_prompt=2, outputs=2), rendering(1))
    assert ledger.when(wrote(files=(2, 1))).kinds == ["PromptFinished", "ImageFailed"]
    assert codes(ledger) == [("pending", ""), ("pending", ""), ("pending", ""), ("failed", "wrong_count")]
    assert ledger.when(kept(1, 2, 3)).kinds == ["ImageKept"] * 3
    check(ledger)


def test_an_output_without_any_file_takes_nothing_from_the_others() -> None:
    ledger = shot()
    assert ledger.when(wrote(files=(0, 1))).answer == Wanted(go=True, attempt=1)
    assert codes(ledger) == [("failed", "wrong_count"), ("pending", "")]


# ---- more files than images in one output


def surplus() -> PlainLedger:
    """Output 2 gave two files for one image; the image of output 1 has its file."""
    return shot().given(wrote(files=(1, 2)), kept(1), laid(2, 3))


def test_of_more_files_in_one_output_only_its_own_wait() -> None:
    ledger = shot().given(wrote(files=(1, 2)))
    assert ledger.when(kept(1)).kinds == ["ImageKept"]
    then = ledger.when(laid(2, 3))
    (waiting,) = then.events
    assert isinstance(waiting, FilesWaiting)
    assert (waiting.images, [file.image for file in waiting.files]) == ((2,), [2, 3])
    assert codes(ledger) == [("kept", ""), ("parked", "wrong_count")]
    assert ledger.prompt().state == "done"
    check(ledger)


@pytest.mark.parametrize(("take", "place"), [("first", 2), ("last", 3)])
def test_a_choice_is_made_among_the_files_of_the_output(take: Take, place: int) -> None:
    ledger = surplus()
    then = ledger.when(taking(take))
    assert then.events == (FilesTaken("b1", 1, (2,), (place,), take, "app"),)
    prompt = ledger.prompt()
    assert [(file.filename, file.output) for file in prompt.files] == [(f"1-a1_{place - 2:05}_.png", 2)]
    assert [file.image for file in prompt.waiting] == [place]
    assert ledger.when(kept(2)).kinds == ["ImageKept"]
    assert (ledger.prompt().state, ledger.prompt().waiting) == ("done", ())
    check(ledger)


def test_all_files_of_an_output_get_numbers_of_its_own_series() -> None:
    ledger = surplus()
    then = ledger.when(taking("all", outputs=2))
    assert then.kinds == ["ImageAdded", "FilesTaken"]
    added = then.events[0]
    assert isinstance(added, ImageAdded)
    assert (added.image, added.number, added.output, added.series) == (3, 2, 2, series_of_output(2).key)
    assert (ledger.image(3).output, ledger.image(3).medium) == (2, "video")
    assert ledger.when(kept(2, 3)).answer == Taken((2, 3))
    check(ledger)


def test_all_is_refused_without_the_series_of_each_output() -> None:
    with pytest.raises(Refused, match="naming templates no longer give"):
        surplus().when(taking("all", outputs=1))


def test_one_choice_holds_for_every_output_that_gave_too_many() -> None:
    ledger = shot(3).given(wrote(files=(2, 1, 3)), kept(2), laid(1, 2, 4, 5, 6))
    assert codes(ledger) == [("parked", "wrong_count"), ("kept", ""), ("parked", "wrong_count")]
    then = ledger.when(taking("last"))
    assert then.events == (FilesTaken("b1", 1, (1, 3), (2, 6), "last", "app"),)
    assert ledger.when(kept(1, 3)).answer == Taken((1, 3))
    check(ledger)


@pytest.mark.parametrize("places", [(2,), (1, 2, 3), (2, 3, 4), (1,)])
def test_files_wait_only_as_the_whole_of_an_output_that_gave_too_many(places: tuple[int, ...]) -> None:
    ledger = shot().given(wrote(files=(1, 2)), kept(1))
    then = ledger.when(laid(*places))
    assert (then.kinds, then.answer) == ([], Taken(()))


def test_while_files_wait_the_prompt_is_not_run_again() -> None:
    ledger = shot().given(wrote(files=(1, 2)))
    then = ledger.when(laid(2, 3, code="file_missing"))
    assert then.kinds == ["FilesWaiting", "ImageFailed", "BatchSettled"]
    assert codes(ledger) == [("failed", "file_missing"), ("parked", "wrong_count")]
    with pytest.raises(Refused) as undecided:
        ledger.when(retry())
    assert undecided.value.code == "take_missing"
    ledger.given(taking("first"), kept(2))
    assert ledger.when(retry()).answer == Changed(1, {"kept": 1})
    assert ledger.when(intended(1, 2)).answer.go
    assert ledger.prompt().outputs == (1,)
    check(ledger)


def test_a_lost_file_waits_for_the_choice_among_others_of_its_run() -> None:
    ledger = surplus()
    assert ledger.when(lost(1)).kinds == []
    ledger.given(taking("first"), kept(2))
    assert ledger.when(lost(1)).kinds == ["ImageLost"]


def test_a_choice_that_was_cancelled_says_nothing_about_the_next_attempt() -> None:
    ledger = shot().given(wrote(files=(1, 2)), laid(2, 3, code="file_missing"), taking("last"), cancel(2))
    assert ledger.prompt().waiting == ()
    ledger.given(retry(1), intended(1, 2), forget(2), wrote(attempt=2, files=(2,)))
    assert ledger.when(laid(1, 2, attempt=2)).kinds == ["FilesWaiting", "BatchSettled"]
    check(ledger)


def test_forgetting_an_output_lets_its_waiting_files_go() -> None:
    ledger = shot(3).given(wrote(files=(2, 1, 2)), kept(2), laid(1, 2, 4, 5), forget(1))
    assert [file.image for file in ledger.prompt().waiting] == [4, 5]
    ledger.given(taking("last"))
    assert [file.image for file in ledger.prompt().waiting] == [5]
    ledger.given(forget(3))
    assert ledger.prompt().waiting == ()
    check(ledger)


# ---- a run that fails after some outputs


def half_failed() -> PlainLedger:
    """The run failed after output 1 had given its file."""
    return shot().given(wrote(files=(1, 0), code="execution_error"))


def test_what_one_output_gave_is_kept_when_another_fails() -> None:
    ledger = shot()
    then = ledger.when(wrote(files=(1, 0), code="execution_error"))
    (event,) = then.events
    assert isinstance(event, PromptFinished)
    assert (event.code, len(event.files)) == ("execution_error", 1)
    assert event.words == blob_of(b"out of memory", b"salt").digest
    assert then.answer == Wanted(go=True, attempt=1)
    assert ledger.when(kept(1)).kinds == ["ImageKept", "PromptFailed"]
    assert codes(ledger) == [("kept", ""), ("pending", "")]
    assert ledger.prompt().state == "queued"
    check(ledger)


def test_the_next_attempt_is_asked_for_the_rest_only() -> None:
    ledger = half_failed().given(kept(1), rendering(1, 2))
    assert ledger.prompt().outputs == (2,)
    assert ledger.when(wrote(attempt=2, files=(0, 1))).kinds == ["PromptFinished"]
    ledger.given(kept(2, attempt=2))
    events = [entry.event for entry in ledger.log if isinstance(entry.event, ImageKept)]
    assert [(event.image, event.attempt) for event in events] == [(1, 1), (2, 2)]
    assert ledger.prompt().state == "done"
    check(ledger)


def test_the_rest_fails_when_no_attempt_is_left() -> None:
    ledger = half_failed().given(kept(1))
    for attempt in (2, 3):
        ledger.given(rendering(1, attempt), failed(1, attempt))
    assert codes(ledger) == [("kept", ""), ("failed", "execution_error")]
    assert ledger.image(2).words
    check(ledger)


def test_the_last_attempt_keeps_what_came_and_fails_the_rest() -> None:
    ledger = given(submit(quantity=1, outputs=2), policy=Policy(render_attempts_max=1))
    ledger.given(rendering(1), wrote(files=(1, 0), code="execution_error"))
    then = ledger.when(kept(1))
    assert then.kinds == ["ImageKept", "PromptFailed", "ImageFailed"]
    assert codes(ledger) == [("kept", ""), ("failed", "execution_error")]


def test_a_failed_run_whose_outputs_gave_all_has_not_failed() -> None:
    ledger = shot()
    (event,) = ledger.when(wrote(files=(1, 1), code="execution_error")).events
    assert isinstance(event, PromptFinished)
    assert (event.code, event.words) == ("", None)
    assert ledger.batch().succeeded == 1


def test_batches_are_held_when_one_output_fails_alike_each_time() -> None:
    ledger = given(submit(quantity=4, outputs=2))
    for prompt in (1, 2, 3):
        ledger.given(rendering(prompt), wrote(prompt, files=(1, 0), code="execution_error"))
        ledger.given(kept(2 * prompt - 1, prompt=prompt))
    assert ledger.batch().held == "failing"


def test_a_failed_run_with_too_many_files_waits_for_the_choice() -> None:
    ledger = shot().given(wrote(files=(2, 0), code="execution_error"))
    assert ledger.when(laid(1, 2)).kinds == ["FilesWaiting", "ImageFailed", "BatchSettled"]
    assert codes(ledger) == [("parked", "wrong_count"), ("failed", "execution_error")]
    ledger.given(taking("first"), kept(1), retry(2))
    assert ledger.when(intended(1, 2)).answer.go
    check(ledger)


def test_cancelling_what_came_leaves_the_rest_to_the_next_attempt() -> None:
    ledger = half_failed().given(cancel(1))
    assert ledger.prompt().state == "finished"
    then = ledger.when(kept())
    (event,) = then.events
    assert isinstance(event, PromptFailed)
    assert (event.code, event.again) == ("execution_error", True)
    check(ledger)


def test_a_file_that_cannot_be_fetched_fails_the_attempt_once() -> None:
    ledger = shot(3).given(wrote(files=(1, 1, 0), code="execution_error"), kept(2))
    assert ledger.prompt().state == "finished"
    assert ledger.when(failed(1, code="file_missing")).kinds == ["PromptFailed"]
    assert ledger.prompt().failures == 1
    ledger.given(intended(1, 2))
    assert ledger.prompt().outputs == (1, 3)


# ---- images retried while the prompt runs for others


@pytest.mark.parametrize("outputs", [1, 2])
def test_an_image_retried_while_its_prompt_is_fetched_is_rendered_next(outputs: int) -> None:
    asked = submit(quantity=2 if outputs == 1 else 1, per_prompt=2, outputs=outputs)
    files = (1,) if outputs == 1 else (1, 0)
    ledger = given(asked, rendering(1), wrote(files=files), retry(2))
    assert ledger.states() == ["pending", "pending"]
    then = ledger.when(kept(1))
    assert then.kinds == ["ImageKept", "PromptFailed"]
    assert isinstance(then.events[1], PromptFailed)
    assert (then.events[1].code, then.events[1].again) == ("not_rendered", True)
    assert ledger.when(intended(1, 2)).answer.go
    check(ledger)


def test_an_image_of_an_output_that_was_not_asked_for_is_rendered_next() -> None:
    ledger = shot().given(wrote(files=(0, 1)), failed(1, code="file_missing"), rendering(1, 2), retry(1))
    assert (ledger.prompt().outputs, ledger.prompt().state) == ((2,), "accepted")
    assert ledger.when(wrote(attempt=2, files=(0, 1))).kinds == ["PromptFinished"]
    assert ledger.when(kept(2, attempt=2)).kinds == ["ImageKept", "PromptFailed"]
    assert ledger.when(intended(1, 3)).answer.go
    assert ledger.prompt().outputs == (1,)


# ---- outputs that ComfyUI refuses


def test_an_output_that_comfyui_will_not_run_fails_its_images_alone() -> None:
    ledger = given(submit(quantity=1, outputs=2), intended(1))
    then = ledger.when(PromptWasAccepted("b1", 1, 1, (2,), "node_errors", blob_of(b"no lora", b"salt")))
    assert then.kinds == ["PromptAccepted", "ImageFailed"]
    assert codes(ledger) == [("pending", ""), ("failed", "node_errors")]
    assert ledger.image(2).words
    ledger.given(wrote(files=(1, 0)), kept(1), uploaded(1))
    assert ledger.states() == ["stored", "failed"]
    check(ledger)


def test_a_refused_output_leaves_other_outputs_of_other_prompts() -> None:
    ledger = given(submit(quantity=2, outputs=2), rendering(1), wrote(files=(1, 0)), kept(1), retry(2))
    ledger.given(intended(1, 2))
    assert ledger.prompt().outputs == (2,)
    ledger.given(refused(1, 2))
    assert ledger.states() == ["kept", "failed", "pending", "failed"]
    ledger.given(intended(2))
    assert ledger.prompt(2).outputs == (1,)
    check(ledger)


def test_cancelling_one_output_before_the_run_asks_for_the_others_only() -> None:
    ledger = given(submit(quantity=1, outputs=3), cancel(2), intended(1))
    assert ledger.prompt().outputs == (1, 3)
    assert folded(ledger.log, narrow=True).keys() >= {("prompt", "b1", 1)}
