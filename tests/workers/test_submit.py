"""What is recorded of an attempt before it is sent, and that this is what is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.events import PromptSubmitting
from comfyledger.core.reports import PromptIsLeft, SubmitIntended
from support.graphs import node
from support.output_house import GRAPH, House, Made

CLASSES = ("EmptyImage", "SaveImage", "VHS_VideoCombine")
LACKING = ObjectInfo({name: {"input": {}} for name in CLASSES}, "lacking")
HAVING = ObjectInfo({name: {"input": {}} for name in (*CLASSES, "NoteOfMine")}, "having")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Its workflow has a node that no output needs."""
    made = Made(tmp_path)()
    made.graph = {**GRAPH, "7": node("NoteOfMine")}
    return made


def sent(house: House) -> list[str]:
    ((graph, _),) = house.posted
    return sorted(graph)


@pytest.mark.parametrize(
    ("known", "left_out", "nodes"),
    [(LACKING, ("7",), ["1", "10", "9"]), (HAVING, (), ["1", "10", "7", "9"]), (None, (), ["1", "10", "7", "9"])],
    ids=["lacking", "having", "unknown"],
)
async def test_version_and_nodes_that_are_not_sent_are_recorded(
    house: House, known: ObjectInfo | None, left_out: tuple[str, ...], nodes: list[str]
) -> None:
    house.node_classes = known
    await house.submit()
    (event,) = [entry.event for entry in house.ledger.log if isinstance(entry.event, PromptSubmitting)]
    assert (event.version, event.left_out) == ("0.29.0", left_out)
    assert sent(house) == nodes


@pytest.mark.parametrize(
    ("recorded", "nodes"),
    [(("7",), ["1", "10", "9"]), ((), ["1", "10", "7", "9"])],
    ids=["left out", "sent"],
)
async def test_after_a_crash_an_attempt_is_sent_as_it_was_recorded(
    house: House, recorded: tuple[str, ...], nodes: list[str]
) -> None:
    house.ledger.when(SubmitIntended("b1", 1, 1, "main", "0.29.0", recorded))
    house.node_classes = HAVING if recorded else LACKING
    await house.submit(resumed=True)
    assert sent(house) == nodes


async def test_an_attempt_of_an_earlier_release_is_sent_without_what_comfyui_lacks_now(house: House) -> None:
    house.ledger.when(SubmitIntended("b1", 1, 1, "main"))
    house.node_classes = LACKING
    await house.submit(resumed=True)
    assert sent(house) == ["1", "10", "9"]


@pytest.mark.parametrize("places", [["waiting"], ["gone", "waiting"], ["gone", "running"]])
async def test_an_attempt_that_comfyui_has_is_not_sent_again_also_if_only_a_second_look_finds_it(
    house: House, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped may answer the first look before it reads the call that came before it."""
    found = iter(places)

    async def where_is(_: str) -> str:
        return next(found)

    monkeypatch.setattr(house, "where_is", where_is)
    house.ledger.when(SubmitIntended("b1", 1, 1, "main"))
    await house.submit(resumed=True)
    assert house.posted == []
    assert house.ledger.prompt().state == "accepted"


async def test_an_attempt_that_is_left_behind_during_the_look_is_not_sent_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.ledger.when(SubmitIntended("b1", 1, 1, "main"))

    async def where_is(_: str) -> str:
        if house.ledger.prompt().state == "submitting":
            house.ledger.when(PromptIsLeft("b1", 1, 1, reason="away"))
        return "gone"

    monkeypatch.setattr(house, "where_is", where_is)
    await house.submit(resumed=True)
    assert house.posted == []
