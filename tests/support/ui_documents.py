"""Small documents in ComfyUI's UI format, and a server whose node classes they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.ui_format.convert import convert

Document = dict[str, Any]
BYTES_MAX = 1 << 19


def node_class(required: Mapping[str, Any], *outputs: str, optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A class. One without outputs is an output of ComfyUI."""
    return {
        "input": {"required": dict(required), "optional": dict(optional or {})},
        "output": list(outputs),
        "output_node": not outputs,
        "display_name": "Shown",
    }


CLASSES = {
    "Load": node_class({"name": ["STRING", {}]}, "MODEL"),
    "Empty": node_class({"width": ["INT", {"default": 512}], "height": ["INT", {"default": 512}]}, "IMAGE"),
    "Sample": node_class(
        {
            "model": ["MODEL"],
            "seed": ["INT", {}],
            "steps": ["INT", {"default": 20}],
            "sampler": [["euler", "ddim"], {}],
            "image": ["IMAGE"],
        },
        "IMAGE",
    ),
    "Blur": node_class({"image": ["IMAGE"], "radius": ["INT", {"default": 1}]}, "IMAGE"),
    "Text": node_class({"text": ["STRING", {"multiline": True, "dynamicPrompts": True}]}, "STRING"),
    "Join": node_class({"one": ["STRING", {"forceInput": True}], "other": ["STRING", {}]}, "STRING"),
    "Save": node_class({"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}),
    "Show": node_class({"text": ["STRING", {"forceInput": True}]}),
}
INFO = ObjectInfo(CLASSES, "digest")


def node(
    node_id: Any, kind: str, values: Any = None, *, links: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A node. `links`: what its inputs are linked to, by name, as ids of links."""
    inputs = [{"name": name, "type": "*", "link": link} for name, link in (links or {}).items()]
    return {"id": node_id, "type": kind, "mode": 0, "inputs": inputs, "outputs": [], "widgets_values": values, **more}


def document(*nodes: Mapping[str, Any], links: list[Any] | None = None, **more: Any) -> Document:
    return {"version": 0.4, "nodes": list(nodes), "links": links or [], **more}


def subgraph(
    name: str,
    *nodes: Mapping[str, Any],
    links: list[Any],
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
) -> Document:
    """A definition. A port is `(name, type, ids of links)`. Links are arrays here and are written as objects."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return {
        "id": name,
        "nodes": list(nodes),
        "links": [dict(zip(keys, link, strict=True)) for link in links],
        "inputs": [_port(port) for port in inputs or []],
        "outputs": [_port(port) for port in outputs or []],
    }


def _port(port: Any) -> dict[str, Any]:
    return {"name": port[0], "type": port[1], "linkIds": port[2]}


def graph_of(said: Mapping[str, Any], info: ObjectInfo = INFO) -> dict[str, Any]:
    return convert(said, info, BYTES_MAX)


def inputs_of(said: Mapping[str, Any], info: ObjectInfo = INFO) -> dict[str, Any]:
    """What each node of the graph gets, by id."""
    return {node_id: one["inputs"] for node_id, one in graph_of(said, info).items()}


PROPERTIES = {
    "proxyWidgets": [["6", "value"], ["5", "radius", "1"], ["-1", "image"]],
    "proxyWidgetErrorQuarantine": [{"originalEntry": ["-1", "image"], "hostValue": None}],
}


def of_everything() -> Document:
    """A document with one of everything."""
    inside = subgraph(
        "sub",
        node(5, "Blur", [3], links={"image": 1}),
        node(6, "PrimitiveNode", [64, "fixed"], outputs=[{"type": "INT", "links": [3]}]),
        links=[[1, -10, 0, 5, 0, "IMAGE"], [2, 5, 0, -20, 0, "IMAGE"], [3, 6, 0, 5, 1, "INT"]],
        inputs=[("image", "IMAGE", [1])],
        outputs=[("image", "IMAGE", [2])],
    )
    return document(
        node(1, "Empty", {"width": 8}),
        node(2, "sub", [3], links={"image": 1}, properties=PROPERTIES),
        node(3, "SetNode", ["it"], links={"IMAGE": 2}),
        node(4, "GetNode", ["it"]),
        node(7, "Sample", [1, "fixed"], links={"image": 3}, mode=4, outputs=[{"type": "IMAGE", "links": [4]}]),
        node(8, "Nowhere", [1], widgets_values_named={"n": 1}),
        node(9, "Save", ["x"], links={"images": 4}),
        node(10, "Anything Everywhere", mode=2),
        links=[[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0], [3, 4, 0, 7, 4], [4, 7, 0, 9, 0]],
        definitions={"subgraphs": [inside]},
        extra={"ue_links": [{"downstream": 9, "downstream_slot": 0, "upstream": "1", "controller": 10, "type": "*"}]},
        last_node_id=9,
    )
