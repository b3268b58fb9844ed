"""The values that the node of a subgraph gives to widgets inside it. PURE.

An input of a subgraph that is linked to a widget inside is a widget of the node itself. `widgets_values` has their
values, in the order of the inputs. Documents of older pages name widgets in `proxyWidgets` instead, linked or not, and
`widgets_values` follows that list; a widget that is not linked gets an input of the subgraph here, as on the page.
(`SubgraphNode.ts` and `proxyWidgetMigration.ts` of ComfyUI's frontend)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from comfyledger.comfyui.ui_format.document import INPUT_SIDE, Document, Level, Link, Node, Port, Slot

PRIMITIVE: Final = "PrimitiveNode"
OF_THE_HOST: Final = "-1"
"""The node in an entry of `proxyWidgets` that means an input of the subgraph, by name."""
MISSING: Final = object()
"""Where there is no value. None is one."""
WIDGETS_MAX: Final = 1_000
"""Entries of `proxyWidgets` of one node."""
NAME_CHARS_MAX: Final = 500
_PREFIX: Final = re.compile(r"\s*\d+\s*:\s*")


class Entry(NamedTuple):
    """A widget in `proxyWidgets`, and the value that the node gives it; MISSING if none."""

    node: str
    widget: str
    value: Any


def promote(document: Document, order: Iterable[Level], renamed: Mapping[str, Mapping[str, str]]) -> None:
    """Give every node of a subgraph the values of its ports. Changes the document.

    `order`: its levels, each after those of the subgraphs on it. `renamed`: new ids of nodes, by subgraph.
    """
    for level in order:
        hosts = [(host, inside, _entries(host, renamed.get(inside.id, {}))) for host, inside in document.hosts(level)]
        for host, inside, entries in hosts:
            if not entries:
                _by_order(host, inside)
            host.promoted |= _set_aside(host)
        for host, inside, entries in hosts:
            if entries:
                _by_name(document, host, inside, entries)
        for host, inside, _ in hosts:
            for port in inside.inputs:
                if port.name not in host.promoted and (value := _inner_value(inside, port)) is not MISSING:
                    host.promoted[port.name] = value


def value_of(node: Node, name: str) -> Any:
    """The value of a widget of a node, also of one that a subgraph gives its node; MISSING if it has none."""
    return node.promoted.get(name, node.widgets.get(name, MISSING))


def _inner_value(inside: Level, port: Port) -> Any:
    """The value inside: of the first widget that the port is linked to."""
    values = (value_of(node, slot.name) for node, slot in _targets(inside, port))
    return next((value for value in values if value is not MISSING), MISSING)


def _targets(inside: Level, port: Port) -> Iterator[tuple[Node, Slot]]:
    for key in port.links:
        target = inside.linked.get(key)
        if target is not None:
            yield target


# ---- without names


def _by_order(host: Node, inside: Level) -> None:
    """Where the number of values is not that of the widgets, a class has gained or lost one since the document was
    saved. Then the marks in the document count, if their number is right.
    """
    given = host.given if isinstance(host.given, list) else []
    ports = [port for port in inside.inputs if _inner_value(inside, port) is not MISSING]
    if len(given) != len(ports):
        marked = [port for port in inside.inputs if any(slot.marked for _, slot in _targets(inside, port))]
        ports = marked if len(marked) == len(given) else ports
    for port, value in zip(ports, given, strict=False):
        if value is not None and _inner_value(inside, port) is not MISSING:
            host.promoted[port.name] = value


# ---- `proxyWidgets`


def _entries(host: Node, new_ids: Mapping[str, str]) -> list[Entry]:
    """None if a single one is not understood, as on the page."""
    listed = host.properties.get("proxyWidgets")
    given = host.given if isinstance(host.given, list) else []
    entries = []
    for place, one in enumerate(listed[:WIDGETS_MAX] if isinstance(listed, list) else []):
        match one:
            case [str(), str(widget), *_] if len(widget) > NAME_CHARS_MAX:
                return []
            case [str(node), str(widget)] | [str(node), str(widget), str()]:
                pass
            case _:
                return []
        value = given[place] if place < len(given) and given[place] is not None else MISSING
        entries.append(Entry(new_ids.get(node, node), widget, value))
    return entries


def _set_aside(host: Node) -> dict[str, Any]:
    """Values by port that the page could not place when it read `proxyWidgets`, and wrote down beside them."""
    values: dict[str, Any] = {}
    listed = host.properties.get("proxyWidgetErrorQuarantine")
    for one in listed if isinstance(listed, list) else []:
        match one:
            case {"originalEntry": [str(node), str(port), *_], "hostValue": value} if (
                node == OF_THE_HOST and value is not None
            ):
                values.setdefault(port, value)
    return values


def _by_name(document: Document, host: Node, inside: Level, entries: list[Entry]) -> None:
    ports = {
        (node.id, slot.name): port.name
        for port in reversed(inside.inputs)
        for node, slot in _targets(inside, port)
        if value_of(node, slot.name) is not MISSING
    }
    for entry in entries:
        node = inside.nodes.get(entry.node)
        if entry.node == OF_THE_HOST:
            name = entry.widget
        elif node is None:
            continue
        elif node.type == PRIMITIVE:
            name = _port_of_primitive(inside, node, entry)
        else:
            widget = _widget(node, entry.widget)
            if node.type in document.subgraphs and widget not in node.promoted:
                widget = _port_to(document.subgraphs[node.type], widget)
            name = ports.get((node.id, widget)) or _port_of_widget(inside, node, widget)
            ports[node.id, widget] = name
        if name and entry.value is not MISSING:
            host.promoted[name] = entry.value


def _widget(node: Node, name: str) -> str:
    """The name without the numbers of nodes that older pages put before it, unless the node has it as it stands."""
    while value_of(node, name) is MISSING and (prefix := _PREFIX.match(name)) and prefix.end() < len(name):
        name = name[prefix.end() :]
    return name


def _port_to(inside: Level, widget: str) -> str:
    """The input of a subgraph that leads to a widget of this name; the name itself if none does."""
    ports = (port for port in inside.inputs if any(slot.name == widget for _, slot in _targets(inside, port)))
    return next((port.name for port in ports), widget)


def _port_of_widget(inside: Level, node: Node, widget: str) -> str:
    """A new input of the subgraph for a widget; empty if the node has no such widget, or if it is linked."""
    number = node.slot_numbers.get(widget)
    slot = node.slots[number] if number is not None else None
    if slot is None or slot.link is not None or value_of(node, widget) is MISSING:
        return ""
    return _new_port(inside, widget, slot.type, [(node, slot)])


def _port_of_primitive(inside: Level, node: Node, entry: Entry) -> str:
    """A new input of the subgraph in place of a PrimitiveNode, or the one that is in its place already."""
    if "" in node.promoted:
        return str(node.promoted[""])
    targets = [target for key in _links_of(node) if (target := inside.linked.get(key)) is not None]
    if not targets:
        return ""
    title = node.title if node.title and node.title != PRIMITIVE else entry.widget
    name = _new_port(inside, title, node.outputs[0], targets)
    node.promoted[""] = name
    return name


def _links_of(node: Node) -> list[str]:
    return node.output_links[0] if node.output_links else []


def _new_port(inside: Level, name: str, kind: str, targets: list[tuple[Node, Slot]]) -> str:
    names = {port.name for port in inside.inputs}
    number, unique = 1, name
    while unique in names:
        number, unique = number + 1, f"{name}_{number}"
    port = Port(unique, kind, [])
    for node, slot in targets:
        key = f"{INPUT_SIDE}:{len(inside.links)}"
        inside.links[key] = Link(INPUT_SIDE, len(inside.inputs), node.id)
        slot.link = key
        inside.linked[key] = (node, slot)
        port.links.append(key)
    inside.inputs.append(port)
    return unique
