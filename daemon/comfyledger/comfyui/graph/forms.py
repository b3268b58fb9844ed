"""Finds the graph in the forms that people have it in: in wrappers, and beside entries that are no nodes. PURE.

A JSON object comes in, its nesting already bounded. Each part of it is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.graph.nodes import is_int, printable
from comfyledger.errors import Refused
from comfyledger.wire.picture import EXPORT_HINT

WRAPPERS: Final = ("prompt", "output", "workflow", "workflow_json", "input")
"""Where other programs put a graph: a request of ComfyUI, its own export of both formats, and servers around it."""
NO_NODES_MAX: Final = 100
_NUMBERED: Final = re.compile(r"[0-9:]+")


class ReadGraph(NamedTuple):
    nodes: dict[str, Any]
    no_nodes: tuple[str, ...]
    """What else was there, and is left out: `_meta`, or `input.webhook` of a wrapper. At most a hundred, printable."""


def graph_in(decoded: dict[str, Any]) -> ReadGraph:
    """The graph in an object, with everything in it that may be a node. What is around it is named.

    Raises Refused: workflow_ui_format; workflow_invalid if there is no node.
    """
    way = _way(decoded, _has_nodes)
    if way is None and _way(decoded, _is_ui) is not None:
        raise Refused("workflow_ui_format", hint=EXPORT_HINT)
    left_out: list[str] = []
    graph, where = decoded, ""
    for wrapper in way or ():
        left_out += (f"{where}{key}" for key in graph if key != wrapper)
        graph, where = graph[wrapper], f"{where}{wrapper}."
    others = _no_nodes(graph)
    if others and len(others) == len(graph):
        found = f"the entry {printable(others[0])}" if len(others) == 1 else f"{len(others)} entries"
        raise Refused(
            "workflow_invalid",
            f"The workflow has no node, only {found}.",
            hint=f"{EXPORT_HINT} Send the graph itself, or as the value of a key: {', '.join(WRAPPERS)}.",
            path=printable(others[0]),
        )
    left_out += (f"{where}{key}" for key in others)
    dropped = frozenset(others)
    nodes = {key: value for key, value in graph.items() if key not in dropped}
    return ReadGraph(nodes, tuple(map(printable, left_out[:NO_NODES_MAX])))


def document_in(decoded: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The document in the UI format that an object is or wraps; None if there is none."""
    way = _way(decoded, _is_ui)
    for wrapper in way or ():
        decoded = decoded[wrapper]
    return None if way is None else decoded


def _way(value: Mapping[str, Any], is_it: Callable[[Mapping[str, Any]], bool]) -> tuple[str, ...] | None:
    """The wrappers that lead to the first object of a kind; None if none does. A graph is not looked into.

    A key of any other name is a wrapper if it alone holds a graph: `{"note": "...", "api_graph": graph}`.
    """
    if is_it(value):
        return ()
    for wrapper in WRAPPERS:
        inner = value.get(wrapper)
        way = _way(inner, is_it) if isinstance(inner, dict) else None
        if way is not None:
            return wrapper, *way
    graphs = [key for key, inner in value.items() if isinstance(inner, dict) and is_it(inner)]
    return (graphs[0],) if len(graphs) == 1 else None


def _has_nodes(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(one, dict) and "class_type" in one for one in value.values())


def _is_ui(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("nodes"), list)


def _no_nodes(graph: Mapping[str, Any]) -> list[str]:
    """The entries that nobody meant as nodes. What a node is linked to is none of them, nor is a second graph: leaving
    it out would make another workflow.
    """
    others = {key for key, value in graph.items() if not _meant_as_node(key, value) and not _has_nodes(value)}
    if others:
        others -= _linked(graph)
    return [key for key in graph if key in others]


def _meant_as_node(key: str, value: object) -> bool:
    if not key or _NUMBERED.fullmatch(key):
        return True
    return isinstance(value, dict) and ("class_type" in value or isinstance(value.get("inputs"), dict))


def _linked(graph: Mapping[str, Any]) -> set[str]:
    """Every text that stands where a link has the id of a node."""
    return {
        value[0]
        for node in graph.values()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        for value in node["inputs"].values()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_int(value[1])
    }
