"""Laws of graphs that strangers make heavy on purpose: all are read in little time and memory.

Planning runs in the daemon's event loop, so a graph that takes a minute would stop everything else.
"""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from comfyledger.comfyui.graph.nodes import NAME_CHARS_MAX
from comfyledger.comfyui.graph.read import plan_workflow
from comfyledger.errors import Refused
from support.graphs import diffusion, node, plan_of, refusal

Graph = dict[str, Any]
BOUND_S = 3.0
"""They take 0.1 to 0.3 s. Without bounds they took 7 s and more."""


def save(source: str, slot: int = 0) -> Graph:
    return node("SaveImage", images=[source, slot], filename_prefix="x")


def inputs(count: int, source: str) -> Graph:
    return {f"i{place}": [source, 0] for place in range(count)}


def pictures_beside_pictures() -> Graph:
    """Each is a comparison of the one before it."""
    graph = {"a": node("LoadImage", image="a.png")}
    for place in range(2_500):
        before = f"m{place - 1}" if place else "a"
        graph |= {f"m{place}": node("ImageConcat", image1=[before, 0], image2=["a", 1]), str(place): save(f"m{place}")}
    return graph


def pictures_decoded_from_pictures() -> Graph:
    graph = {"a": node("LoadImage", image="a.png")}
    for place in range(2_500):
        before = f"m{place - 1}" if place else "a"
        graph |= {f"m{place}": node("DecodeAgain", samples=[before, 0]), str(place): save(f"m{place}")}
    return graph


def comparisons_of_one_large_comparison() -> Graph:
    graph = {"a": node("LoadImage", image="a.png"), "b": node("ImageConcat", **inputs(4_000, "a"))}
    graph["b"]["inputs"] = {f"image{place}": ["a", place] for place in range(4_000)}
    for place in range(2_500):
        graph |= {f"m{place}": node("ImageConcat", image1=["b", 0]), str(place): save(f"m{place}")}
    return graph


def switch_that_is_linked_to_itself() -> Graph:
    graph = diffusion()
    graph["s"] = node("AnySwitch", **inputs(30_000, "s"))
    graph["3"]["inputs"]["seed"] = ["s", 0]
    return graph


HEAVY = (
    pictures_beside_pictures,
    pictures_decoded_from_pictures,
    comparisons_of_one_large_comparison,
)


@pytest.mark.parametrize("heavy", HEAVY, ids=lambda heavy: heavy.__name__)
def test_a_graph_that_is_made_heavy_is_planned_quickly(heavy: Any) -> None:
    graph = heavy()
    began = time.process_time()
    with suppress(Refused):
        plan_workflow(graph)
    assert time.process_time() - began < BOUND_S


def test_links_in_a_circle_are_followed_in_little_memory() -> None:
    graph = switch_that_is_linked_to_itself()
    tracemalloc.start()
    try:
        plan_workflow(graph)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (node("x" * (NAME_CHARS_MAX + 1)), "class_type longer than 512"),
        ({"class_type": "A", "inputs": {"x" * (NAME_CHARS_MAX + 1): 1}}, "name longer than 512"),
    ],
)
def test_a_node_with_a_very_long_name_is_refused(broken: Graph, says: str) -> None:
    refused = refusal(plan_workflow, diffusion() | {"77": broken})
    assert (refused.code, refused.path) == ("workflow_invalid", "77")
    assert says in refused.message


def test_a_node_that_puts_nothing_side_by_side_is_no_comparison() -> None:
    """Two savers of different outputs of one node are two results."""
    graph = {"a": node("MakesTwo"), "8": save("a", 0), "9": save("a", 1)}
    assert [output.node for output in plan_of(graph).every_output] == ["8", "9"]
