"""Workflows for tests: graphs of a few nodes, the usual one and its plan, and graphs of any kind for Hypothesis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from comfyledger.comfyui.graph.read import Named, Plan, plan_workflow
from comfyledger.comfyui.graph.read import read_graph as read
from comfyledger.errors import Refused

ROOM = 1_000_000


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    return {**made, "_meta": {"title": title}} if title else made


def diffusion() -> dict[str, Any]:
    return {
        "3": node("KSampler", seed=6, steps=4, cfg=7.0, positive=["6", 0], latent_image=["5", 0]),
        "5": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "6": node("CLIPTextEncode", text="portrait", clip=["4", 1]),
        "4": node("CheckpointLoaderSimple", ckpt_name="a.safetensors", fast=True),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", "Final", images=["8", 0], filename_prefix="ComfyUI"),
    }


def image(**more: Any) -> dict[str, Any]:
    """The smallest graph that saves an image, and other nodes by id."""
    saver = node("SaveImage", images=["1", 0], filename_prefix="x")
    return {"1": node("EmptyImage", width=64, batch_size=1), "9": saver, **more}


DIFFUSION = Plan(
    output="9",
    prefix="9.filename_prefix",
    seeds=("3.seed",),
    batch_size="5.batch_size",
    inputs={"prompt": "6.text"},
)


def read_graph(source: Any, graph_bytes_max: int) -> dict[str, Any]:
    """The nodes of a graph, without the names of what was left out."""
    return read(source, graph_bytes_max).nodes


def plan_of(graph: Any, **named: Any) -> Plan:
    """The plan of a graph, without the graph."""
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in named.items()}
    return plan_workflow(graph, Named(**values))[1]


def refusal(call: Any, *args: Any, **named: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*args, **named)
    return caught.value


# Any graph

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v), max_leaves=6
)
IDS = st.sampled_from(["1", "2", "3", "a:4", "9"])
NAMES = st.sampled_from(["seed", "noise_seed", "value", "batch_size", "images", "image", "filename_prefix", "text"])
CLASSES = st.sampled_from(["SaveImage", "EmptyImage", "EmptyLatentImage", "KSampler", "SaveVideo", "Image Save", "é"])
INPUTS = st.dictionaries(NAMES, st.tuples(IDS, st.integers(0, 2)).map(list) | SCALARS | VALUES, max_size=5)
NODES = st.fixed_dictionaries(
    {"class_type": CLASSES, "inputs": INPUTS}, optional={"_meta": st.none() | st.fixed_dictionaries({"title": VALUES})}
)
GRAPHS = st.dictionaries(IDS, NODES, min_size=1)
WILD = st.dictionaries(IDS | st.text(max_size=4), NODES | VALUES)
ADDRESSES = st.builds("{}.{}".format, IDS, NAMES) | st.text(max_size=6)
