"""Laws of finding seeds and batch size in a graph. Graphs are plain values."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.comfyui.graph.read import Named, describe, plan_workflow
from comfyledger.errors import Refused
from support.graphs import ADDRESSES, DIFFUSION, IDS, ROOM, WILD, diffusion, image, node, plan_of, read_graph, refusal

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


def test_the_usual_graph_is_understood() -> None:
    assert plan_of(diffusion(), inputs={"prompt": "6.text"}) == DIFFUSION


@pytest.mark.parametrize(("name", "graph"), recorded_graphs())
def test_recorded_graphs_are_understood(name: str, graph: dict[str, Any]) -> None:
    """Node 9 saves in every recording; two_saves has another one beside it, partly_invalid lacks the
    prefix."""
    plan = plan_of(read_graph(graph, ROOM), outputs=["9"] if name == "two_saves" else None)
    assert plan.output == "9"
    assert plan.seeds == (("3.seed",) if name == "sampler" else ())
    assert plan.batch_size == ("5.batch_size" if name == "sampler" else "1.batch_size")


# Seeds and batch size


def test_all_seeds_that_feed_the_output_are_found_and_no_others() -> None:
    graph = diffusion()
    graph["10"] = node("KSamplerAdvanced", noise_seed=2, latent_image=["3", 0])
    graph["8"]["inputs"]["samples"] = ["10", 0]
    graph["11"] = node("KSampler", seed=3)
    assert plan_of(graph).seeds == ("3.seed", "10.noise_seed")


@pytest.mark.parametrize("name", ["seed", "value", "noise_seed", "int"])
def test_a_linked_seed_is_followed_to_its_number(name: str) -> None:
    graph = diffusion()
    graph["3"]["inputs"]["seed"] = ["12", 0]
    graph["12"] = node("Reroute", value=["13", 0])
    graph["13"] = node("Source", **{name: 5})
    graph["8"]["inputs"]["noise_seed"] = ["13", 0]
    assert plan_of(graph).seeds == (f"13.{name}",)


@pytest.mark.parametrize("value", [True, 1.5, None, ["4", 0], [1, 2], ["gone", 0]])
def test_a_seed_that_is_no_number_is_no_seed(value: Any) -> None:
    graph = diffusion()
    graph["3"]["inputs"]["seed"] = value
    assert plan_of(graph).seeds == ()


def test_circles_end() -> None:
    graph = image()
    graph["1"]["inputs"] |= {"image": ["9", 0], "seed": ["2", 0]}
    graph["2"] = node("A", value=["3", 0])
    graph["3"] = node("B", value=["2", 0])
    assert plan_of(graph).seeds == ()


def test_a_literal_list_is_no_link() -> None:
    graph = image(**{"2": node("KSampler", seed=1)})
    graph["1"]["inputs"] |= {"a": ["2", 0, 0], "b": ["2"], "c": ["2", "0"], "d": ["2", True], "e": [2, 0]}
    assert plan_of(graph).seeds == ()


def test_a_batch_size_is_found_only_where_a_batch_begins() -> None:
    graph = diffusion()
    graph["10"] = node("RebatchLatents", latents=["3", 0], batch_size=2)
    graph["11"] = node("SeedVR2VideoUpscaler", images=["8", 0], batch_size=5)
    graph["8"]["inputs"]["samples"] = ["10", 0]
    graph["9"]["inputs"]["images"] = ["11", 0]
    graph["12"] = node("EmptyLatentImage", batch_size=7)
    graph["3"]["inputs"]["model"] = ["13", 0]
    graph["13"] = node("Tagger", batch_size=8)
    assert plan_of(graph).batch_size == "5.batch_size"


@pytest.mark.parametrize("other", [2, ["5", 0]])
def test_several_batch_sizes_are_not_guessed(other: Any) -> None:
    graph = diffusion()
    graph["8"]["inputs"]["mask"] = ["10", 0]
    graph["10"] = node("EmptyImage", batch_size=other)
    plan = plan_of(graph)
    assert plan.batch_size is None
    assert "5.batch_size (EmptyLatentImage), 10.batch_size (EmptyImage)" in describe(plan, graph)
    assert plan_of(graph, batch_size="5.batch_size").batch_size == "5.batch_size"


def test_a_linked_batch_size_is_followed_to_its_number() -> None:
    graph = diffusion()
    graph["5"]["inputs"]["batch_size"] = ["12", 0]
    graph["12"] = node("PrimitiveInt", value=1)
    assert plan_of(graph).batch_size == "12.value"
    graph["5"]["inputs"]["width"] = ["12", 0]
    plan = plan_of(graph)
    assert (plan.batch_size, plan.batch_sizes_unclear) == (None, ("5.batch_size",))
    assert "not guessed; name it with `batch_size`: 5.batch_size (EmptyLatentImage)" in describe(plan, graph)


# What the configuration names


def test_what_the_configuration_names_is_not_looked_for() -> None:
    graph = diffusion()
    graph["11"] = node("Other", noise_seed=3, count=1)
    plan = plan_of(graph, outputs=["9"], seeds=["11.noise_seed", "11.noise_seed"], batch_size="11.count")
    assert plan.seeds == ("11.noise_seed",)
    assert plan.batch_size == "11.count"
    assert plan_of(graph, seeds=[]).seeds == ()


@pytest.mark.parametrize("wrong", [{"seeds": ["3.sed"]}, {"batch_size": "3.sed"}, {"inputs": {"prompt": "3.sed"}}])
def test_an_address_that_is_not_there_is_refused_with_the_nearest(wrong: dict[str, Any]) -> None:
    refused = refusal(plan_of, diffusion(), **wrong)
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
    assert refusal(plan_of, diffusion(), **wrong).code == "invalid_field"


# Laws for anything


@settings(max_examples=120, deadline=None)
@given(
    WILD,
    st.none() | st.lists(IDS | st.text(max_size=3), min_size=1, max_size=3),
    st.none() | st.lists(ADDRESSES, max_size=2),
    st.none() | ADDRESSES,
    st.dictionaries(st.text(max_size=4), ADDRESSES, max_size=2),
)
def test_a_plan_is_found_or_refused_and_the_graph_stays(
    graph: Any, outputs: Any, seeds: Any, batch_size: Any, inputs: Any
) -> None:
    before = copy.deepcopy(graph)
    said = ""
    try:
        named = Named(outputs and tuple(outputs), seeds and tuple(seeds), batch_size, inputs)
        planned, plan = plan_workflow(graph, named)
        said = describe(plan, planned)
    except Refused as refused:
        said = refused.message + refused.hint + refused.path
    assert said.isprintable()
    assert graph == before
