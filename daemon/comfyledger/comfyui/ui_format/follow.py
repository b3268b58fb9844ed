"""Follows a link back to the output that feeds it: out of and into subgraphs, through bypassed nodes and through nodes
that exist on the page only. PURE.

A muted node feeds nothing. A bypassed one hands on its input of the same slot if that has the type, or else the first
that has it. Nothing recurses, and no way is gone twice. (`ExecutableNodeDTO.ts` of ComfyUI's frontend)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.graph.nodes import printable
from comfyledger.comfyui.ui_format.document import BYPASS, INPUT_SIDE, NEVER, Document, Level, Node, invalid
from comfyledger.comfyui.ui_format.everywhere import EVERYWHERE
from comfyledger.comfyui.ui_format.promoted import MISSING, PRIMITIVE

SET_NODE: Final = "SetNode"
GET_NODE: Final = "GetNode"
PASSES: Final = frozenset({"Reroute", "Reroute (rgthree)", SET_NODE})
"""Nodes of the page that hand on their input."""
PAGE_ONLY: Final = frozenset(
    {
        *PASSES,
        *EVERYWHERE,
        GET_NODE,
        PRIMITIVE,
        "Note",
        "MarkdownNote",
        "Bookmark (rgthree)",
        "Fast Actions Button (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Muter (rgthree)",
        "Label (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Node Collector (rgthree)",
        "Node Combiner (rgthree)",
        "Random Unmuter (rgthree)",
    }
)
"""Nodes that ComfyUI itself never sees: of the page, and of the extensions KJNodes, rgthree and cg-use-everywhere."""

_ANY: Final = frozenset({"*", ""})
COMPARED_MAX: Final = 200_000
"""Slots of bypassed nodes that are looked at for one document."""


@dataclass(eq=False, slots=True)
class Instance:
    """A level as often as it is used. `path`: before the ids of its nodes, as `12:3:`."""

    path: str
    level: Level
    host: Node | None
    outside: Instance | None
    inside: dict[str, Instance]


class Source(NamedTuple):
    """An output of a node of the graph."""

    node: str
    slot: int


class Given(NamedTuple):
    """A value that the node of a subgraph gives."""

    value: Any


class At(NamedTuple):
    """A place on the way: an input or an output of a node."""

    instance: Instance
    node: Node
    is_input: bool
    slot: int
    type: str


class Following:
    """Knows where the ways of one document lead that were gone already."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._known: dict[At, Source | Given | None] = {}
        self._compared = 0

    def source(self, instance: Instance, node: Node, slot: int) -> Source | Given | None:
        """What feeds an input; None if nothing does. Raises Refused (workflow_invalid)."""
        at: At | Source | Given | None = At(instance, node, True, slot, node.slots[slot].type)
        way: dict[At, None] = {}
        while isinstance(at, At):
            if at in way:
                raise invalid(f"The links of node {_name(at)} lead in a circle.", _name(at))
            if at in self._known:
                at = self._known[at]
                break
            way[at] = None
            at = self._into(at) if at.is_input else self._out_of(at)
        self._known |= dict.fromkeys(way, at)
        return at

    def _into(self, at: At) -> At | Given | None:
        """One step back from an input."""
        key = at.node.slots[at.slot].link
        link = at.instance.level.links.get(key) if key is not None else None
        if link is None:
            return None
        if link.origin == INPUT_SIDE and at.instance.host is not None:
            return self._port(at, link.slot)
        origin = at.instance.level.nodes.get(link.origin)
        return None if origin is None else At(at.instance, origin, False, link.slot, at.type)

    def _port(self, at: At, number: int) -> At | Given | None:
        """Out of a subgraph through one of its inputs."""
        instance = at.instance
        host, outside, ports = instance.host, instance.outside, instance.level.inputs
        if host is None or outside is None or not 0 <= number < len(ports):
            return None
        name = ports[number].name
        slot = host.slot_numbers.get(name)
        if slot is not None and host.slots[slot].link is not None:
            return At(outside, host, True, slot, at.type)
        value = host.promoted.get(name, MISSING)
        return None if value is MISSING else Given(value)

    def _out_of(self, at: At) -> At | Source | None:
        """One step back from an output."""
        node = at.node
        if node.mode == NEVER:
            return None
        if node.mode == BYPASS:
            self._compared += len(node.slots)
            if self._compared > COMPARED_MAX:
                raise invalid("The workflow has too many links to bypassed nodes.", _name(at))
            slot = _passed_through(node, at.slot, at.type)
            return None if slot is None else At(at.instance, node, True, slot, at.type)
        if node.type in self._document.subgraphs:
            return _inner_output(at)
        if node.type in PASSES:
            return At(at.instance, node, True, at.slot, at.type) if at.slot < len(node.slots) else None
        if node.type == GET_NODE:
            return _set_node(at)
        return None if node.type in PAGE_ONLY else Source(at.instance.path + node.id, at.slot)


def _inner_output(at: At) -> At | None:
    """Into a subgraph through one of its outputs."""
    instance = at.instance.inside.get(at.node.id)
    ports = instance.level.outputs if instance is not None else []
    if instance is None or not 0 <= at.slot < len(ports):
        return None
    link = next((instance.level.links[key] for key in ports[at.slot].links if key in instance.level.links), None)
    if link is None:
        return None
    if link.origin == INPUT_SIDE:
        name = instance.level.inputs[link.slot].name if 0 <= link.slot < len(instance.level.inputs) else ""
        slot = at.node.slot_numbers.get(name)
        return None if slot is None else At(at.instance, at.node, True, slot, at.type)
    origin = instance.level.nodes.get(link.origin)
    return None if origin is None else At(instance, origin, False, link.slot, at.type)


def _set_node(at: At) -> At | None:
    """The input of the node that sets what a GetNode gets, on its own level or the next one around it."""
    name = str(at.node.first_value)
    for instance in _outward(at.instance):
        found = instance.level.setters.get(name, [])
        if len(found) > 1:
            raise invalid(f"The workflow sets {printable(name)} twice, and node {_name(at)} gets it.", _name(at))
        if found:
            return At(instance, found[0], True, 0, at.type) if found[0].slots else None
    raise invalid(f"Node {_name(at)} gets {printable(name)}, which no node sets.", _name(at))


def _outward(instance: Instance | None) -> Iterator[Instance]:
    while instance is not None:
        yield instance
        instance = instance.outside


def _name(at: At) -> str:
    return printable(at.instance.path + at.node.id)


# ---- bypassed nodes


def _passed_through(node: Node, slot: int, kind: str) -> int | None:
    """The input that a bypassed node hands on to an output."""
    slots = node.slots
    if not slots:
        return None
    if kind in ("*", ""):
        return slot if slot < len(slots) else 0
    own = node.outputs[slot] if slot < len(node.outputs) else "*"
    fits = [match(one.type, own) and match(one.type, kind) for one in slots]
    if slot < len(slots) and fits[slot]:
        return slot
    exact = next((place for place, one in enumerate(slots) if one.type == kind), None)
    return exact if exact is not None else next((place for place, does in enumerate(fits) if does), None)


def match(one: str, other: str) -> bool:
    """Whether a link may join two types. Several are divided by commas. (`LiteGraph.isValidConnection`)"""
    if one in ("*", "") or other in ("*", "") or one == other:
        return True
    ones, others = _kinds(one), _kinds(other)
    return not ones.isdisjoint(others) or not ones.isdisjoint(_ANY) or not others.isdisjoint(_ANY)


@lru_cache(maxsize=10_000)
def _kinds(kind: str) -> frozenset[str]:
    return frozenset(kind.casefold().split(","))
