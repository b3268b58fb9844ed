"""Reading through the protocol `Reader` which backends clients have added."""

from __future__ import annotations

from comfyledger.core.backends import BackendRow
from comfyledger.core.commands import AddBackend, RemoveBackend
from comfyledger.core.reports import BackendEnded
from comfyledger.core.results import BackendKnown
from comfyledger.errors import Refused
from support.ledger_builders import NOW_MS
from support.ledger_kinds import Kind, together


def at(name: str) -> str:
    return f"http://{name}.example:8188"


async def test_those_that_are_present_are_listed_by_name(kind: Kind) -> None:
    with kind.opened() as ledger:
        adding = [AddBackend("app", name, at(name), ("flux",), 60, 1) for name in ("c", "a", "d", "b")]
        together(ledger, [*adding, RemoveBackend("app", "d")], NOW_MS)
        together(ledger, [BackendEnded("b", "expired")], NOW_MS)
    async with kind.reading() as reader:
        assert await reader.backends() == [BackendRow(name, at(name), ("flux",), 60, 1) for name in ("a", "c")]


async def test_messages_of_one_group_see_what_the_one_before_added(kind: Kind) -> None:
    with kind.opened() as ledger:
        same = [AddBackend("app", name, at("one")) for name in ("a", "b", "a")]
        first, other, again = together(ledger, same, NOW_MS)
        assert (first.answer, again.answer) == (BackendKnown("a", changed=True), BackendKnown("a", changed=False))
        assert isinstance(other.error, Refused)
        assert other.error.code == "backend_exists"
    async with kind.reading() as reader:
        assert [row.name for row in await reader.backends()] == ["a"]
