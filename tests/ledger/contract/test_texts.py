"""Texts through the protocols: kept once, readable after the commit, and erased for good."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import Forget
from comfyledger.core.keys import BatchTexts, TemplateKey
from comfyledger.core.rows import TemplateRow
from comfyledger.ledger.ports import Ledger
from support.ledger_builders import submission, take, take_one
from support.ledger_kinds import Kind, together

GRAPH = b'{"9":{"class_type":"SaveImage","inputs":{"text":"typed into the graph"}}}'


async def read(kind: Kind, *digests: str) -> dict[str, bytes]:
    async with kind.reading() as reader:
        return await reader.texts(list(digests))


def template_of(ledger: Ledger) -> TemplateRow | None:
    found = ledger.load_one(TemplateKey(submission(graph=GRAPH).template.key))
    assert found is None or isinstance(found, TemplateRow)
    return found


async def test_texts_are_found_by_their_digests(kind: Kind, ledger: Ledger) -> None:
    command = submission(prompt="a castle at dusk")
    take(ledger, command)
    texts = {command.texts[0].digest: b"a castle at dusk", command.template.digest: command.template.content}
    assert await read(kind, *texts, "0" * 64) == texts
    assert set(texts) == {row.digest for row in ledger.load((BatchTexts(command.batch_id),)).texts(command.batch_id)}


async def test_after_so_many_bytes_no_further_text_is_read(kind: Kind, ledger: Ledger) -> None:
    first, second = submission("r1", prompt="first"), submission("r2", prompt="second")
    take(ledger, first)
    take(ledger, second)
    digests = [first.texts[0].digest, second.texts[0].digest]
    async with kind.reading() as reader:
        assert await reader.texts(digests, 5) == {digests[0]: b"first"}
        assert await reader.texts(digests, 6) == {digests[0]: b"first", digests[1]: b"second"}
        assert await reader.texts(["0" * 64, *digests], 1) == {digests[0]: b"first"}


async def test_a_text_is_read_after_the_commit_only(kind: Kind, ledger: Ledger) -> None:
    command = submission(prompt="typed")
    take(ledger, submission("r0"))
    with ledger.group():
        take_one(ledger, command)
        assert await read(kind, command.texts[0].digest) == {}
    assert await read(kind, command.texts[0].digest) == {command.texts[0].digest: b"typed"}


async def test_what_was_undone_leaves_no_text(kind: Kind, ledger: Ledger) -> None:
    dropped, broken = submission("r1", prompt="dropped"), submission("r2", prompt="broken", graph=GRAPH)
    with ledger.group():
        take_one(ledger, submission("r0"))
        with pytest.raises(ZeroDivisionError):
            break_message(ledger, broken)
    with pytest.raises(ZeroDivisionError):
        break_group(ledger, dropped)
    assert await read(kind, dropped.texts[0].digest, broken.texts[0].digest, broken.template.digest) == {}
    assert template_of(ledger) is None


def break_message(ledger: Ledger, command: object) -> None:
    with ledger.message():
        take_one(ledger, command)  # type: ignore[arg-type]
        raise ZeroDivisionError


def break_group(ledger: Ledger, command: object) -> None:
    with ledger.group():
        break_message(ledger, command)


@pytest.mark.parametrize("groups", [1, 2])
async def test_a_graph_is_kept_once_under_the_digest_of_the_first(kind: Kind, ledger: Ledger, groups: int) -> None:
    """Each request salts the graph anew."""
    first, second = submission("r1", salt=b"one", graph=GRAPH), submission("r2", salt=b"two", graph=GRAPH)
    for number in range(groups):
        together(ledger, [first, second][number::groups])
    assert template_of(ledger) == TemplateRow(first.template.key, first.template.digest)
    assert await read(kind, first.template.digest, second.template.digest) == {first.template.digest: GRAPH}
    (text,) = ledger.load((BatchTexts(second.batch_id),)).texts(second.batch_id)
    assert (text.digest, text.elsewhere) == (first.template.digest, True)


async def test_an_erased_text_is_gone_and_all_others_stay(kind: Kind, ledger: Ledger) -> None:
    first, second = submission("r1", prompt="first"), submission("r2", prompt="second", salt=b"two", user="Ann")
    together(ledger, [first, second])
    together(ledger, [Forget("cli", first.batch_id, ())])
    digests = [first.texts[0].digest, second.texts[0].digest, first.template.digest]
    assert list(await read(kind, *digests)) == digests[1:], "the other batch uses the graph"
    held = ledger.load((BatchTexts(first.batch_id),)).texts(first.batch_id)
    assert [(row.digest, row.elsewhere) for row in held] == [(first.template.digest, True)]
    with kind.log() as log:
        assert log.end().head == ledger.head, "the log itself stays"


async def test_an_erased_graph_can_be_sent_again(kind: Kind, ledger: Ledger) -> None:
    """In a later group, and in the group that erased it."""
    commands = [submission(f"r{number}", salt=bytes([number]), graph=GRAPH) for number in range(3)]
    together(ledger, [commands[0]])
    together(ledger, [Forget("cli", commands[0].batch_id, ())])
    assert template_of(ledger) is None
    together(ledger, [commands[1], Forget("cli", commands[1].batch_id, ()), commands[2]])
    assert template_of(ledger) == TemplateRow(commands[2].template.key, commands[2].template.digest)
    assert await read(kind, *(command.template.digest for command in commands)) == {commands[2].template.digest: GRAPH}


def test_erasing_owes_a_scrub_and_an_opening_does(kind: Kind) -> None:
    with kind.opened() as ledger:
        assert ledger.scrub_owed, "an earlier process may have left something"
        assert ledger.scrub()
        take(ledger, submission())
        assert not ledger.scrub_owed
        take(ledger, Forget("cli", submission().batch_id, ()))
        assert ledger.scrub_owed
        assert ledger.scrub()
        assert not ledger.scrub_owed
