"""Laws of taking chains up again: a retry looks for sources anew, and takes up what failed because its images did."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import MadeFrom
from comfyledger.core.decide.decide import Message
from comfyledger.core.events import BatchReopened
from comfyledger.core.results import Wanted
from comfyledger.core.values import ImageAt, LoadedFile
from support.core_builders import (
    PlainLedger,
    adding,
    cancel,
    ended,
    failed,
    failing,
    forget,
    given,
    hold,
    intended,
    loading,
    lost,
    made_from,
    one_kept,
    one_stored,
    pinned,
    rendering,
    renumbering,
    retry,
    sources_of,
    submit,
    unwanted,
    uploading,
)

LINKS: tuple[Message, ...] = (
    submit(quantity=1),
    submit("b2", 1, loads=(made_from(),)),
    submit("b3", 1, loads=(made_from("b2"),)),
)
BROKEN: tuple[object, ...] = (LINKS, failing(), ended(), ended("b3", "b2"))


def chained(*messages: object) -> PlainLedger:
    return given(*LINKS, *messages)  # type: ignore[arg-type]


def broken() -> PlainLedger:
    """A chain of three of which the first image failed."""
    ledger = given(*BROKEN)  # type: ignore[arg-type]
    assert [ledger.image(batch=batch).code for batch in ("b2", "b3")] == ["input_failed"] * 2
    return ledger


def load_of(ledger: PlainLedger, batch: str = "b2") -> LoadedFile:
    (load,) = ledger.prompt(batch=batch).loads
    return load


# ---- the retry of a source


def test_a_retry_of_the_last_link_takes_up_the_first_one_and_all_between() -> None:
    ledger = broken()
    then = ledger.when(retry(batch="b3", also=("b2", "b3"), sources=("b1",)))
    assert then.events == (
        BatchReopened("b1", "app", render=(1,), images=(1,)),
        BatchReopened("b3", "app", render=(1,), images=(1,)),
        BatchReopened("b2", "app", render=(1,), images=(1,), source=ImageAt("b1", 1)),
    )
    assert then.answer.images == 3
    assert [ledger.prompt(batch=batch).state for batch in ("b1", "b2", "b3")] == ["queued"] * 3


def test_a_source_that_did_not_fail_is_not_retried_with_what_is_made_from_it() -> None:
    ledger = broken().given(retry())
    then = ledger.when(retry(batch="b3", also=("b2", "b3"), sources=("b1",)))
    assert [event.batch_id for event in then.events] == ["b3"]


def test_a_retry_of_a_source_takes_up_all_levels_that_failed_because_of_it() -> None:
    ledger = broken()
    then = ledger.when(retry(also=("b2", "b3")))
    assert then.events == (
        BatchReopened("b1", "app", render=(1,), images=(1,)),
        BatchReopened("b2", "app", render=(1,), images=(1,), source=ImageAt("b1", 1)),
        BatchReopened("b3", "app", render=(1,), images=(1,), source=ImageAt("b2", 1)),
    )
    assert [ledger.prompt(batch=batch).state for batch in ("b1", "b2", "b3")] == ["queued"] * 3
    assert [ledger.batch(batch).settled for batch in ("b1", "b2", "b3")] == [False] * 3


def test_levels_are_followed_in_whatever_order_they_are_named() -> None:
    ledger = given(submit(quantity=1), submit("b2", 1, loads=(made_from(),), depth=1))
    ledger.given(submit("b3", 1, loads=(made_from("b2"),), depth=2), failing(), ended(), ended("b3", "b2"))
    ledger.given(retry(also=("b3", "b2")))
    assert ledger.states("b3") == ["pending"]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(failing(), id="waits"),
        pytest.param((*failing(), cancel(batch="b2")), id="cancelled"),
        pytest.param((*one_kept(), forget(batch="b2")), id="forgotten"),
        pytest.param((*failing(), ended(), forget(batch="b2")), id="failed and forgotten"),
    ],
)
def test_what_did_not_fail_because_of_the_source_is_left_alone(before: tuple[Message, ...]) -> None:
    ledger = given(submit(quantity=2), submit("b2", 1, loads=(made_from(),)), before, failing(2))
    states = ledger.states("b2")
    ledger.given(retry(also=("b2",)))
    assert ledger.states("b2") == states


def test_what_failed_by_itself_is_left_alone() -> None:
    ledger = chained(one_kept())
    ledger.given(sources_of("b2", made_from(sha256=ledger.image().sha256)), failing(batch="b2"))
    ledger.given(failing_source(ledger), retry(also=("b2",)))
    assert ledger.states("b2") == ["failed"]


def failing_source(ledger: PlainLedger) -> list[Message]:
    """The only image is lost, rendered again, and fails."""
    assert ledger.states() == ["kept"]
    return [uploading(), lost(), *failing(first=2)]


def test_what_was_made_from_an_image_that_is_not_tried_again_is_left_alone() -> None:
    ledger = given(submit(quantity=2), submit("b2", 1, loads=(made_from(image=2),)), failing(), failing(2), ended())
    ledger.given(ended(image=2), retry(1, also=("b2",)))
    assert ledger.states("b2") == ["failed"]


def test_a_batch_that_somebody_cancelled_is_not_taken_up() -> None:
    ledger = given(submit(quantity=1), submit("b2", 2, loads=(made_from(),)), failing(), ended(), cancel(batch="b2"))
    ledger.given(retry(also=(MadeFrom("b2", (1, 2)),)))
    assert ledger.states("b2") == ["failed", "cancelled"]


def test_a_held_batch_stays_held() -> None:
    ledger = given(submit(quantity=1), submit("b2", 2, loads=(made_from(),)), failing(), ended(), hold("b2"))
    ledger.given(retry(also=(MadeFrom("b2", (1, 2)),)))
    assert (ledger.states("b2"), ledger.batch("b2").held) == (["pending"] * 2, "person")


def test_a_retry_of_the_dependent_itself_releases_it() -> None:
    ledger = given(submit(quantity=1), submit("b2", 2, loads=(made_from(),)), failing(), ended(), hold("b2"))
    ledger.given(retry(batch="b2"))
    assert not ledger.batch("b2").held


# ---- the retry of a dependent


def without_bytes() -> PlainLedger:
    """A prompt whose source was fixed; the source is lost and rendered again, and nobody has the old bytes."""
    ledger = chained(one_kept())
    ledger.given(sources_of("b2", made_from(sha256=ledger.image().sha256)), uploading(), lost(), one_kept(attempt=2))
    ledger.given(intended(batch="b2"), failed(batch="b2", code="input_failed", final=True))
    assert (ledger.image(batch="b2").code, load_of(ledger).sha256) == ("input_failed", pinned(1).sha256)
    return ledger


def test_a_retry_takes_the_bytes_that_the_source_has_now() -> None:
    ledger = without_bytes().given(retry(batch="b2"))
    assert load_of(ledger) == made_from()
    now = made_from(sha256=ledger.image().sha256)
    ledger.given(sources_of("b2", now))
    assert load_of(ledger) == now
    assert ledger.when(intended(1, 2, batch="b2")).answer == Wanted(go=True, attempt=2)


def test_nothing_is_sent_while_a_source_is_looked_for_anew() -> None:
    ledger = without_bytes().given(retry(batch="b2"))
    assert ledger.when(intended(1, 2, batch="b2")).answer == Wanted(go=False)


def test_a_retry_of_what_failed_otherwise_uses_the_same_bytes_again() -> None:
    ledger = chained(one_kept())
    load = made_from(sha256=ledger.image().sha256)
    ledger.given(sources_of("b2", load), failing(batch="b2"), retry(batch="b2"))
    assert load_of(ledger) == load


def test_each_attempt_uses_the_same_bytes_whatever_becomes_of_the_source() -> None:
    ledger = chained(one_kept())
    load = made_from(sha256=ledger.image().sha256)
    ledger.given(sources_of("b2", load), rendering(batch="b2"), uploading(), lost(), failed(batch="b2"))
    assert (ledger.prompt(batch="b2").state, load_of(ledger)) == ("queued", load)


def test_inputs_are_what_they_were_when_sources_are_looked_for_anew() -> None:
    loads = (loading("1f"), made_from())
    ledger = given(submit(quantity=1), adding("1f"), submit("b2", 1, loads=loads), failing(), ended())
    ledger.given(retry(batch="b2"))
    assert ledger.prompt(batch="b2").loads == loads


def test_an_attempt_that_runs_for_other_images_keeps_its_sources() -> None:
    ledger = given(submit(quantity=1), submit("b2", 2, per_prompt=2, loads=(made_from(),)), failing(), ended())
    ledger.given(retry(), one_kept(attempt=4), retry(1, batch="b2"))
    load = made_from(sha256=ledger.image().sha256)
    ledger.given(sources_of("b2", load), rendering(batch="b2"), retry(2, batch="b2"))
    assert load_of(ledger) == load


def test_a_source_with_another_number_is_the_same_image() -> None:
    ledger = chained(one_kept(), uploading(), unwanted(), renumbering(1))
    load = made_from(sha256=ledger.image().sha256)
    assert ledger.image().number > 1
    assert ledger.when(sources_of("b2", load)).kinds == ["SourcesFixed"]


def test_a_stored_source_that_is_forgotten_ends_a_retry_again() -> None:
    ledger = without_bytes().given(uploading(), one_stored(attempt=2)[-1:], forget(), retry(batch="b2"), ended())
    assert (ledger.states("b2"), ledger.image(batch="b2").code) == (["failed"], "input_failed")
