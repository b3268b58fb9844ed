"""Laws of rendering: attempts that only rise, sets that are whole or nothing, reports that may be late and wrong."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.decide.decide import Message
from comfyledger.core.events import ImageFailed, PromptLost, PromptSubmitting
from comfyledger.core.results import Taken, Wanted
from comfyledger.core.values import prompt_uuid
from support.core_builders import (
    BACKEND,
    accepted,
    cancel,
    failed,
    failing,
    finished,
    given,
    gone,
    intended,
    interrupted,
    kept,
    miscounted,
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


def test_the_intent_is_written_before_the_call_goes_out() -> None:
    then = given(submit()).when(intended(1))
    assert then.events == (PromptSubmitting("b1", 1, 1, prompt_uuid("b1", 1, 1), BACKEND),)
    assert then.answer == Wanted(go=True, attempt=1)


def test_message_n_sees_the_outcome_of_message_n_minus_one() -> None:
    ledger = given(submit())
    assert [ledger.when(intended(1)).kinds for _ in range(2)] == [["PromptSubmitting"], []]


def test_an_intent_that_a_crash_broke_off_is_the_same_attempt() -> None:
    then = given(submit(), intended(1)).when(intended(1))
    assert then.answer == Wanted(go=True, attempt=1)
    assert then.events == ()


def test_an_attempt_that_began_at_one_backend_begins_at_no_other() -> None:
    then = given(submit(), intended(1)).when(intended(1, backend="big"))
    assert (then.answer, then.events) == (Wanted(go=False), ())


def test_an_attempt_begins_only_where_its_batch_may_go() -> None:
    ledger = given(submit(backend="big"))
    assert ledger.when(intended(1, backend="other")).answer == Wanted(go=False)
    assert ledger.when(intended(1, backend="big")).answer == Wanted(go=True, attempt=1)


@pytest.mark.parametrize("attempt", [-1, 0, 2, 3])
def test_only_the_next_attempt_may_begin(attempt: int) -> None:
    assert given(submit()).when(intended(1, attempt)).answer == Wanted(go=False)


def test_an_image_goes_from_request_to_store() -> None:
    ledger = given(submit(quantity=1))
    seen = [ledger.image().state]
    for message in one_stored(1):
        ledger.when(message)
        seen.append(ledger.image().state)
    assert seen == ["pending", "pending", "pending", "pending", "kept", "kept", "stored"]
    assert ledger.prompt().state == "done"
    assert ledger.batch().settled


def test_a_whole_set_comes_from_one_prompt() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendered(1, files=2))
    then = ledger.when(kept(1, 2))
    assert then.answer == Taken((1, 2))
    assert ledger.states() == ["kept", "kept"]
    assert ledger.prompt().state == "done"


def test_a_part_of_a_set_leaves_the_rest_owed() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendered(1, files=2), kept(2))
    assert ledger.states() == ["pending", "kept"]
    assert ledger.prompt().state == "finished"


def test_a_file_named_twice_in_one_report_is_taken_once() -> None:
    then = given(submit(quantity=2, per_prompt=2), rendered(1, files=2)).when(kept(1, 1))
    assert then.kinds == ["ImageKept"]
    assert then.answer == Taken((1,))


LATE: list[tuple[str, tuple[object, ...], Message]] = [
    ("accepted before the intent", (), accepted(1)),
    ("finished before the intent", (), finished(1)),
    ("failed before the intent", (), failed(1)),
    ("refused before the intent", (), refused(1)),
    ("gone before the intent", (), gone(1)),
    ("interrupted before the intent", (), interrupted(1)),
    ("kept before the end", rendering(1), kept(1)),
    ("accepted twice", rendering(1), accepted(1)),
    ("refused after accepted", rendering(1), refused(1)),
    ("accepted after finished", rendered(1), accepted(1)),
    ("finished twice", rendered(1), finished(1)),
    ("gone after finished", rendered(1), gone(1, restarted=True)),
    ("interrupted after finished", rendered(1), interrupted(1)),
    ("finished after all is kept", one_kept(1), finished(1)),
    ("failed after all is kept", one_kept(1), failed(1)),
    ("kept twice", one_kept(1), kept(1)),
    ("uploaded twice", one_stored(1), uploaded(1)),
    ("parked after stored", one_stored(1), unwanted(1)),
    ("uploaded before it is kept", rendered(1), uploaded(1)),
    ("an earlier attempt finishes", (*failing(1, times=1), *rendering(1, 2)), finished(1, 1)),
    ("an earlier attempt fails", (*failing(1, times=1), *rendering(1, 2)), failed(1, 1)),
    ("an earlier attempt is kept", (*failing(1, times=1), *rendered(1, 2)), kept(1, attempt=1)),
    ("an attempt of the future finishes", rendering(1), finished(1, 2)),
    ("finished after the last failure", failing(1), finished(1, 3)),
    ("finished after it was lost", (*rendering(1), gone(1, restarted=True)), finished(1)),
    ("a prompt of no batch", (), finished(1, batch="nowhere")),
    ("a prompt that its batch has not", rendering(1), finished(9)),
    ("a prompt before the first", rendering(1), failed(0)),
    ("an image that its batch has not", one_kept(1), uploaded(9)),
    ("an image of no batch", (), unwanted(1, batch="nowhere")),
    ("a store that the batch does not name", one_kept(1), uploaded(1, "elsewhere")),
    ("a file of another prompt", (*rendered(1), *rendered(2)), kept(2, prompt=1)),
]


@pytest.mark.parametrize(("before", "late"), [case[1:] for case in LATE], ids=[case[0] for case in LATE])
def test_a_late_doubled_foreign_or_reordered_report_changes_nothing(before: tuple[Message, ...], late: Message) -> None:
    ledger = given(submit(), before)
    rows = dict(ledger.rows)
    assert ledger.when(late).events == ()
    assert ledger.rows == rows


@pytest.mark.parametrize("question", [intended(1, batch="nowhere"), intended(9), uploading(1), uploading(1, "x")])
def test_a_worker_that_asks_about_nothing_is_told_not_to_go(question: Message) -> None:
    assert given(submit()).when(question).answer == Wanted(go=False)


def test_a_worker_with_late_files_is_told_that_none_was_taken() -> None:
    assert given(submit(), one_kept(1)).when(kept(1)).answer == Taken(())


def test_attempt_numbers_rise_for_ever() -> None:
    ledger = given(submit(quantity=1))
    for first in range(1, 10, 3):
        ledger.given(failing(1, first=first), retry())
    assert ledger.prompt().attempt == 9
    assert ledger.when(intended(1, 10)).answer == Wanted(go=True, attempt=10)
    begun = [entry.event for entry in ledger.log if isinstance(entry.event, PromptSubmitting)]
    assert len({event.prompt_id for event in begun}) == 10


def test_a_run_without_files_fails_at_once_and_is_not_repeated() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendering(1))
    then = ledger.when(miscounted(1, files=0))
    assert then.kinds == ["PromptFailed", "ImageFailed", "BatchSettled"]
    assert then.answer == Wanted(go=False)
    images = [ledger.image(1), ledger.image(2)]
    assert [(image.state, image.code) for image in images] == [("failed", "wrong_count")] * 2
    assert all(image.words for image in images)
    assert ledger.prompt().state == "done"


def test_of_fewer_files_what_came_is_kept_and_the_missing_fail() -> None:
    ledger = given(submit(quantity=3, per_prompt=3), rendering(1))
    then = ledger.when(miscounted(1, files=2))
    assert then.kinds == ["PromptFinished", "ImageFailed"]
    assert then.answer == Wanted(go=True, attempt=1)
    assert (ledger.image(3).state, ledger.image(3).code) == ("failed", "wrong_count")
    assert ledger.image(3).words
    assert ledger.when(kept(1, 2)).answer == Taken((1, 2))
    assert ledger.prompt().state == "done"
    ledger.given(uploaded(1), uploaded(2))
    assert ledger.batch().settled


def test_a_retried_missing_file_costs_one_run_and_removes_nothing() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendering(1), miscounted(1, files=1), kept(1), uploaded(1))
    ledger.given(retry(2), rendering(1, 2))
    then = ledger.when(miscounted(1, 2, files=1))
    assert then.kinds == ["PromptFinished", "ImageFailed", "BatchSettled"]
    assert not then.answer.go, "nobody fetches it, so its entry can go"
    assert ledger.states() == ["stored", "failed"]
    assert ledger.prompt().state == "done"


def test_a_finish_that_nobody_waits_for_any_more_wants_no_files() -> None:
    ledger = given(submit(quantity=1), rendering(1), cancel(1))
    for _ in range(2):
        answer = ledger.when(finished(1)).answer
        assert isinstance(answer, Wanted)
        assert not answer.go


def test_a_fault_that_comes_again_with_each_run_is_not_repeated() -> None:
    ledger = given(submit(quantity=1), rendering(1))
    then = ledger.when(failed(1, code="broken", final=True))
    assert then.kinds == ["PromptFailed", "ImageFailed", "BatchSettled"]
    assert not then.events[0].again  # type: ignore[attr-defined]
    assert ledger.image().code == "broken"


def test_a_prompt_that_failed_as_often_as_it_may_fails_its_images() -> None:
    ledger = given(submit(quantity=4, per_prompt=2), failing(1, times=2), rendering(1, 3))
    then = ledger.when(failed(1, 3))
    assert then.kinds == ["PromptFailed", "ImageFailed"]
    event = then.events[1]
    assert isinstance(event, ImageFailed)
    assert (event.images, event.prompts, event.code) == ((1, 2), (1,), "execution_error")
    assert ledger.states() == ["failed", "failed", "pending", "pending"]


def test_a_set_that_cannot_be_fetched_is_rendered_again() -> None:
    ledger = given(submit(), rendered(1), failed(1, code="file_missing"))
    assert ledger.prompt().state == "queued"
    assert ledger.when(intended(1, 2)).answer.go


def test_a_refused_graph_fails_its_batch_at_once_and_no_other_batch() -> None:
    ledger = given(submit("b1"), submit("b2"), intended(1))
    then = ledger.when(refused(1))
    assert then.kinds == ["PromptRefused", "ImageFailed", "BatchSettled"]
    assert ledger.states("b1") == ["failed"] * 3
    assert ledger.states("b2") == ["pending"] * 3
    assert {ledger.image(index).words for index in (1, 2, 3)} == {ledger.prompt(1).words}


def test_a_refused_graph_leaves_alone_what_comfyui_took_or_may_have_taken() -> None:
    ledger = given(submit(quantity=6), one_stored(1), rendering(2), rendered(3), intended(4), intended(5))
    ledger.given(refused(5))
    assert ledger.states() == ["stored", "pending", "pending", "pending", "failed", "failed"]
    ledger.given(finished(2), kept(2, prompt=2), kept(3, prompt=3), refused(4))
    assert ledger.states() == ["stored", "kept", "kept", "failed", "failed", "failed"]


def test_what_one_backend_refuses_goes_to_each_other_once_and_fails_when_none_is_left() -> None:
    ledger = given(submit(quantity=2), intended(1, backend="a"))
    then = ledger.when(refused(1, elsewhere=("b", "c")))
    assert then.kinds == ["PromptRefused"]
    assert then.events[0].again is True  # type: ignore[attr-defined]
    assert (ledger.prompt(1).state, ledger.prompt(1).refused_by) == ("queued", ("a",))
    ledger.given(intended(1, 2, backend="b"), refused(1, 2, elsewhere=("a", "c")))
    assert (ledger.prompt(1).state, ledger.prompt(1).refused_by) == ("queued", ("a", "b"))
    then = ledger.given(intended(1, 3, backend="c")).when(refused(1, 3, elsewhere=("a", "b")))
    assert then.kinds == ["PromptRefused", "ImageFailed", "BatchSettled"]
    assert ledger.states() == ["failed"] * 2
    ledger.given(retry())
    assert ledger.prompt(1).refused_by == (), "a retry asks each of them again"


def test_a_prompt_that_is_cancelled_goes_nowhere_when_it_is_refused() -> None:
    ledger = given(submit(quantity=1), intended(1), cancel())
    then = ledger.when(refused(1, elsewhere=("b",)))
    assert then.events[0].again is False  # type: ignore[attr-defined]
    assert ledger.prompt().state == "done"


def test_what_a_restarted_comfyui_lost_is_rendered_again_as_a_new_attempt() -> None:
    ledger = given(submit(), rendering(1))
    assert ledger.when(gone(1, restarted=True)).events == (PromptLost("b1", 1, 1),)
    assert ledger.prompt().failures == 0
    assert ledger.when(intended(1, 2)).answer == Wanted(go=True, attempt=2)
    assert not ledger.batch().held


def test_what_would_end_alike_is_not_tried_again_until_a_person_says_so() -> None:
    ledger = given(submit(quantity=2, per_prompt=2), rendered(1, files=2))
    then = ledger.when(replace(failed(1, code="redirected"), final=True))
    assert then.kinds == ["PromptFailed", "ImageFailed", "BatchSettled"]
    assert then.events[0].again is False  # type: ignore[attr-defined]
    assert ledger.states() == ["failed", "failed"]
    ledger.given(retry())
    assert ledger.when(intended(1, 2)).answer.go
