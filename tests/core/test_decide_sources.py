"""Laws of chains: a prompt waits for the images that it is made from, and uses just their bytes."""

from __future__ import annotations

import pytest

from support.core_builders import (
    PlainLedger,
    cancel,
    ended,
    failing,
    forget,
    given,
    hold,
    made_from,
    one_kept,
    sources_of,
    submit,
    unwanted,
    uploading,
)


def chained() -> PlainLedger:
    return given(submit(quantity=1), submit("b2", 1, loads=(made_from(),)))


def test_the_bytes_of_a_source_are_fixed_once() -> None:
    ledger = chained().given(one_kept())
    load = made_from(sha256=ledger.image().sha256)
    assert ledger.when(sources_of("b2", load)).kinds == ["SourcesFixed"]
    assert ledger.prompt(batch="b2").loads == (load,)
    assert ledger.when(sources_of("b2", load)).kinds == []


def test_a_parked_image_has_bytes_and_is_used() -> None:
    ledger = chained().given(one_kept(), uploading(), unwanted())
    assert ledger.image().state == "parked"
    assert ledger.when(sources_of("b2", made_from(sha256=ledger.image().sha256))).kinds == ["SourcesFixed"]


@pytest.mark.parametrize("sha256", ["", "other bytes"])
def test_a_report_that_does_not_fit_the_source_changes_nothing(sha256: str) -> None:
    ledger = chained().given(one_kept())
    assert ledger.when(sources_of("b2", made_from(sha256=sha256))).kinds == []


@pytest.mark.parametrize("ending", [cancel(), failing(), (one_kept(), forget())], ids=["cancelled", "failed", "gone"])
def test_a_source_that_ended_fails_the_image(ending: object) -> None:
    ledger = chained().given(*(ending if isinstance(ending, tuple) else (ending,)))
    assert ledger.when(ended()).kinds == ["ImageFailed", "BatchSettled"]
    assert (ledger.image(batch="b2").code, ledger.states("b2")) == ("input_failed", ["failed"])


def test_an_image_that_is_still_to_be_made_fails_nothing() -> None:
    assert chained().when(ended()).kinds == []


def test_nothing_becomes_of_a_batch_that_was_held_meanwhile() -> None:
    ledger = chained().given(hold("b2"), failing())
    assert ledger.when(ended()).kinds == []
    assert (ledger.states("b2"), ledger.batch("b2").held) == (["pending"], "person")
