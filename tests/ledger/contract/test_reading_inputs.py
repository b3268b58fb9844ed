"""Reading inputs through the protocol `Reader`: one, some, and all that a label may use."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.commands import AddInput, ForgetInput
from comfyledger.core.rows import InputRow
from comfyledger.ledger.ports import InputFilter, Ledger, Reader
from comfyledger.queries.limited_reader import LimitedReader
from support.ledger_builders import NOW_MS
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
