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
