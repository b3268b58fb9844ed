"""Laws of finding output, seeds and batch size in a graph. Graphs are plain values."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.comfyui.graph.read import as_template, describe, fill, find_plan, read_graph
from comfyledger.errors import Refused
from support.graphs import ADDRESSES, DIFFUSION, IDS, ROOM, WILD, diffusion, image, node, refusal

RECORDINGS = Path(__file__).parents[1] / "recordings" / "comfyui-0.33.0"


def recorded_graphs() -> list[tuple[str, dict[str, Any]]]:
    """Every graph that the recordings show in a history entry, once by content."""
    found = {}
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            step = json.loads(line)
            if "/history/" in step.get("path", "") and isinstance(step.get("response"), dict):
                for entry in step["response"].values():
                    found[json.dumps(entry["prompt"][2], sort_keys=True)] = (path.stem, entry["prompt"][2])
    return list(found.values())


# The output


def test_the_usual_graph_is_understood() -> None:
    assert find_plan(diffusion(), inputs={"prompt": "6.text"}) == DIFFUSION


@pytest.mark.parametrize(("name", "graph"), recorded_graphs())
def test_recorded_graphs_are_understood(name: str, graph: dict[str, Any]) -> None:
    """Node 9 saves in every recording; two_saves has another one beside it, partly_invalid lacks the
    prefix."""
    plan = find_plan(read_graph(graph, ROOM), output="9" if name == "two_saves" else None)
    assert plan.output == "9"
    assert plan.seeds == (("3.seed",) if name == "sampler" else ())
    assert plan.batch_size == ("5.batch_size" if name == "sampler" else "1.batch_size")


def test_a_preview_is_no_output() -> None:
    preview = node("PreviewImage", images=["1", 0], filename_prefix="stale")
    assert find_plan(image(**{"10": preview})).output == "9"
    only = {"1": node("EmptyImage", batch_size=1), "10": preview}
    assert refusal(find_plan, only).code == "workflow_no_output"
    assert refusal(find_plan, only, output="10").code == "workflow_output_unsupported"
    assert refusal(find_plan, {}).code == "workflow_no_output"


def test_two_outputs_are_named_with_id_class_and_title() -> None:
    graph = image(**{"10": node("Image Save", "Big\n" + "x" * 999, images=["1", 0], filename_prefix="y")})
    refused = refusal(find_plan, graph)
    assert refused.code == "workflow_output_ambiguous"
    assert '9 (SaveImage), 10 (Image Save, "Big?xx' in refused.message
    assert len(refused.message) < 200
    assert "output =" in refused.hint
    assert "[workflows.NAME]" in refused.hint
    assert find_plan(graph, output="10").prefix == "10.filename_prefix"


def test_a_strangers_saver_counts_by_its_prefix_and_its_image() -> None:
    source = {"1": node("EmptyImage", batch_size=1)}
    for name in ("images", "image"):
        saver = node("MySaver", filename_prefix="x", **{name: ["1", 0]})
        assert find_plan({**source, "2": saver}).output == "2"
    pixels = {**source, "2": node("MySaver", filename_prefix="x", pixels=["1", 0])}
    assert refusal(find_plan, pixels).code == "workflow_output_unsupported"
    assert find_plan(pixels, output="2").output == "2"


def test_a_prefix_that_is_a_link_or_missing_is_replaced() -> None:
    for inputs in ({"filename_prefix": ["1", 0]}, {}):
        graph = {"1": node("StringConcat"), "9": node("SaveImage", images=["1", 0], **inputs)}
        plan = find_plan(graph)
        filled = fill(as_template(graph, plan), plan, prefixes=["ours"], seed=1, batch_size=1, inputs={})
        assert filled["9"]["inputs"] == {"images": ["1", 0], "filename_prefix": "ours"}


@pytest.mark.parametrize(
    "saver",
    [
        node("SaveVideo", video=["1", 0], filename_prefix="v"),
        node("SaveAnimatedWEBP", images=["1", 0], filename_prefix="v"),
        node("SaveWEBM", images=["1", 0], filename_prefix="v"),
        node("SaveAudioMP3", audio=["1", 0], filename_prefix="v"),
        node("VHS_VideoCombine", images=["1", 0], filename_prefix="v"),
        node("SaveGLB", mesh=["1", 0], filename_prefix="v"),
        node("Save Audio Elsewhere", audio=["1", 0]),
        node("SaveImageWebsocket", images=["1", 0]),
        node("Image Saver", images=["1", 0], filename="v"),
    ],
)
def test_an_output_that_is_no_image_is_refused_by_name(saver: dict[str, Any]) -> None:
    graph = {"1": node("LoadVideo"), "7": saver}
    for refused in (refusal(find_plan, graph), refusal(find_plan, graph, output="7")):
        assert refused.code == "workflow_output_unsupported"
        assert f"7 ({saver['class_type']})" in refused.message
    assert find_plan(image(**{"7": saver})).output == "9"


def test_a_node_that_saves_latents_is_no_output() -> None:
    graph = {"1": node("EmptyLatentImage"), "7": node("SaveLatent", samples=["1", 0], filename_prefix="v")}
    assert refusal(find_plan, graph).code == "workflow_output_unsupported"


def test_an_output_that_is_not_there_is_refused_with_those_that_are() -> None:
    refused = refusal(find_plan, image(), output="8")
    assert refused.code == "workflow_no_output"
    assert "9 (SaveImage)" in refused.hint


# Seeds and batch size


def test_all_seeds_that_feed_the_output_are_found_and_no_others() -> None:
    graph = diffusion()
    graph["10"] = node("KSamplerAdvanced", noise_seed=2, latent_image=["3", 0])
    graph["8"]["inputs"]["samples"] = ["10", 0]
    graph["11"] = node("KSampler", seed=3)
    assert find_plan(graph).seeds == ("3.seed", "10.noise_seed")


@pytest.mark.parametrize("name", ["seed", "value", "noise_seed", "int"])
def test_a_linked_seed_is_followed_to_its_number(name: str) -> None:
    graph = diffusion()
    graph["3"]["inputs"]["seed"] = ["12", 0]
    graph["12"] = node("Reroute", value=["13", 0])
    graph["13"] = node("Source", **{name: 5})
    graph["8"]["inputs"]["noise_seed"] = ["13", 0]
    assert find_plan(graph).seeds == (f"13.{name}",)


@pytest.mark.parametrize("value", [True, 1.5, "7", None, ["4", 0], [1, 2], ["gone", 0]])
def test_a_seed_that_is_no_number_is_no_seed(value: Any) -> None:
    graph = diffusion()
    graph["3"]["inputs"]["seed"] = value
    assert find_plan(graph).seeds == ()


def test_circles_end() -> None:
    graph = image()
    graph["1"]["inputs"] |= {"image": ["9", 0], "seed": ["2", 0]}
    graph["2"] = node("A", value=["3", 0])
    graph["3"] = node("B", value=["2", 0])
    assert find_plan(graph).seeds == ()


def test_a_literal_list_is_no_link() -> None:
    graph = image(**{"2": node("KSampler", seed=1)})
    graph["1"]["inputs"] |= {"a": ["2", 0, 0], "b": ["2"], "c": ["2", "0"], "d": ["2", True], "e": [2, 0]}
    assert find_plan(graph).seeds == ()


def test_a_batch_size_is_found_only_where_a_batch_begins() -> None:
    graph = diffusion()
    graph["10"] = node("RebatchLatents", latents=["3", 0], batch_size=2)
    graph["11"] = node("SeedVR2VideoUpscaler", images=["8", 0], batch_size=5)
    graph["8"]["inputs"]["samples"] = ["10", 0]
    graph["9"]["inputs"]["images"] = ["11", 0]
    graph["12"] = node("EmptyLatentImage", batch_size=7)
    graph["3"]["inputs"]["model"] = ["13", 0]
    graph["13"] = node("Tagger", batch_size=8)
    assert find_plan(graph).batch_size == "5.batch_size"


@pytest.mark.parametrize("other", [2, ["5", 0]])
def test_several_batch_sizes_are_not_guessed(other: Any) -> None:
    graph = diffusion()
    graph["8"]["inputs"]["mask"] = ["10", 0]
    graph["10"] = node("EmptyImage", batch_size=other)
    plan = find_plan(graph)
    assert plan.batch_size is None
    assert "5.batch_size (EmptyLatentImage), 10.batch_size (EmptyImage)" in describe(plan, graph)
    assert find_plan(graph, batch_size="5.batch_size").batch_size == "5.batch_size"


def test_a_linked_batch_size_is_not_taken() -> None:
    graph = diffusion()
    graph["5"]["inputs"]["batch_size"] = ["12", 0]
    graph["12"] = node("PrimitiveInt", value=1)
    assert find_plan(graph).batch_size is None
    assert find_plan(graph, batch_size="12.value").batch_size == "12.value"


# What the configuration names


def test_what_the_configuration_names_is_not_looked_for() -> None:
    graph = diffusion()
    graph["11"] = node("Other", noise_seed=3, count=1)
    plan = find_plan(graph, output="9", seeds=["11.noise_seed", "11.noise_seed"], batch_size="11.count")
    assert plan.seeds == ("11.noise_seed",)
    assert plan.batch_size == "11.count"
    assert find_plan(graph, seeds=[]).seeds == ()


@pytest.mark.parametrize("wrong", [{"seeds": ["3.sed"]}, {"batch_size": "3.sed"}, {"inputs": {"prompt": "3.sed"}}])
def test_an_address_that_is_not_there_is_refused_with_the_nearest(wrong: dict[str, Any]) -> None:
    refused = refusal(find_plan, diffusion(), **wrong)
    assert refused.code == "unknown_input"
    assert "3.seed?" in refused.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": ["3.cfg"]},
        {"seeds": ["3.positive"]},
        {"batch_size": "6.text"},
        {"inputs": {"prompt": "6.clip"}},
        {"inputs": {"seed": "3.seed"}},
        {"inputs": {"n": "5.batch_size"}},
        {"inputs": {"name": "9.filename_prefix"}},
    ],
)
def test_an_address_that_cannot_be_filled_in_is_refused(wrong: dict[str, Any]) -> None:
    assert refusal(find_plan, diffusion(), **wrong).code == "invalid_field"


# Laws for anything


@settings(max_examples=120, deadline=None)
@given(
    WILD,
    st.none() | IDS | st.text(max_size=3),
    st.none() | st.lists(ADDRESSES, max_size=2),
    st.none() | ADDRESSES,
    st.dictionaries(st.text(max_size=4), ADDRESSES, max_size=2),
)
def test_a_plan_is_found_or_refused_and_the_graph_stays(
    graph: Any, output: Any, seeds: Any, batch_size: Any, inputs: Any
) -> None:
    before = copy.deepcopy(graph)
    said = ""
    try:
        plan = find_plan(graph, output=output, seeds=seeds, batch_size=batch_size, inputs=inputs)
        said = describe(plan, graph)
    except Refused as refused:
        said = refused.message + refused.hint + refused.path
    assert said.isprintable()
    assert graph == before
