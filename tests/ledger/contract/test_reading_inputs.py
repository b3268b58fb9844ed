"""Reading inputs through the protocol `Reader`: one, some, and all that a label may use."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import AddInput, CancelBatch, ForgetInput, SubmitBatch
from comfyledger.core.inputs import InputRow
from comfyledger.core.reports import InputGone, InputUnused
from comfyledger.core.values import LoadedFile
from comfyledger.ledger.ports import InputFilter, Ledger, Reader
from comfyledger.ledger.sqlite import input_rows
from comfyledger.queries.limited_reader import LimitedReader
from support.ledger_builders import NOW_MS, submission
from support.ledger_kinds import Kind, together

A, B, C, D = (letter * 64 for letter in "abcd")


def add(ledger: Ledger, sha256: str, label: str, at_ms: int) -> None:
    together(ledger, [AddInput(label, sha256, 7, "png", 4, 2, "whole")], NOW_MS + at_ms)


def fill(kind: Kind) -> None:
    """A is ours, B of both, C theirs, and D was forgotten by all."""
    with kind.opened() as ledger:
        for at_ms, (sha256, label) in enumerate([(C, "theirs"), (D, "ours"), (B, "ours"), (B, "theirs"), (A, "ours")]):
            add(ledger, sha256, label, at_ms)
        together(ledger, [ForgetInput("ours", D, ("ours",))], NOW_MS)


async def pages(reader: Reader, wanted: InputFilter) -> list[str]:
    found: list[InputRow] = []
    while page := await reader.inputs(replace(wanted, limit=1)):
        found += page
        wanted = replace(wanted, before=(page[0].added_ms, page[0].sha256))
    assert found == await reader.inputs(replace(wanted, before=None))
    return [row.sha256 for row in found]


async def test_usable_inputs_are_listed_newest_first_page_by_page(kind: Kind) -> None:
    fill(kind)
    async with kind.reading() as reader:
        assert await pages(reader, InputFilter()) == [A, B, C]
        assert await pages(reader, InputFilter(label="ours")) == [A, B]
        assert await pages(reader, InputFilter(label="theirs")) == [B, C]
        assert await pages(reader, InputFilter(label="nobody")) == []


async def test_inputs_of_the_same_moment_are_each_listed_once(kind: Kind) -> None:
    with kind.opened() as ledger:
        for sha256 in (C, A, B):
            add(ledger, sha256, "ours", 0)
    async with kind.reading() as reader:
        assert await pages(reader, InputFilter()) == [A, B, C]


async def test_an_input_is_found_by_its_digest_whether_it_may_be_used_or_not(kind: Kind) -> None:
    fill(kind)
    async with kind.reading() as reader:
        found, gone = await reader.input(B), await reader.input(D)
        assert found is not None
        assert gone is not None
        assert (found.labels, found.is_usable, gone.is_usable) == (("ours", "theirs"), True, False)
        assert await reader.input("e" * 64) is None
        assert await reader.input(B, "nobody") is None
        assert await reader.input(D, "ours") is None
        assert {row.sha256 for row in await reader.these_inputs([A, D, "e" * 64])} == {A, D}
        assert await reader.these_inputs([]) == []


async def test_a_label_sees_its_own_inputs_and_not_who_else_has_them(kind: Kind) -> None:
    fill(kind)
    async with kind.reading() as reader:
        ours = LimitedReader(reader, "ours")
        found = [await ours.input(sha256) for sha256 in (A, B, C, D)]
        assert [row and row.labels for row in found] == [("ours",), ("ours",), None, None]
        assert [row.sha256 for row in await ours.inputs(InputFilter(label="theirs"))] == [A, B]
        assert {row.labels for row in await ours.these_inputs([A, B, C])} == {("ours",)}


# ---- what nothing needs


def loading(request: str, *sha256s: str) -> SubmitBatch:
    asked = submission(request, quantity=1)
    loads = tuple(LoadedFile(f"{place}.image", sha256=one) for place, one in enumerate(sha256s))
    return replace(asked, prompts=tuple(replace(prompt, loads=loads) for prompt in asked.prompts))


async def test_what_no_open_batch_needs_comes_by_how_long_it_was_not_needed(kind: Kind) -> None:
    """A was needed last at 40, B never since 2, C is needed."""
    with kind.opened() as ledger:
        for at_ms, sha256 in enumerate([A, C, B]):
            add(ledger, sha256, "ours", at_ms)
        together(ledger, [loading("r1", A), loading("r2", C)], NOW_MS + 30)
        together(ledger, [CancelBatch("app", "batch-app-r1")], NOW_MS + 40)
    async with kind.reading() as reader:
        for before_ms, wanted in ((2, []), (3, [B]), (40, [B]), (41, [B, A]), (99, [B, A])):
            assert [row.sha256 for row in await reader.inputs_unused(NOW_MS + before_ms, 10)] == wanted
        assert [row.sha256 for row in await reader.inputs_unused(NOW_MS + 99, 1)] == [B]
        assert [row.sha256 for row in await reader.inputs_kept()] == [A, B, C]
        assert [row.sha256 for row in await reader.inputs_kept(A, 1)] == [B]


async def test_every_kept_input_is_examined_in_short_reads(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_rows, "IDLE_PAGE", 2)
    every = [f"{number:064x}" for number in range(7)]
    with kind.opened() as ledger:
        for at_ms, sha256 in enumerate(reversed(every)):
            add(ledger, sha256, "ours", at_ms)
    async with kind.reading() as reader:
        found = await reader.inputs_unused(NOW_MS + 99, 5)
        assert [row.sha256 for row in found] == every[:1:-1]


async def test_what_was_forgotten_comes_first_once_its_last_batch_has_ended(kind: Kind) -> None:
    with kind.opened() as ledger:
        for at_ms, sha256 in enumerate([A, B]):
            add(ledger, sha256, "ours", at_ms)
        together(ledger, [loading("r1", B), ForgetInput("cli", B)], NOW_MS)
    async with kind.reading() as reader:
        assert [row.sha256 for row in await reader.inputs_unused(NOW_MS + 99, 10)] == [A]
        with kind.opened() as ledger:
            together(ledger, [CancelBatch("app", "batch-app-r1")], NOW_MS)
        assert [row.sha256 for row in await reader.inputs_unused(NOW_MS + 99, 10)] == [B, A]
        assert [row.sha256 for row in await reader.inputs_unused(NOW_MS, 1)] == [B]
        assert [row.sha256 for row in await reader.inputs_unused(0, 10)] == [B]
        with kind.opened() as ledger:
            together(ledger, [InputUnused(B, "forgotten")], NOW_MS)
        assert [row.sha256 for row in await reader.inputs_unused(NOW_MS + 99, 10)] == [A]
        assert [row.sha256 for row in await reader.inputs_kept()] == [A, B]


async def test_an_input_whose_bytes_were_erased_is_nobodys_until_it_is_added_again(kind: Kind) -> None:
    """Who adds it does not give it back to the others that had it."""
    with kind.opened() as ledger:
        for label in ("ours", "theirs"):
            add(ledger, A, label, 0)
        together(ledger, [InputUnused(A, "expired"), InputGone(A, "")], NOW_MS)
    async with kind.reading() as reader:
        ours, theirs = LimitedReader(reader, "ours"), LimitedReader(reader, "theirs")
        for label, one in (("ours", ours), ("theirs", theirs)):
            row = await one.input(A)
            assert row is not None
            assert (row.labels, row.labels_before, row.is_usable) == ((), (label,), False)
        with kind.opened() as ledger:
            add(ledger, A, "theirs", 5)
        assert [await one.inputs(InputFilter()) for one in (ours, reader)] == [[], [await reader.input(A)]]
        still, found = await ours.input(A), await theirs.input(A)
        assert still is not None
        assert found is not None
        assert (still.labels, still.is_usable, still.added_ms) == ((), False, NOW_MS)
        assert (found.labels, found.labels_before, found.added_ms) == (("theirs",), (), NOW_MS + 5)
