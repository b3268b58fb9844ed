"""What is asked of a ComfyUI before a prompt goes out, and what is left out of the graph."""

from __future__ import annotations

from typing import cast

import pytest

from comfyledger.comfyui.graph.plan import Plan
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.workflow_checks import CheckLevel, Template, WorkflowChecks
from comfyledger.workers.comfyui.node_check import NodeCheck, held_batches
from support.graphs import node

SAVER = {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True}
LACKING = ObjectInfo({"SaveImage": SAVER}, "lacking")
HAVING = ObjectInfo({"SaveImage": SAVER, "Noise": {"input": {"required": {}}, "output": ["IMAGE"]}}, "having")
GRAPH = {"1": node("Noise"), "9": node("SaveImage", images=["1", 0]), "7": node("NoteOfMine")}
NOISE = Template("noise", GRAPH, Plan("9", "9.filename_prefix", (), None, {}))


class Classes:
    """What was known, and what ComfyUI says when it is asked at once, and when it is asked a little later."""

    def __init__(
        self, known: ObjectInfo | None, fresh: ObjectInfo | None = None, later: ObjectInfo | None = None
    ) -> None:
        self.known, self.at_once, self.later = known, fresh, later
        self.asked: list[str] = []

    def current(self) -> ObjectInfo | None:
        return self.known

    async def latest(self) -> ObjectInfo | None:
        return self.known

    async def fresh(self, _: float, wait_s: float | None = 0.0) -> ObjectInfo | None:
        self.asked.append("fresh")
        return self.at_once

    async def next(self, _: float) -> ObjectInfo | None:
        self.asked.append("next")
        return self.later


def check_of(classes: Classes, level: CheckLevel = "full") -> NodeCheck:
    return NodeCheck(cast(NodeClasses, classes), WorkflowChecks(level), held_batches())


@pytest.mark.parametrize(
    ("classes", "mistakes", "asked"),
    [
        (Classes(HAVING), 0, []),
        (Classes(None, LACKING), 1, ["fresh"]),
        (Classes(None, HAVING), 0, ["fresh"]),
        (Classes(None, None), 0, ["fresh"]),
        (Classes(LACKING, HAVING), 0, ["fresh"]),
        (Classes(LACKING, LACKING), 1, ["fresh"]),
        (Classes(LACKING, None), 0, ["fresh"]),
    ],
    ids=["known", "never seen, lacking", "never seen", "silent", "installed since", "lacking still", "not to be asked"],
)
async def test_a_prompt_is_held_only_by_a_fresh_answer(classes: Classes, mistakes: int, asked: list[str]) -> None:
    assert len(await check_of(classes).mistakes("b1", NOISE, {})) == mistakes
    assert classes.asked == asked


async def test_what_a_new_connection_says_is_waited_for() -> None:
    class Renewed(Classes):
        async def latest(self) -> ObjectInfo | None:
            return LACKING

    assert len(await check_of(Renewed(HAVING, LACKING)).mistakes("b1", NOISE, {})) == 1


async def test_a_batch_that_continues_is_held_again_only_by_a_later_answer() -> None:
    classes = Classes(LACKING, LACKING, LACKING)
    check = check_of(classes)
    assert await check.mistakes("b1", NOISE, {}) != ()
    check.holds("b1")
    assert await check.mistakes("b1", NOISE, {}) != ()
    assert await check.mistakes("b2", NOISE, {}) != ()
    assert classes.asked == ["fresh", "next", "fresh"]
    classes.later = HAVING
    assert await check.mistakes("b1", NOISE, {}) == ()


async def test_where_nothing_is_checked_nothing_is_asked() -> None:
    classes = Classes(None, LACKING)
    assert await check_of(classes, "off").mistakes("b1", NOISE, {}) == ()
    assert classes.asked == []


async def test_the_values_of_the_prompt_are_checked_too() -> None:
    noise = {"input": {"required": {"width": ["INT", {"min": 1, "max": 64}]}}, "output": ["IMAGE"]}
    info = ObjectInfo({"SaveImage": SAVER, "Noise": noise}, "sized")
    sized = NOISE._replace(graph={**GRAPH, "1": node("Noise", width=8)})
    classes = Classes(info, info)
    assert await check_of(classes).mistakes("b1", sized, {"1.width": 64}) == ()
    assert len(await check_of(classes).mistakes("b1", sized, {"1.width": 65})) == 1


async def test_what_admission_found_right_is_not_looked_at_again_while_comfyui_is_the_same() -> None:
    classes, checks = Classes(LACKING, LACKING), WorkflowChecks("full")
    check = NodeCheck(cast(NodeClasses, classes), checks, held_batches())
    checks.is_right("b1", HAVING)
    assert len(await check.mistakes("b1", NOISE, {})) == 1, "that was another answer of ComfyUI"
    checks.is_right("b1", LACKING)
    assert await check.mistakes("b1", NOISE, {}) == ()
    assert len(await check.mistakes("b2", NOISE, {})) == 1, "that is another batch"


def test_unneeded_nodes_of_missing_classes_are_left_out_and_no_others() -> None:
    assert check_of(Classes(HAVING), "off").unneeded(NOISE) == ("7",)
    assert check_of(Classes(LACKING)).unneeded(NOISE) == ("7",)
    assert check_of(Classes(None)).unneeded(NOISE) == ()
