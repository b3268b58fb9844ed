"""Turns a document in ComfyUI's UI format into a graph in its API format, as ComfyUI's own page does it. PURE.

The document is read (`document`), ids that stand twice are changed (`renumber`), the values of widgets get their names
(`widgets`, `promoted`), subgraphs are written out once for each node of theirs, and each input is followed back to the
output that feeds it (`follow`). What the result will hold is counted before it is made. (`graphToPrompt` of ComfyUI's
frontend)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from comfyledger.comfyui.graph.checks import find_mistakes, refusal
from comfyledger.comfyui.graph.forms import document_in
from comfyledger.comfyui.graph.nodes import is_link, node_text, printable, some_of, titled, upstream
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.ui_format.choices import first_choice
from comfyledger.comfyui.ui_format.document import (
    NODES_MAX,
    SLOTS_MAX,
    Document,
    Level,
    Node,
    Slot,
    invalid,
    read,
    too_many_nodes,
)
from comfyledger.comfyui.ui_format.everywhere import link_everywhere
from comfyledger.comfyui.ui_format.follow import PAGE_ONLY, SET_NODE, Following, Given, Instance
from comfyledger.comfyui.ui_format.promoted import PRIMITIVE, promote
from comfyledger.comfyui.ui_format.renumber import renumber
from comfyledger.comfyui.ui_format.widgets import fill, fill_unknown
from comfyledger.errors import Refused

GRAPHS_A_DOCUMENT: Final = 8
"""A document has sizes, positions, colours and slots beside the graph: so much longer may it be than the graph."""
NESTED_MAX: Final = 32
"""Subgraphs in subgraphs."""
GROUP_NODE: Final = ("workflow>", "workflow/")


class Size(NamedTuple):
    """What a level becomes, with all subgraphs written out."""

    nodes: int
    slots: int
    depth: int
    """How deeply subgraphs are nested."""


def read_document(text: bytes, info: ObjectInfo, graph_bytes_max: int) -> dict[str, Any]:
    """The graph of a document that is JSON and may stand in a wrapper.

    Raises Refused: graph_too_large, workflow_invalid, and as `convert` does.
    """
    if len(text) > GRAPHS_A_DOCUMENT * graph_bytes_max:
        raise _too_large(f"{len(text):,}", GRAPHS_A_DOCUMENT * graph_bytes_max)
    document = document_in(_object(text))
    if document is None:
        raise invalid("The workflow is not in the UI format.")
    return convert(document, info, graph_bytes_max)


def convert(document: Mapping[str, Any], info: ObjectInfo, graph_bytes_max: int) -> dict[str, Any]:
    """The graph of a document.

    Raises Refused: workflow_invalid (the path is the node or the place); graph_too_large; workflow_failed_validation
    for nodes that an output needs and whose classes the server does not have, all of them at once.
    """
    read_in = read(document)
    order = leaves_first(read_in)
    link_everywhere(read_in)
    renamed = renumber(read_in)
    for level in read_in.levels():
        _prepare(read_in, level, info)
        _apply_primitives(level)
    promote(read_in, order, renamed)
    graph, nodes = _graph(read_in, info, graph_bytes_max)
    _check_convertible(graph, info, nodes)
    return graph


# ---- what it will be


def leaves_first(document: Document) -> list[Level]:
    """The levels, each after those of the subgraphs that it has nodes of.

    Raises Refused (workflow_invalid) if a subgraph contains itself, or if the graph would have too many nodes.
    """
    users: dict[str, list[str]] = {key: [] for key in document.subgraphs}
    waits: dict[str, int] = {}
    for level in document.subgraphs.values():
        used = {inside.id for _, inside in document.hosts(level)}
        waits[level.id] = len(used)
        for key in used:
            users[key].append(level.id)
    ready = [key for key, count in waits.items() if not count]
    sizes: dict[str, Size] = {}
    for key in ready:
        sizes[key] = _size(document, document.subgraphs[key], sizes)
        for user in users[key]:
            waits[user] -= 1
            if not waits[user]:
                ready.append(user)
    if len(ready) < len(document.subgraphs):
        raise invalid("A subgraph of the workflow contains itself.", "definitions.subgraphs")
    _size(document, document.root, sizes)
    return [*(document.subgraphs[key] for key in ready), document.root]


def _size(document: Document, level: Level, sizes: Mapping[str, Size]) -> Size:
    """Raises Refused (workflow_invalid) if it is too much."""
    nodes, slots, depth = len(level.nodes), sum(len(node.slots) for node in level.nodes.values()), 0
    for host, inside in document.hosts(level):
        slots += len(inside.inputs) + len(inside.outputs)
        if host.is_active:
            inner = sizes[inside.id]
            nodes, slots, depth = nodes + inner.nodes, slots + inner.slots, max(depth, inner.depth + 1)
    if nodes > NODES_MAX:
        raise too_many_nodes()
    if slots > SLOTS_MAX:
        raise invalid(f"The nodes of the workflow have more than {SLOTS_MAX:,} inputs.")
    if depth > NESTED_MAX:
        raise invalid(f"The subgraphs of the workflow are nested more than {NESTED_MAX} levels deep.")
    return Size(nodes, slots, depth)


# ---- the values


def _prepare(document: Document, level: Level, info: ObjectInfo) -> None:
    """Names of values and slots for each node, and where each link ends."""
    for node in level.nodes.values():
        inside = document.subgraphs.get(node.type)
        node_class = info.get(node.type) if inside is None else None
        if inside is not None:
            links = {slot.name: slot.link for slot in node.slots}
            node.slots = [Slot(port.name, port.type, links.get(port.name), False) for port in inside.inputs]
        elif node_class is not None and node.type not in PAGE_ONLY:
            fill(node, node_class)
        elif node.type not in PAGE_ONLY:
            fill_unknown(node)
        node.slot_numbers = {slot.name: number for number, slot in enumerate(node.slots)}
        for slot in node.slots:
            if slot.link is not None:
                level.linked[slot.link] = (node, slot)
        if node.type == SET_NODE:
            level.setters.setdefault(str(node.first_value), []).append(node)


def _apply_primitives(level: Level) -> None:
    """The value of a PrimitiveNode becomes that of each widget that it is linked to."""
    for node in level.nodes.values():
        if node.type == PRIMITIVE and isinstance(node.given, list) and node.given and node.output_links:
            for key in node.output_links[0]:
                target, slot = level.linked.get(key, (None, None))
                if target is not None and slot is not None and slot.name in target.widgets:
                    target.widgets[slot.name] = node.first_value


def _as_input(value: Any) -> Any:
    """A list would be read as a link."""
    return {"__value__": value} if isinstance(value, list) else value


# ---- the graph


def _graph(document: Document, info: ObjectInfo, graph_bytes_max: int) -> tuple[dict[str, Any], dict[str, Node]]:
    """The graph, and what each of its nodes is in the document."""
    following = Following(document)
    graph: dict[str, Any] = {}
    nodes: dict[str, Node] = {}
    size_bytes = 2
    for instance in _instances(document):
        for node in instance.level.nodes.values():
            if not node.is_active or node.type in document.subgraphs or node.type in PAGE_ONLY:
                continue
            node_id = instance.path + node.id
            if node_id in graph:
                raise invalid(f"The workflow has two nodes {printable(node_id)}.", node_id)
            graph[node_id] = _node(instance, node, following, info)
            nodes[node_id] = node
            size_bytes += _size_bytes(node_id, graph[node_id])
            if size_bytes > graph_bytes_max:
                raise _too_large("more", graph_bytes_max)
    return graph, nodes


def _size_bytes(node_id: str, node: dict[str, Any]) -> int:
    try:
        return len(msgspec.json.encode({node_id: node}))
    except (ValueError, OverflowError, RecursionError):
        raise invalid(f"Node {printable(node_id)} has a value that JSON does not have.", node_id) from None


def _instances(document: Document) -> list[Instance]:
    """Every level as often as it is used, the root first."""
    found = [Instance("", document.root, None, None, {})]
    for instance in found:
        for host, inside in document.hosts(instance.level):
            if host.is_active:
                inner = Instance(f"{instance.path}{host.id}:", inside, host, instance, {})
                instance.inside[host.id] = inner
                found.append(inner)
    return found


def _node(instance: Instance, node: Node, following: Following, info: ObjectInfo) -> dict[str, Any]:
    node_class = info.get(node.type)
    inputs = {name: _as_input(value) for name, value in node.widgets.items()}
    for name in node.choices:
        if isinstance(text := inputs[name], str):
            inputs[name] = first_choice(text)
    for number, slot in enumerate(node.slots):
        source = following.source(instance, node, number) if slot.link is not None else None
        if isinstance(source, Given):
            inputs[slot.name] = _as_input(source.value)
        elif source is not None:
            inputs[slot.name] = [source.node, source.slot]
    title = node.title or (node_class.display_name if node_class is not None else node.type)
    return {"inputs": inputs, "class_type": node.type, "_meta": {"title": title}}


# ---- what cannot be converted


def _check_convertible(graph: dict[str, Any], info: ObjectInfo, nodes: Mapping[str, Node]) -> None:
    """Refuse nodes whose values are not known, unless no output needs them. Nodes of unknown classes without any link
    are left out: they belong to the page, such as labels.
    """
    unknown = [node_id for node_id, node in graph.items() if node["class_type"] not in info]
    _check_no_groups(graph, unknown)
    linked = {value[0] for node in graph.values() for value in _links(graph, node)}
    for node_id in unknown:
        if node_id not in linked and not any(_links(graph, graph[node_id])):
            del graph[node_id]
    outputs = [node_id for node_id, node in graph.items() if _is_output(info, node)]
    needed = upstream(graph, outputs) if outputs else set(graph)
    if refused := [node_id for node_id in unknown if node_id in needed and not nodes[node_id].is_named]:
        raise _unknown(graph, refused, info)
    for node_id in graph:
        if node_id in needed and (name := nodes[node_id].odd_choice):
            raise _odd_choice(graph, node_id, name)
    for node_id in graph:
        if node_id in needed and (name := nodes[node_id].page_made):
            text = f"ComfyUI's page fills in {printable(name)} of node {node_text(graph, node_id)} when it sends it."
            raise invalid(text, node_id, "Use a node that loads a file instead.")


def _unknown(graph: Mapping[str, Any], nodes: list[str], info: ObjectInfo) -> Refused:
    if mistakes := find_mistakes(graph, nodes, info, level="classes"):
        return refusal(mistakes)
    text = (
        f"ComfyUI has replaced the class of node {node_text(graph, nodes[0])}, so it is not known which value belongs"
        " to which input."
    )
    return invalid(text, nodes[0], "Replace the node in ComfyUI.")


def _odd_choice(graph: Mapping[str, Any], node_id: str, name: str) -> Refused:
    choice = printable(str(graph[node_id]["inputs"].get(name)))
    return invalid(
        f"ComfyUI does not have the choice {choice} of {printable(name)} of node {node_text(graph, node_id)}, so the"
        " values behind it may belong to other inputs.",
        node_id,
        "Update ComfyUI, or make another choice there.",
    )


def _check_no_groups(graph: Mapping[str, Any], unknown: Iterable[str]) -> None:
    groups = [node_id for node_id in unknown if graph[node_id]["class_type"].startswith(GROUP_NODE)]
    if groups:
        raise invalid(
            f"The workflow has group nodes: {some_of(titled(graph, groups))}.",
            groups[0],
            "Open the workflow in ComfyUI, which makes subgraphs of them, and save it.",
        )


def _links(graph: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[list[Any]]:
    return (value for value in node["inputs"].values() if is_link(graph, value))


def _is_output(info: ObjectInfo, node: Mapping[str, Any]) -> bool:
    node_class = info.get(node["class_type"])
    return node_class is not None and node_class.is_output


# ---- JSON


def _object(text: bytes) -> dict[str, Any]:
    try:
        try:
            decoded = msgspec.json.decode(text)
        except msgspec.DecodeError:
            decoded = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise invalid(f"The workflow is not JSON: {printable(str(fault), 200)}.") from None
    if not isinstance(decoded, dict):
        raise invalid("The workflow is not a JSON object.")
    return decoded


def _too_large(size: str, limit: int) -> Refused:
    return Refused(
        "graph_too_large",
        f"The workflow has {size} bytes; the limit is {limit:,}.",
        hint="Remove nodes that are not needed, or raise [limits] graph_bytes_max.",
    )
