"""Goes through the nodes that feed the outputs, and finds all mistakes in them. PURE.

Inputs are checked as far as the declared inputs of the classes lead. A link beyond those brings no more than the
question whether the class of its node is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final, Literal

from comfyledger.comfyui.graph.checks.inputs import Fault, fault_of, leads_to_node
from comfyledger.comfyui.graph.checks.refusal import MISTAKES_MAX
from comfyledger.comfyui.graph.checks.replaced import is_known
from comfyledger.comfyui.graph.checks.server import Server
from comfyledger.comfyui.graph.nodes import Graph, by_number, node_text, printable, some_of, upstream
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import NodeMistake

Level = Literal["full", "classes"]
CYCLES_MAX: Final = 8


def find_mistakes(
    graph: Graph,
    outputs: Iterable[str],
    info: ObjectInfo,
    *,
    filled: Collection[str] = frozenset(),
    level: Level = "full",
) -> tuple[NodeMistake, ...]:
    """Everything for which ComfyUI would refuse the graph, in the order of the nodes, at most MISTAKES_MAX.

    `outputs`: the nodes that are asked for. `filled`: addresses that a run fills in; what is there now does not count.
    Equal graph, outputs, `info.digest`, `filled` and `level` give equal results. With level `classes` only the classes
    of the nodes are looked at.
    """
    server = Server(info)
    wanted = list(outputs)
    fed = sorted(upstream(graph, wanted), key=by_number)
    found = [
        _unknown_class(server, graph, node_id) for node_id in fed if not is_known(graph[node_id]["class_type"], info)
    ]
    found += [_no_output(graph, node_id) for node_id in wanted if server.runs_only_for_others(graph[node_id])]
    if level == "full":
        edges = _edges(server, graph, wanted)
        for node_id in sorted(edges, key=by_number):
            found += _of_node(server, graph, node_id, graph[node_id], but=filled)
        found += _cycles(graph, edges)
    return tuple(sorted(found, key=lambda mistake: by_number(mistake.node))[:MISTAKES_MAX])


def find_image_mistakes(
    graph: Graph,
    images: Iterable[Mapping[str, Any]],
    info: ObjectInfo,
    *,
    feeding: Collection[str],
    loads: Iterable[Collection[str]] = (),
) -> dict[int, tuple[NodeMistake, ...]]:
    """The mistakes of values that a request gives to its images, by the place of the image; right ones are left out.

    `images`: for each image its values by address. `loads`: for each image the addresses that get a file; what stands
    there does not count. The graph has no mistakes. `feeding`: its nodes that are run, as `upstream` finds them. Only
    nodes that get a value are looked at, so that a thousand images cost little. It ends at MISTAKES_MAX mistakes.
    """
    server = Server(info)
    found: dict[int, tuple[NodeMistake, ...]] = {}
    left = MISTAKES_MAX
    for place, (values, filled) in enumerate(zip(images, chain(loads, repeat(())), strict=False)):
        nodes = _by_node(values, feeding)
        mistakes = tuple(one for node_id, given in nodes for one in _of_values(server, graph, node_id, given, filled))
        if mistakes:
            found[place] = mistakes[:left]
            left -= len(found[place])
        if not left:
            break
    return found


def _edges(server: Server, graph: Graph, outputs: Iterable[str]) -> dict[str, list[str]]:
    """Every node that ComfyUI looks at, with the nodes that it follows the links to."""
    edges: dict[str, list[str]] = {}
    waiting = list(outputs)
    while waiting:
        node_id = waiting.pop()
        if node_id not in edges:
            edges[node_id] = _sources(server, graph, graph[node_id])
            waiting += edges[node_id]
    return edges


def _sources(server: Server, graph: Graph, node: Graph) -> list[str]:
    """What the declared inputs of a node are linked to; all its inputs if its class is not known."""
    given = node["inputs"]
    node_class = server.class_of(node)
    declared: Collection[str] = given if node_class is None else server.inputs(node_class, given)
    return [value[0] for name, value in given.items() if name in declared and leads_to_node(graph, value)]


def _of_node(
    server: Server,
    graph: Graph,
    node_id: str,
    node: Graph,
    *,
    only: Collection[str] | None = None,
    but: Collection[str] = (),
) -> Iterator[NodeMistake]:
    """The mistakes in the declared inputs of a node. `only`: names of inputs, None for all. `but`: addresses."""
    node_class = server.class_of(node)
    if node_class is None:
        return
    for name, one in server.inputs(node_class, node["inputs"]).items():
        if (only is not None and name not in only) or f"{node_id}.{name}" in but:
            continue
        fault = None
        if name in node["inputs"]:
            fault = fault_of(server, graph, node_class, one, node["inputs"][name])
        elif one.required:
            fault = Fault("required_input_missing", f"the required input {printable(name)} is missing")
        if fault is not None:
            yield _mistake(graph, node_id, fault, name)


def _by_node(values: Mapping[str, Any], feeding: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    nodes: dict[str, dict[str, Any]] = {}
    for address, value in values.items():
        node_id, _, name = address.partition(".")
        if node_id in feeding:
            nodes.setdefault(node_id, {})[name] = value
    yield from nodes.items()


def _of_values(
    server: Server, graph: Graph, node_id: str, values: Mapping[str, Any], filled: Collection[str]
) -> Iterator[NodeMistake]:
    """The mistakes of a node that gets values. A dynamic choice may bring other inputs, so then all are looked at."""
    node = {**graph[node_id], "inputs": {**graph[node_id]["inputs"], **values}}
    node_class = server.class_of(node)
    if node_class is not None:
        only = None if server.is_dynamic(node_class) else values
        yield from _of_node(server, graph, node_id, node, only=only, but=filled)


def _unknown_class(server: Server, graph: Graph, node_id: str) -> NodeMistake:
    class_type = graph[node_id]["class_type"]
    near = server.nearest.to(class_type, server.classes)
    fault = Fault("missing_node_type", "ComfyUI does not have this class", printable(class_type), near)
    return _mistake(graph, node_id, fault)


def _no_output(graph: Graph, node_id: str) -> NodeMistake:
    return _mistake(graph, node_id, Fault("prompt_no_outputs", "ComfyUI does not take it for an output"))


def _cycles(graph: Graph, edges: Mapping[str, list[str]]) -> list[NodeMistake]:
    """A mistake for each of the first few circles of links, at its node with the smallest number."""
    found: list[NodeMistake] = []
    done: set[str] = set()
    for start in sorted(edges, key=by_number):
        for circle in _circles_from(start, edges, done):
            first = min(circle, key=by_number)
            place = circle.index(first)
            others = some_of(node_text(graph, node_id) for node_id in [*circle[place + 1 :], *circle[:place]])
            text = f"it needs its own result, through {others}" if others else "it is linked to itself"
            found.append(_mistake(graph, first, Fault("dependency_cycle", text)))
            if len(found) == CYCLES_MAX:
                return found
    return found


def _circles_from(start: str, edges: Mapping[str, list[str]], done: set[str]) -> Iterator[list[str]]:
    """The circles that a walk from a node meets. It goes in depth, without recursion."""
    if start in done:
        return
    done.add(start)
    path = {start: iter(edges[start])}
    while path:
        node_id, sources = next(reversed(path.items()))
        source = next(sources, None)
        if source is None:
            del path[node_id]
        elif source in path:
            way = list(path)
            yield way[way.index(source) :]
        elif source not in done:
            done.add(source)
            path[source] = iter(edges[source])


def _mistake(graph: Graph, node_id: str, fault: Fault, name: str = "") -> NodeMistake:
    nearest = f"; the nearest known: {', '.join(fault.near)}" if fault.near else ""
    return NodeMistake(
        node_id,
        printable(graph[node_id]["class_type"]),
        printable(name),
        fault.kind,
        fault.found,
        fault.near,
        f"Node {node_text(graph, node_id)}: {fault.text}{nearest}.",
        fault.is_file,
    )
