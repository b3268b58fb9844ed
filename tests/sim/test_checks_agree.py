"""The check of workflows refuses what the stand-in refuses, and nothing else.

Both follow ComfyUI's `execution.py`, and are written apart. The stand-in's answers were compared with those of a real
ComfyUI 0.29.0 on thousands of such graphs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph.nodes import upstream
from comfyledger.comfyui.object_info import ObjectInfo, read_object_info
from comfyledger.sim.comfyui.checks.validate import Refusal, Runnable, check
from comfyledger.sim.comfyui.folders import Folders
from comfyledger.sim.comfyui.installed import Installed
from support.checked_graphs import RIGHT, WRONG, Case, Graph, changed
from support.graphs import node

GRAPHS = 400
VALUES: list[Any] = [
    -1,
    0,
    10**6,
    2**64,
    1.5,
    -0.5,
    "abc",
    " 5 ",
    "5.0",
    "",
    None,
    True,
    False,
    {},
    {"__value__": 3},
    [],
    ["4"],
]
SLOTS = [0, 0, 0, 1, 2, -1, 9]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("input")
    for name in ("example.png", "pose.png"):
        (folder / name).touch()
    installed = Installed(Folders(folder, folder, folder))
    installed.look()
    return installed


@pytest.fixture(scope="module")
def info(installed: Installed) -> ObjectInfo:
    return read_object_info(json.dumps(installed.object_info()).encode(), "digest")


def answered(installed: Installed, graph: Graph) -> Runnable | Refusal:
    """What the stand-in says. Only what the output needs is sent to it."""
    needed = upstream(graph, ["9"])
    sent = {node_id: copy.deepcopy(graph[node_id]) for node_id in graph if node_id in needed}
    return check({"prompt": sent, "partial_execution_targets": ["9"]}, installed)


def is_refused(installed: Installed, graph: Graph) -> bool:
    return isinstance(answered(installed, graph), Refusal)


@pytest.mark.parametrize("case", [*WRONG.values(), *RIGHT.values()], ids=[*WRONG, *RIGHT])
def test_every_mistake_is_found_and_no_other(installed: Installed, info: ObjectInfo, case: Case) -> None:
    found = checks.find_mistakes(case.graph, ["9"], info)
    assert {(one.node, one.input, one.kind) for one in found} == case.mistakes
    assert is_refused(installed, case.graph) is bool(case.mistakes)


CASES = {**WRONG, **{f"right: {name}": case for name, case in RIGHT.items()}}
ANSWERS = Path(__file__).parents[1] / "recordings" / "comfyui-0.29.0" / "refusals.json"
"""What a real ComfyUI 0.29.0 answered to the cases that have classes of its own: status, error, and the type and the
beginning of the details of each error by node."""
RECORDINGS = Path(__file__).parents[1] / "recordings" / "comfyui-0.33.0"


def said(answer: Runnable | Refusal) -> dict[str, Any]:
    """An answer of the stand-in in the form of the recorded ones. Lists of choices are cut off: they differ."""
    plain: dict[str, Any] = {"status": 200}
    if isinstance(answer, Refusal):
        plain = {"status": 400, "error": answer.error["type"]}
        plain |= {"node": answer.error["extra_info"]["node_id"]} if answer.error["extra_info"] else {}
    nodes = {
        node_id: sorted([error["type"], error["details"].partition(" not in ")[0]] for error in found["errors"])
        for node_id, found in answer.node_errors.items()
    }
    return plain | ({"nodes": nodes} if nodes else {})


@pytest.mark.parametrize(("name", "real"), json.loads(ANSWERS.read_text("utf-8")).items())
def test_the_stand_in_answers_what_a_real_comfyui_answered(installed: Installed, name: str, real: Any) -> None:
    assert said(answered(installed, CASES[name].graph)) == real


def recorded() -> Iterator[tuple[str, Graph, set[tuple[str, str]]]]:
    """Every graph that was posted to a real ComfyUI, and its errors by node and type."""
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            entry = json.loads(line)
            sent = entry.get("request")
            if entry.get("path") != "/prompt" or not isinstance(sent, dict) or not sent.get("prompt"):
                continue
            answer = entry["response"]
            errors = {(node_id, e["type"]) for node_id, of in answer["node_errors"].items() for e in of["errors"]}
            if answer.get("error", {}).get("extra_info"):
                errors.add((answer["error"]["extra_info"]["node_id"], answer["error"]["type"]))
            yield path.stem, sent["prompt"], errors


def test_what_a_real_comfyui_was_recorded_to_refuse_is_found_and_nothing_else(info: ObjectInfo) -> None:
    refused = 0
    for name, graph, errors in recorded():
        classes = {node_id: info.get(one["class_type"]) for node_id, one in graph.items()}
        outputs = [node_id for node_id, known in classes.items() if known is None or known.is_output]
        found = {(one.node, one.kind) for one in checks.find_mistakes(graph, outputs, info)}
        refused += bool(errors)
        assert found == errors, name
    assert refused >= 3


def spoiled(random: Random) -> tuple[Graph, list[str]]:
    """A graph with up to three values or links that are as likely wrong as right, and what they are."""
    graph = changed(
        {"17.images.image1": ["20", 0], "3.seed": ["22", 0]},
        _20=node("LoadImage", image="example.png"),
        _21=node("PrimitiveInt", value=7),
        _22=node("ComfySwitchNode", switch=True, on_false=["21", 0], on_true=["21", 0]),
    )
    words: list[str] = []
    for _ in range(random.randint(1, 3)):
        node_id = random.choice([node_id for node_id in graph if node_id != "20"])
        name = random.choice(list(graph[node_id]["inputs"]))
        link = [random.choice([*graph, "404"]), random.choice(SLOTS)]
        value = link if random.random() < 0.4 else copy.deepcopy(random.choice(VALUES))
        graph[node_id]["inputs"][name] = value
        words.append(f"{node_id}.{name} = {value!r}")
    return graph, words


def test_both_refuse_the_same_of_many_spoiled_graphs(installed: Installed, info: ObjectInfo) -> None:
    random = Random(17)
    differing: list[tuple[list[str], Any]] = []
    refused = 0
    for _ in range(GRAPHS):
        graph, words = spoiled(random)
        found = checks.find_mistakes(graph, ["9"], info)
        refused += bool(found)
        if is_refused(installed, graph) is not bool(found):
            differing.append((words, found))
    assert differing == []
    assert GRAPHS // 4 < refused < GRAPHS, "half of the graphs are wrong"
