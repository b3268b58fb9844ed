"""Laws of the forms in which people have graphs: wrappers, and entries beside the nodes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from comfyledger.comfyui.graph.forms import NO_NODES_MAX, WRAPPERS
from comfyledger.comfyui.graph.read import Named, describe, plan_workflow, read_graph
from support.graphs import ROOM, diffusion, image, node, refusal

UI = {"last_node_id": 9, "nodes": [{"id": 9, "type": "SaveImage"}], "links": [[1, 1, 0, 9, 0, "IMAGE"]]}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_graph_is_unwrapped_and_the_rest_named(wrapper: str) -> None:
    read = read_graph({wrapper: diffusion(), "client_id": "c"}, ROOM)
    assert read == (diffusion(), ("client_id",))


@pytest.mark.parametrize("inner", ["workflow", "workflow_json", "prompt"])
def test_a_graph_in_two_wrappers_is_found(inner: str) -> None:
    read = read_graph({"id": "x", "input": {"webhook": {"secret": "s"}, inner: diffusion()}}, ROOM)
    assert read == (diffusion(), ("id", "input.webhook"))


def test_a_wrapper_with_both_formats_gives_its_api_format() -> None:
    assert read_graph({"workflow": UI, "output": diffusion()}, ROOM) == (diffusion(), ("workflow",))
    assert read_graph({**UI, "prompt": diffusion()}, ROOM).nodes == diffusion()
    assert read_graph({"prompt": "a fox", "workflow": diffusion()}, ROOM) == (diffusion(), ("prompt",))


def test_a_key_that_alone_holds_a_graph_is_a_wrapper() -> None:
    wrapped = {"note": "n", "api_graph": diffusion()}
    assert read_graph(wrapped, ROOM) == (diffusion(), ("note",))
    assert read_graph({"workflow": wrapped}, ROOM) == (diffusion(), ("workflow.note",))
    assert refusal(read_graph, wrapped | {"other": diffusion()}, ROOM).code == "workflow_invalid"


def test_a_number_that_is_none_is_left_out_with_what_holds_it() -> None:
    """Python writes NaN into what it exports; what stands beside the nodes is not looked at."""
    beside = '"_meta": {"a": [NaN, {"b": -Infinity}], "c": 1}'
    text = f'{{"1": {{"class_type": "A", "inputs": {{"x": 1}}, "is_changed": NaN}}, {beside}}}'
    graph = {"1": {"class_type": "A", "inputs": {"x": 1}}}
    assert read_graph(text.encode(), ROOM) == (graph, ("_meta",))
    wrapped = f'{{"input": {{"prompt": {text}, "cost": NaN}}, "time": Infinity}}'
    assert read_graph(wrapped.encode(), ROOM) == (graph, ("time", "input.cost", "input.prompt._meta"))
    for place in ("1.inputs.x", "input.prompt.1.inputs.x"):
        wrong = (text if place[0] == "1" else wrapped).replace('"x": 1', '"x": NaN')
        assert refusal(read_graph, wrong.encode(), ROOM).path == place


def test_a_node_called_prompt_is_no_wrapper() -> None:
    graph = image(prompt=node("CLIPTextEncode", text="a"))
    assert read_graph(graph, ROOM) == (graph, ())


@pytest.mark.parametrize("wrap", [lambda ui: ui, lambda ui: {"workflow": ui}, lambda ui: {"input": {"prompt": ui}}])
def test_the_ui_format_is_refused_with_the_way_to_export(wrap: Any) -> None:
    refused = refusal(read_graph, wrap(UI), ROOM)
    assert refused.code == "workflow_ui_format"
    assert "Workflow > Export (API)" in refused.hint


def test_what_is_no_node_is_left_out_and_told() -> None:
    beside = {"_meta": {"title": "t"}, "_comment": "c", "version": 0.4, "extra": {}, "_models": ["m"], "workflow": UI}
    read = read_graph({**beside, **diffusion()}, ROOM)
    assert read == (diffusion(), tuple(beside))
    graph, plan = plan_workflow(read.nodes, Named(no_nodes=read.no_nodes))
    assert "no nodes, left out: _meta, _comment, version, extra, _models, workflow" in describe(plan, graph)


@pytest.mark.parametrize("value", [None, "text", {}, {"inputs": {}}, {"_meta": {}}])
@pytest.mark.parametrize("node_id", ["3", "57:8"])
def test_a_broken_node_is_refused_and_not_left_out(node_id: str, value: Any) -> None:
    refused = refusal(read_graph, image(**{node_id: value}), ROOM)
    assert (refused.code, refused.path) == ("workflow_invalid", node_id)


def test_what_a_node_is_linked_to_is_not_left_out() -> None:
    refused = refusal(read_graph, image(scaled={"type": "Scale"}, **{"2": node("Note", image=["scaled", 0])}), ROOM)
    assert (refused.code, refused.path) == ("workflow_invalid", "scaled")


def test_a_second_graph_is_refused_and_not_left_out() -> None:
    for other in ("prompt", "version 2"):
        refused = refusal(read_graph, image(**{other: diffusion()}), ROOM)
        assert (refused.code, refused.path) == ("workflow_invalid", other)


@pytest.mark.parametrize(
    "no_graph", [{"prompt": {"a": 1}}, {"input": {"workflow": "a.json"}}, {"workflow": {}}, {"a\nb": [], "_meta": {}}]
)
def test_a_wrapper_without_a_graph_is_refused_with_what_to_do(no_graph: Any) -> None:
    refused = refusal(read_graph, no_graph, ROOM)
    assert refused.code == "workflow_invalid"
    assert "has no node" in refused.message
    assert "Workflow > Export (API)" in refused.hint
    assert refused.path.isprintable()


@pytest.mark.parametrize("depth", [100, 10_000, 100_000])
@pytest.mark.parametrize("wrapper", ["prompt", "input"])
def test_wrappers_in_very_many_wrappers_are_refused_at_once(depth: int, wrapper: str) -> None:
    text = f'{{"{wrapper}":'.encode() * depth + b'{"1":{"class_type":"A","inputs":{}}}' + b"}" * depth
    began = time.process_time()
    assert refusal(read_graph, text, 10 * ROOM).code == "workflow_invalid"
    assert time.process_time() - began < 1


def test_very_many_entries_that_are_no_nodes_are_quick_and_bounded() -> None:
    beside = {f"note{i}": "x" for i in range(100_000)}
    links = {str(i): node("Note", image=[f"gone{i}", 0]) for i in range(10_000)}
    began = time.process_time()
    read = read_graph(image(**beside, **links), 100 * ROOM)
    assert time.process_time() - began < 5
    assert len(read.no_nodes) == NO_NODES_MAX
    assert not read.nodes.keys() & beside.keys()


def test_names_that_are_told_are_cut_and_printable() -> None:
    read = read_graph(image(**{"_\x1b[31m": 1, "_" * 5_000: 2}), ROOM)
    assert all(len(name) <= 65 and name.isprintable() for name in read.no_nodes)
