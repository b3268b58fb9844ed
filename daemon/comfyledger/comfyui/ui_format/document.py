"""A document in ComfyUI's UI format, read into plain objects. PURE.

A document is a level of nodes and links, and definitions of subgraphs, each a level of its own with ports to the
outside. Two versions are read: 0.4 has links as `[id, origin, slot, target, slot, type]`, 1.0 as objects. What the
conversion does not need (positions, colours, groups) is not read. Ids are read as texts, for both versions allow
numbers and texts. (`ISerialisedGraph`, `SerialisableGraph` and `ExportedSubgraph` of ComfyUI's frontend)

The objects may be changed: they belong to one conversion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from comfyledger.comfyui.graph.nodes import ID_CHARS_MAX, printable
from comfyledger.errors import Refused
from comfyledger.wire.picture import EXPORT_HINT

INPUT_SIDE: Final = "-10"
"""Where a link of a subgraph begins that comes in from outside."""
NEVER: Final = 2
BYPASS: Final = 4
IDS_MAX: Final = 2**53
TYPE_CHARS_MAX: Final = 1_000
SLOTS_MAX: Final = 100_000
"""Inputs of all nodes of a graph, and inputs and outputs of its subgraphs."""
NODES_MAX: Final = 10_000
"""Of a document, and of the graph that it becomes."""


@dataclass(slots=True)
class Slot:
    """An input of a node that can be linked."""

    name: str
    type: str
    link: str | None
    marked: bool
    """Whether the document says that it is the slot of a widget."""


@dataclass(eq=False, slots=True)
class Node:
    """A node on one level. One of a subgraph has the id of the subgraph as its type."""

    id: str
    type: str
    mode: int
    title: str
    slots: list[Slot]
    outputs: list[str]
    """The types, by slot."""
    output_links: list[list[str]]
    given: Any
    """`widgets_values`: a list, or an object by name; anything else means none."""
    names: tuple[str, ...]
    """Of the values, where the document says them."""
    properties: Mapping[str, Any]
    widgets: dict[str, Any] = field(default_factory=dict)
    """Values by name, once the names are known."""
    choices: frozenset[str] = frozenset()
    """Names of widgets whose texts may hold choices."""
    is_named: bool = True
    """Whether the names of all its values are known."""
    page_made: str = ""
    """The input that only the page could give."""
    odd_choice: str = ""
    """A choice that the class does not have. Which inputs it brings is not known, so the values behind it have no
    names."""
    promoted: dict[str, Any] = field(default_factory=dict)
    """Of the node of a subgraph: values of its ports."""
    slot_numbers: dict[str, int] = field(default_factory=dict)
    """Where each name is among the slots, once they are known."""

    @property
    def first_value(self) -> Any:
        """Of a list of values; None if there is none."""
        return self.given[0] if isinstance(self.given, list) and self.given else None

    @property
    def is_active(self) -> bool:
        return self.mode not in (NEVER, BYPASS)


@dataclass(slots=True)
class Link:
    """`origin` is `INPUT_SIDE` where it comes from a port."""

    origin: str
    slot: int
    target: str


@dataclass(slots=True)
class Port:
    """An input or an output of a subgraph, and its links inside."""

    name: str
    type: str
    links: list[str]


@dataclass(slots=True)
class Level:
    """What is on one canvas: the root, or the definition of a subgraph."""

    id: str
    nodes: dict[str, Node]
    links: dict[str, Link]
    inputs: list[Port]
    outputs: list[Port]
    linked: dict[str, tuple[Node, Slot]] = field(default_factory=dict)
    """Where each link ends, once the slots are known."""
    setters: dict[str, list[Node]] = field(default_factory=dict)
    """The SetNodes of the extension KJNodes, by what they set."""


@dataclass(slots=True)
class Document:
    root: Level
    subgraphs: dict[str, Level]
    last_node_id: int
    everywhere: list[Any] | None
    """The links that an extension makes (`extra.ue_links`); None if the document has no such list."""

    def levels(self) -> Iterator[Level]:
        yield from self.subgraphs.values()
        yield self.root

    def hosts(self, level: Level) -> Iterator[tuple[Node, Level]]:
        """The nodes of subgraphs on a level, each with its definition."""
        for node in level.nodes.values():
            if node.type in self.subgraphs:
                yield node, self.subgraphs[node.type]


def read(document: Mapping[str, Any]) -> Document:
    """Raises Refused (workflow_invalid; the path is the place in the document)."""
    root, subgraphs, nodes = _level(document, ""), dict[str, Level](), 0
    waiting = [(document, "")]
    for said, path in waiting:
        at = f"{path}definitions"
        definitions = _object(said.get("definitions"), at)
        for place, one in enumerate(_objects(definitions.get("subgraphs"), f"{at}.subgraphs")):
            inner = f"{at}.subgraphs[{place}]"
            level = _level(one, inner)
            nodes += 1 + len(level.nodes)
            if nodes > NODES_MAX:
                raise too_many_nodes()
            subgraphs.setdefault(level.id, level)
            waiting.append((one, f"{inner}."))
    extra = document.get("extra")
    links = extra.get("ue_links") if isinstance(extra, dict) else None
    state = document.get("state")
    last = state.get("lastNodeId") if isinstance(state, dict) else document.get("last_node_id")
    return Document(
        root,
        subgraphs,
        last if isinstance(last, int) and 0 <= last <= IDS_MAX else 0,
        links if isinstance(links, list) else None,
    )


def invalid(message: str, path: str = "", hint: str = EXPORT_HINT) -> Refused:
    return Refused("workflow_invalid", message, hint=hint, path=printable(path, 200))


def too_many_nodes() -> Refused:
    return invalid(f"The workflow has more than {NODES_MAX:,} nodes.")


def _level(said: Mapping[str, Any], path: str) -> Level:
    at = f"{path}.nodes" if path else "nodes"
    listed = _objects(said.get("nodes"), at)
    if len(listed) > NODES_MAX:
        raise too_many_nodes()
    nodes: dict[str, Node] = {}
    for place, one in enumerate(listed):
        node = _node(one, f"{at}[{place}]")
        if node.id in nodes:
            raise invalid(f"The workflow has two nodes {printable(node.id)}.", f"{at}[{place}].id")
        nodes[node.id] = node
    links = dict(_links(said.get("links"), f"{path}.links" if path else "links"))
    return Level(
        _key(said.get("id")) or "",
        nodes,
        links,
        _ports(said, "inputs", path) if path else [],
        _ports(said, "outputs", path) if path else [],
    )


def _node(said: Mapping[str, Any], path: str) -> Node:
    node_id, kind = _key(said.get("id")), said.get("type")
    if node_id is None:
        raise invalid("A node of the workflow has no id.", path)
    if not isinstance(kind, str):
        raise invalid(f"Node {printable(node_id)} has no type.", path)
    outputs = _objects(said.get("outputs"), f"{path}.outputs")
    mode, properties, names = said.get("mode"), said.get("properties"), said.get("widgets_values_named")
    return Node(
        id=node_id,
        type=kind,
        mode=mode if isinstance(mode, int) else 0,
        title=_text(said.get("title")),
        slots=[_slot(one) for one in _objects(said.get("inputs"), f"{path}.inputs")],
        outputs=[_type(one.get("type")) for one in outputs],
        output_links=[_keys(one.get("links")) for one in outputs],
        given=said.get("widgets_values"),
        names=tuple(names) if isinstance(names, dict) else (),
        properties=properties if isinstance(properties, dict) else {},
    )


def _slot(said: Mapping[str, Any]) -> Slot:
    return Slot(
        _text(said.get("name")), _type(said.get("type")), _key(said.get("link")), isinstance(said.get("widget"), dict)
    )


def _links(said: object, path: str) -> Iterator[tuple[str, Link]]:
    for place, one in enumerate(_list(said, path)):
        match one:
            case [key, origin, slot, target, *_]:
                pass
            case {"id": key, "origin_id": origin, "origin_slot": slot, "target_id": target}:
                pass
            case None:
                continue
            case _:
                raise invalid("A link of the workflow is no link.", f"{path}[{place}]")
        ids = (_key(key), _key(origin), _key(target))
        if ids[0] is not None and ids[1] is not None and ids[2] is not None and _is_slot(slot):
            yield ids[0], Link(ids[1], slot, ids[2])


def _is_slot(value: object) -> bool:
    """Whether a value may be the number of an input or an output."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= SLOTS_MAX


def _ports(said: Mapping[str, Any], side: str, path: str) -> list[Port]:
    return [
        Port(_text(one.get("name")), _type(one.get("type")), _keys(one.get("linkIds")))
        for one in _objects(said.get(side), f"{path}.{side}")
    ]


def _key(value: object) -> str | None:
    """An id as a text; None for what is no id."""
    if isinstance(value, str):
        return value if len(value) <= ID_CHARS_MAX else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_id = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= IDS_MAX
    return str(value) if is_id else None


def _keys(value: object) -> list[str]:
    keys = [_key(one) for one in value] if isinstance(value, list) else []
    return [key for key in keys if key is not None]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _type(value: object) -> str:
    """The type of a slot. Old documents have 0 and lists of choices."""
    return value if isinstance(value, str) and 0 < len(value) <= TYPE_CHARS_MAX else "*"


def _object(value: object, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{path} is not an object.", path)
    return value


def _list(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(f"{path} is not a list.", path)
    return value


def _objects(value: object, path: str) -> list[Mapping[str, Any]]:
    listed = _list(value, path)
    for place, one in enumerate(listed):
        if not isinstance(one, dict):
            raise invalid(f"{path}[{place}] is not an object.", f"{path}[{place}]")
    return listed
