"""Graphs as the documents that ComfyUI's page would save of them, as far as a conversion looks. (UI format, 0.4)"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

Graph = Mapping[str, Any]
MUTED, BYPASSED = 2, 4
_CONTROL = "fixed"
_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"}


def document(graph: Graph, info: Mapping[str, Any], modes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Ids are whole numbers. `info`: what `/object_info` answers. `modes`: MUTED or BYPASSED, by node."""
    numbers = count(1)
    links: list[list[Any]] = []
    nodes = [_node(node_id, node, info, (modes or {}).get(node_id, 0)) for node_id, node in graph.items()]
    by_id = {node["id"]: node for node in nodes}
    for node in nodes:
        for place, slot in enumerate(node["inputs"]):
            source = graph[str(node["id"])]["inputs"].get(slot["name"])
            if not _is_link(source):
                continue
            origin = by_id[int(source[0])]
            slot["link"] = next(numbers)
            outputs = origin["outputs"]
            kind = outputs[source[1]]["type"] if source[1] < len(outputs) else slot["type"]
            links.append([slot["link"], origin["id"], source[1], node["id"], place, kind])
            if source[1] < len(outputs):
                outputs[source[1]]["links"].append(slot["link"])
    return {"version": 0.4, "last_node_id": max(map(int, graph)), "nodes": nodes, "links": links}


def _node(node_id: str, node: Graph, info: Mapping[str, Any], mode: int) -> dict[str, Any]:
    linked = {name: ["*", {}] for name, value in node["inputs"].items() if _is_link(value)}
    said = info.get(node["class_type"], {"input": {"required": linked}, "output": []})
    inputs = list(_inputs(said["input"], node["inputs"]))
    values: list[Any] = []
    slots: list[dict[str, Any]] = []
    for name, kind, config in inputs:
        is_widget = kind in _WIDGETS and not config.get("forceInput")
        if not is_widget or _is_link(node["inputs"].get(name)):
            widget = {"widget": {"name": name}} if is_widget else {}
            slots.append({"name": name, "type": kind, "link": None, **widget})
        if is_widget:
            given = node["inputs"].get(name)
            values.append(config.get("default", 0) if _is_link(given) else given)
            values += [_CONTROL] if config.get("control_after_generate") or name in {"seed", "noise_seed"} else []
            values += ["image"] if config.get("image_upload") else []
    outputs = [{"name": kind, "type": kind, "links": []} for kind in said["output"]]
    return {
        "id": int(node_id),
        "type": node["class_type"],
        "mode": mode,
        "inputs": slots,
        "outputs": outputs,
        "widgets_values": values,
        "properties": {},
    }


def _inputs(sections: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> Any:
    """Name, type and description of each input that a node has, in the order of the page."""
    for section in ("required", "optional"):
        for short, spec in sections.get(section, {}).items():
            name, kind = prefix + short, "COMBO" if isinstance(spec[0], list) else spec[0]
            config = spec[1] if len(spec) > 1 else {}
            if kind == "COMFY_AUTOGROW_V3":
                ((inner, (inner_kind, *_)),) = config["template"]["input"]["required"].items()
                assert inner
                yield from ((one, inner_kind, {}) for one in given if one.startswith(f"{name}."))
                continue
            yield name, kind, config
            if kind == "COMFY_DYNAMICCOMBO_V3":
                for option in config["options"]:
                    if option["key"] == given.get(name):
                        yield from _inputs(option["inputs"], given, f"{name}.")


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2
