"""Laws of reading, planning and filling in workflows. Graphs are plain values; nothing here knows a
server."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.comfyui.graph.read import (
    Output,
    Plan,
    as_template,
    check_classes,
    check_inputs,
    describe,
    fill,
    plan_workflow,
)
from comfyledger.errors import Refused
from support.graphs import DIFFUSION, GRAPHS, ROOM, WILD, diffusion, image, node, plan_of, read_graph, refusal

# Reading


def test_bytes_and_values_give_the_same_graph() -> None:
    graph = diffusion()
    assert read_graph(json.dumps(graph).encode(), ROOM) == read_graph(graph, ROOM) == graph


def test_what_is_read_is_a_copy() -> None:
    graph = diffusion()
    read_graph(graph, ROOM)["3"]["inputs"]["seed"] = 99
    assert graph == diffusion()


@pytest.mark.parametrize("as_bytes", [True, False])
def test_the_size_limit_holds_to_the_byte(as_bytes: bool) -> None:
    text = msgspec.json.encode(diffusion())
    source = text if as_bytes else diffusion()
    assert read_graph(source, len(text)) == diffusion()
    assert refusal(read_graph, source, len(text) - 1).code == "graph_too_large"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"a":"\xff"}', b"[" * 100_000, b"[]", b"3", b"1" * 9_999])
def test_bytes_that_hold_no_json_object_are_invalid(text: bytes) -> None:
    assert refusal(read_graph, text, ROOM).code == "workflow_invalid"


def test_a_value_that_is_no_json_is_invalid() -> None:
    assert refusal(read_graph, {"1": object()}, ROOM).code == "workflow_invalid"
    assert refusal(read_graph, {"1": "\ud800"}, ROOM).code == "workflow_invalid"
    assert refusal(read_graph, json.dumps(image(text="\ud800")).encode(), ROOM).code == "workflow_invalid"


def test_deep_nesting_is_invalid_and_a_plain_list_is_not() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert refusal(read_graph, image(**{"2": node("Note", values=deep)}), ROOM).code == "workflow_invalid"
    assert read_graph(image(**{"2": node("Note", values=[[1, 2], [3]])}), ROOM)


@pytest.mark.parametrize(
    ("node_id", "broken"),
    [
        ("3", None),
        ("3", {"inputs": {}}),
        ("3", {"class_type": 7, "inputs": {}}),
        ("3", {"class_type": "KSampler"}),
        ("3", {"class_type": "KSampler", "inputs": []}),
        ("a.b", node("KSampler")),
        ("a\nb", node("KSampler")),
        ("", node("KSampler")),
        ("x" * 129, node("KSampler")),
    ],
)
def test_what_is_no_node_is_named(node_id: str, broken: Any) -> None:
    refused = refusal(read_graph, image(**{node_id: broken}), ROOM)
    assert refused.code == "workflow_invalid"
    assert refused.path.startswith(node_id[:64].replace("\n", "?"))
    assert len(refused.path) <= 65


# Inputs of a request


def test_inputs_go_by_name_or_by_address() -> None:
    asked = {"prompt": "a fox", "3.steps": 7.5, "3.cfg": 8, "4.fast": False}
    expected = {"6.text": "a fox", "3.steps": 7.5, "3.cfg": 8, "4.fast": False}
    assert check_inputs(diffusion(), DIFFUSION, asked) == expected


def test_an_input_name_may_hold_dots() -> None:
    graph = image(**{"57:8": node("Resize", **{"kind.width": 3})})
    assert check_inputs(graph, plan_of(graph), {"57:8.kind.width": 4}) == {"57:8.kind.width": 4}


@pytest.mark.parametrize(
    ("asked", "nearest"), [("promt", "prompt?"), ("6.txt", "6.text?"), ("text", "6.text?"), ("3.step", "3.steps?")]
)
def test_an_unknown_input_is_refused_with_the_nearest_and_all_there_is(asked: str, nearest: str) -> None:
    refused = refusal(check_inputs, diffusion(), DIFFUSION, {asked: "x"})
    assert (refused.code, refused.path) == ("unknown_input", asked)
    assert nearest in refused.hint
    assert "The workflow has prompt, " in refused.hint


@pytest.mark.parametrize(
    ("asked", "word"),
    [("3.seed", "`seed`"), ("5.batch_size", "`images_per_prompt`"), ("9.filename_prefix", "names"), ("6.clip", "")],
)
def test_what_the_run_fills_in_and_links_are_refused(asked: str, word: str) -> None:
    refused = refusal(check_inputs, diffusion(), DIFFUSION, {asked: 1})
    assert (refused.code, refused.path) == ("invalid_field", asked)
    assert word in refused.hint


def test_a_link_is_refused_with_the_node_that_fills_it() -> None:
    assert (
        "is linked to node 4 (CheckpointLoaderSimple)"
        in refusal(check_inputs, diffusion(), DIFFUSION, {"6.clip": "x"}).message
    )


@pytest.mark.parametrize("present", [None, [1, 2], {"a": 1}])
def test_what_is_no_literal_of_one_part_cannot_be_set(present: Any) -> None:
    graph = image(**{"2": node("Points", where=present)})
    assert refusal(check_inputs, graph, plan_of(graph), {"2.where": None}).code == "invalid_field"


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ("prompt", 3),
        ("prompt", None),
        ("prompt", ["6", 0]),
        ("prompt", {}),
        ("3.steps", "4"),
        ("3.steps", True),
        ("3.cfg", float("nan")),
        ("4.fast", 1),
        ("4.fast", "yes"),
    ],
)
def test_a_value_of_another_kind_is_refused(asked: str, value: Any) -> None:
    assert refusal(check_inputs, diffusion(), DIFFUSION, {asked: value}).code == "invalid_field"


def test_an_input_given_twice_is_refused() -> None:
    refused = refusal(check_inputs, diffusion(), DIFFUSION, {"prompt": "a", "6.text": "b"})
    assert refused.code == "invalid_field"
    assert "twice" in refused.message


def test_a_stranger_cannot_make_a_sentence_long_or_unprintable() -> None:
    refused = refusal(check_inputs, diffusion(), DIFFUSION, {"\x1b[2J" * 10_000: "x"})
    assert refused.message.isprintable()
    assert refused.path.isprintable()
    assert len(refused.message) + len(refused.path) < 300


# Template and filling


def test_graphs_that_differ_in_what_a_run_fills_in_have_one_template() -> None:
    one, other = diffusion(), diffusion()
    other["3"]["inputs"]["seed"] = 77
    other["5"]["inputs"]["batch_size"] = 4
    other["9"]["inputs"]["filename_prefix"] = "else"
    assert as_template(one, DIFFUSION) == as_template(other, DIFFUSION)
    other["6"]["inputs"]["text"] = "else"
    assert as_template(one, DIFFUSION) != as_template(other, DIFFUSION)


def test_a_run_puts_its_values_where_the_plan_says() -> None:
    graph = diffusion()
    values = {"6.text": "a fox"}
    template = as_template(graph, DIFFUSION)
    filled = fill(template, DIFFUSION, prefixes=["comfyledger/b/1-a1"], seed=2**53 - 1, batch_size=4, inputs=values)
    graph["3"]["inputs"]["seed"] = 2**53 - 1
    graph["5"]["inputs"]["batch_size"] = 4
    graph["6"]["inputs"]["text"] = "a fox"
    graph["9"]["inputs"]["filename_prefix"] = "comfyledger/b/1-a1"
    assert filled == graph


def test_every_output_gets_a_prefix_of_its_own() -> None:
    graph = diffusion() | {"12": node("SaveVideo", video=["8", 0], filename_prefix="v", format="mp4")}
    outputs = (
        Output("9", "9.filename_prefix"),
        Output("12", "12.filename_prefix", "video", "{prefix}_{place:05}_.mp4"),
    )
    plan = msgspec.structs.replace(DIFFUSION, outputs=outputs)
    template = as_template(graph, plan)
    assert [template[output.node]["inputs"]["filename_prefix"] for output in plan.every_output] == [None, None]
    filled = fill(template, plan, prefixes=["a", "a-o2"], seed=1, batch_size=1, inputs={})
    assert [filled[output.node]["inputs"]["filename_prefix"] for output in outputs] == ["a", "a-o2"]
    assert refusal(check_inputs, graph, plan, {"12.filename_prefix": "x"}).code == "invalid_field"
    with pytest.raises(ValueError, match="zip"):
        fill(template, plan, prefixes=["a"], seed=1, batch_size=1, inputs={})


def test_a_plan_without_a_list_of_outputs_has_one_that_saves_as_saveimage_does() -> None:
    """Plans in the log from before several outputs were possible are read like this."""
    (output,) = DIFFUSION.every_output
    assert output == Output("9", "9.filename_prefix", "image", "{prefix}_{place:05}_.png")
    assert output.file_of("comfyledger/b/1-a1", 2) == "comfyledger/b/1-a1_00002_.png"
    assert Output("9", "9.filename_prefix").file_of("p", 1) == ""
    assert msgspec.to_builtins(DIFFUSION).keys() == {"output", "prefix", "seeds", "batch_size", "inputs"}


def test_named_inputs_keep_their_defaults() -> None:
    template = as_template(diffusion(), DIFFUSION)
    filled = fill(template, DIFFUSION, prefixes=["p"], seed=1, batch_size=1, inputs={})
    assert filled["6"] == diffusion()["6"]


def test_a_plan_of_another_graph_is_refused() -> None:
    assert refusal(as_template, image(), DIFFUSION).code == "unknown_input"
    unseeded = msgspec.structs.replace(DIFFUSION, output="77", seeds=(), batch_size=None)
    assert refusal(as_template, image(), unseeded).code == "unknown_input"
    assert refusal(fill, diffusion(), DIFFUSION, prefixes=["p"], seed=1, batch_size=1, inputs={"6.x": 1})


def test_a_plan_survives_the_event_log() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DIFFUSION), type=Plan) == DIFFUSION


# Description


def test_a_description_names_everything_that_was_found() -> None:
    assert describe(DIFFUSION, diffusion()) == (
        "output: node 9 (SaveImage) · seed: 3.seed (KSampler) · batch size: 5.batch_size (EmptyLatentImage)"
        " · inputs: prompt = 6.text (CLIPTextEncode)"
    )


def test_a_description_says_what_was_not_found() -> None:
    graph = {"1": node("LoadImage"), "9": node("SaveImage", images=["1", 0], filename_prefix="x")}
    said = describe(plan_of(graph), graph)
    assert "seed: none found" in said
    assert "batch size: none found" in said


# Size


def test_ten_thousand_nodes_in_a_line_are_quick() -> None:
    """A generous bound: one pass takes some tens of milliseconds, anything quadratic takes minutes."""
    graph = {str(i): node("Step", image=[str(i + 1), 0], seed=[str(i + 1), 0]) for i in range(10_000)}
    graph["10000"] = node("EmptyImage", seed=4, batch_size=1)
    graph["save"] = node("SaveImage", images=["0", 0], filename_prefix="x")
    began = time.process_time()
    plan = plan_of(read_graph(graph, 10 * ROOM))
    fill(as_template(graph, plan), plan, prefixes=["p"], seed=1, batch_size=1, inputs={})
    describe(plan, graph)
    refusal(check_inputs, graph, plan, {"77.sed": 1})
    assert time.process_time() - began < 5
    assert plan.seeds == ("10000.seed",)


# Laws for anything


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | WILD.map(msgspec.json.encode) | WILD)
def test_anything_is_read_or_refused(source: Any) -> None:
    said = ""
    try:
        read_graph(source, ROOM)
    except Refused as refused:
        said = refused.message + refused.hint + refused.path
    assert said.isprintable()


def saving(graph: dict[str, Any]) -> dict[str, Any]:
    """The same graph with an output that all others feed."""
    others = {i: n for i, n in graph.items() if n["class_type"] != "SaveImage" and "filename_prefix" not in n["inputs"]}
    feeding = {f"images{k or ''}": [node_id, 0] for k, node_id in enumerate(others)}
    return {**others, "save": node("SaveImage", filename_prefix="x", **feeding)}


@settings(max_examples=120, deadline=None)
@given(GRAPHS.map(saving), st.data())
def test_filling_in_changes_the_named_addresses_and_nothing_else(graph: dict[str, Any], draw: Any) -> None:
    graph, plan = plan_workflow(graph)
    before = copy.deepcopy(graph)
    texts = [f"{i}.{k}" for i, n in graph.items() for k, v in n["inputs"].items() if isinstance(v, str)]
    prefixes = {output.prefix: f"ours-{output.node}" for output in plan.every_output}
    texts = [address for address in texts if address not in (*prefixes, plan.batch_size, *plan.seeds)]
    chosen = draw.draw(st.lists(st.sampled_from(texts), unique=True)) if texts else []
    inputs = check_inputs(graph, plan, dict.fromkeys(chosen, "new"))
    template = as_template(graph, plan)
    template_before = copy.deepcopy(template)
    names = list(prefixes.values())
    filled = copy.deepcopy(fill(template, plan, prefixes=names, seed=11, batch_size=4, inputs=inputs))
    assert (graph, template) == (before, template_before)

    expected = dict.fromkeys(chosen, "new") | dict.fromkeys(plan.seeds, 11) | prefixes
    if plan.batch_size is not None:
        expected[plan.batch_size] = 4
    for address, value in expected.items():
        node_id, _, name = address.partition(".")
        assert filled[node_id]["inputs"].pop(name) == value
        if address not in prefixes or name in before[node_id]["inputs"]:  # a prefix need not be there yet
            del before[node_id]["inputs"][name]
    assert filled == before


@pytest.mark.parametrize("denied", [("KSampler",), ("*Sampler",), ("K*r", "Other"), ("*",)])
def test_a_denied_node_class_is_refused_with_its_node(denied: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        check_classes(diffusion(), denied)
    assert (refused.value.code, refused.value.path) == ("workflow_node_denied", "3")
    assert refused.value.hint


@pytest.mark.parametrize("denied", [(), ("ksampler",), ("Sampler",), ("KSampler?",), ("[K]Sampler",), ("K.ampler",)])
def test_a_class_is_denied_by_its_whole_name_only(denied: tuple[str, ...]) -> None:
    check_classes(diffusion(), denied)


def test_a_file_as_comfyui_writes_it_is_read() -> None:
    node = '"class_type": "A", "inputs": {"x": 1}, "is_changed": [NaN, Infinity]'
    text = f'\ufeff{{"1": {{{node}}}}}'.encode()
    assert read_graph(text, 10_000) == {"1": {"class_type": "A", "inputs": {"x": 1}}}


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused_by_its_path(number: str) -> None:
    text = f'{{"1": {{"class_type": "A", "inputs": {{"x": [{number}]}}}}}}'.encode()
    with pytest.raises(Refused) as refused:
        read_graph(text, 10_000)
    assert (refused.value.code, refused.value.path) == ("workflow_invalid", "1.inputs.x[0]")


@pytest.mark.parametrize(
    "text",
    [
        b'{"1": {"class_type": "A", "inputs": {}}, "1": {"class_type": "B", "inputs": {}}}',
        b'\xef\xbb\xbf{"1": {"class_type": "A", "inputs": {"a": 1, "\\u0061": 2}}}',
    ],
)
def test_a_file_in_which_a_key_stands_twice_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(Refused, match="occurs twice") as refusal:
        read_graph(text, 10_000)
    assert refusal.value.path.startswith("1")


def test_a_key_that_stands_twice_among_very_many_is_found_at_once() -> None:
    keys = ",".join(f'"{i}":0' for i in range(50_000))
    began = time.process_time()
    assert "occurs twice" in refusal(read_graph, f'{{{keys},"49999":1}}'.encode(), ROOM).message
    assert time.process_time() - began < 5
