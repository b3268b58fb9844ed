"""What is asked of the checks, what is remembered of them, and which nodes nobody needs."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph.plan import Plan
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.workflow_checks import CheckLevel, Recent, Template, WorkflowChecks
from support.graphs import node

CLASSES: dict[str, Any] = {
    "Noise": {
        "input": {"required": {"model": [["a", "b"]], "width": ["INT", {"min": 1, "max": 64}]}},
        "output": ["IMAGE"],
    },
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING"]}},
        "output": [],
        "output_node": True,
    },
}
INFO = ObjectInfo(CLASSES, "one")
PLAN = Plan("9", "9.filename_prefix", (), None, {})


def template(key: str = "k", **more: Any) -> Template:
    graph = {
        "1": node("Noise", model="a", width=8),
        "9": node("SaveImage", images=["1", 0], filename_prefix=None),
        **more,
    }
    return Template(key, graph, PLAN)


def wrong(model: str = "z") -> Template:
    return template(model, **{"1": node("Noise", model=model, width=8)})


def kinds(found: Any) -> list[tuple[str, str]]:
    return [(mistake.input, mistake.kind) for mistake in found]


@pytest.mark.parametrize(("level", "expected"), [("full", [("model", "value_not_in_list")]), ("classes", [])])
def test_a_level_says_how_much_is_looked_at(level: CheckLevel, expected: list[tuple[str, str]]) -> None:
    assert kinds(WorkflowChecks(level).mistakes(wrong(), [{}], INFO).every) == expected


@pytest.mark.parametrize(("level", "count"), [("full", 1), ("classes", 1), ("off", 0)])
def test_a_class_that_is_missing_is_a_mistake_unless_nothing_is_checked(level: CheckLevel, count: int) -> None:
    unknown = template(**{"1": node("NoiseOfMine", model="a", width=8)})
    assert len(WorkflowChecks(level).mistakes(unknown, [{}], INFO).every) == count


def test_values_of_a_request_are_checked_for_each_image() -> None:
    images = [{"1.width": 8}, {}, {"1.width": 65}, {"1.width": 0, "1.model": "q"}]
    found = WorkflowChecks("full").mistakes(template(), images, INFO)
    assert found.workflow == ()
    assert {place: kinds(one) for place, one in found.images.items()} == {
        2: [("width", "value_bigger_than_max")],
        3: [("model", "value_not_in_list"), ("width", "value_smaller_than_min")],
    }
    assert len(found.every) == 3


def test_what_every_image_replaces_is_not_looked_at_in_the_workflow() -> None:
    checked = WorkflowChecks("full")
    assert checked.mistakes(wrong(), [{"1.model": "a"}, {"1.model": "b", "1.width": 9}], INFO).every == ()
    assert kinds(checked.mistakes(wrong(), [{"1.model": "a"}, {}], INFO).every) == [("model", "value_not_in_list")]


def test_what_stands_where_a_file_is_loaded_does_not_count() -> None:
    checked = WorkflowChecks("full")
    nothing = template("null", **{"1": node("Noise", model=None, width=8)})
    assert checked.mistakes(nothing, [{}, {}], INFO, [{"1.model"}, {"1.model"}]).every == ()
    assert checked.mistakes(nothing, [{"1.width": 9}], INFO, [{"1.model"}]).every == ()
    assert checked.mistakes(wrong(), [{"1.model": "a"}, {}], INFO, [(), {"1.model"}]).every == ()
    assert kinds(checked.mistakes(wrong(), [{}, {}], INFO, [{"1.model"}, ()]).every) == [("model", "value_not_in_list")]


def test_a_file_for_a_node_whose_inputs_depend_on_its_values_does_not_count_either() -> None:
    mode = {"key": "plain", "inputs": {"required": {}}}
    grown = {"required": {"mode": ["COMFY_DYNAMICCOMBO_V3", {"options": [mode]}], "model": [["a"]]}}
    info = ObjectInfo(CLASSES | {"Noise": {"input": grown, "output": ["IMAGE"]}}, "two")
    graph = template("dynamic", **{"1": node("Noise", mode="plain", model=None)})
    assert WorkflowChecks("full").mistakes(graph, [{"1.mode": "plain"}], info, [{"1.model"}]).every == ()


def test_the_same_question_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    found = checks.find_mistakes

    def counted(graph: Any, outputs: Any, info: ObjectInfo, **more: Any) -> Any:
        asked.append(info.digest)
        return found(graph, outputs, info, **more)

    monkeypatch.setattr(checks, "find_mistakes", counted)
    checked = WorkflowChecks("full")
    for _ in range(3):
        assert checked.mistakes(template(), [{}], INFO).every == ()
        assert len(checked.mistakes(wrong(), [{}], INFO).every) == 1
    assert asked == ["one", "one"]
    two = ObjectInfo({**CLASSES, "Noise": {"input": {"required": {}}, "output": ["IMAGE"]}}, "two")
    assert checked.mistakes(wrong(), [{}], two).every == ()
    assert asked == ["one", "one", "two"]


def test_only_the_values_used_last_are_kept() -> None:
    recent: Recent[int, str] = Recent(2)
    recent.put(1, "a")
    recent.put(2, "b")
    assert recent.get(1) == "a"
    recent.put(3, "c")
    assert [recent.get(key) for key in (1, 2, 3)] == ["a", None, "c"]


def test_only_nodes_of_missing_classes_that_feed_no_output_are_unneeded() -> None:
    more = {
        "2": node("NoteOfMine", text="x"),
        "3": node("ShowOfMine", image=["1", 0]),
        "4": node("Noise", model="a", width=8),
        "9": node("SaveImage", images=["1", 0], filename_prefix=None, note=["5", 0]),
        "5": node("TextOfMine"),
    }
    checked = WorkflowChecks("off")
    assert checked.unneeded_unknown(template(**more), INFO) == {"2", "3"}
    more["9"] = node("SaveImage", images=["1", 0], filename_prefix=None)
    assert checked.unneeded_unknown(template("other", **more), INFO) == {"2", "3", "5"}
    assert checked.unneeded_unknown(template("whole"), INFO) == frozenset()
