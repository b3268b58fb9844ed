"""Laws of keys: each names the row that it says, under the identity that the row itself has."""

from __future__ import annotations

import pytest

from comfyledger.core.keys import (
    BatchKey,
    ImageKey,
    Key,
    LaneKey,
    OneKey,
    PromptImages,
    PromptKey,
    RequestKey,
    SeriesKey,
    TemplateKey,
    whole_batch,
    whole_prompt,
)
from comfyledger.core.rows import RequestRow, RowId, row_id
from support.core_builders import PlainLedger, given, stuck, submit

LANE = "store/folder"


@pytest.fixture
def ledger() -> PlainLedger:
    return given(submit(quantity=4, per_prompt=2), stuck(LANE))


def _named(ledger: PlainLedger, *keys: Key) -> set[RowId]:
    rows = ledger.load(keys)._rows
    assert all(ledger.rows[ident] == row for ident, row in rows.items())
    return {row_id(row) for row in rows.values()}


def _all(kind: str, *indexes: int) -> set[RowId]:
    return {(kind, "b1", index) for index in indexes}


def test_a_key_names_the_row_with_its_identity_and_no_other(ledger: PlainLedger) -> None:
    batch = ledger.batch()
    keys: list[OneKey] = [SeriesKey(batch.series), BatchKey("b1"), PromptKey("b1", 2), ImageKey("b1", 3), LaneKey(LANE)]
    keys += [TemplateKey(ident[1]) for ident in ledger.rows if ident[0] == "template"]
    assert len(keys) == 6
    for key in keys:
        assert _named(ledger, key) == {key.row_id}, key


def test_a_key_of_what_does_not_exist_names_nothing(ledger: PlainLedger) -> None:
    keys = (BatchKey("b2"), PromptKey("b1", 3), PromptImages("b1", 3), ImageKey("b1", 5), RequestKey("x", "r1"))
    assert _named(ledger, *keys) == set()


def test_the_images_of_a_prompt_are_those_that_it_names(ledger: PlainLedger) -> None:
    assert _named(ledger, PromptImages("b1", 2)) == _all("image", 3, 4)
    assert _named(ledger, *whole_prompt("b1", 2)) == _all("image", 3, 4) | _all("prompt", 2)


def test_a_whole_batch_has_all_of_its_prompts_and_images(ledger: PlainLedger) -> None:
    its = _all("prompt", 1, 2) | _all("image", 1, 2, 3, 4)
    assert _named(ledger, *whole_batch("b1")) == its | {("batch", "b1", "")}


def test_a_used_request_comes_with_its_batch_and_the_images_of_that(ledger: PlainLedger) -> None:
    (request,) = (row for row in ledger.rows.values() if isinstance(row, RequestRow))
    found = _named(ledger, RequestKey(request.label, request.request_id))
    assert found == _all("image", 1, 2, 3, 4) | {("batch", "b1", ""), row_id(request)}
