"""Reads the nodes of a graph, their links, and the addresses of their inputs. PURE.

A graph is what ComfyUI's API format contains: `{node id: {"class_type": ..., "inputs": {name: value}}}`. A value is a
link if it is a list of exactly the id of a node of this graph and a number. Every other value is a literal, also a
list. An address is `node id.input name`, divided at the first dot.

Nothing here changes a graph, and nothing recurses: a graph of ten thousand nodes, in one line or in a circle, is read
in one pass.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from comfyledger.errors import Refused

Graph = Mapping[str, Any]

ID_CHARS_MAX = 128
"""ComfyUI's own ids are short numbers, joined by ":" inside subgraphs. They are written to the event log."""
NAME_CHARS_MAX: Final = 512
"""Of a node class, and of an input. Each is looked at many times, and those of people have fewer than a hundred."""
CLASSES_KEPT: Final = 4_096
NAMED_MAX = 8
"""How many things one sentence names."""
COMPARED_MAX = 500
COMPARED_CHARS_MAX = 64
"""How many known addresses an unknown one is compared with, and how many of their characters. difflib is slow."""


# Nodes and links


def check_nodes(graph: Graph) -> None:
    """Raises Refused (workflow_invalid; the path is the node) unless everything in the graph is a node."""
    for node_id, node in graph.items():
        if fault := _node_fault(node_id, node):
            raise Refused(
                "workflow_invalid",
                f"Node {printable(node_id)} {fault}.",
                hint="Export the workflow again, in ComfyUI: Workflow > Export (API).",
                path=printable(node_id),
            )


def _node_fault(node_id: str, node: object) -> str:
    if not 0 < len(node_id) <= ID_CHARS_MAX or "." in node_id or not node_id.isprintable():
        return f"has an id that is empty, longer than {ID_CHARS_MAX} characters, not printable, or contains a dot"
    if not isinstance(node, dict):
        return "is not an object"
    if not isinstance(node.get("class_type"), str):
        return "has no class_type"
    if not isinstance(node.get("inputs"), dict):
        return "has no inputs"
    if len(node["class_type"]) > NAME_CHARS_MAX:
        return f"has a class_type longer than {NAME_CHARS_MAX} characters"
    if max(map(len, node["inputs"]), default=0) > NAME_CHARS_MAX:
        return f"has an input with a name longer than {NAME_CHARS_MAX} characters"
    return ""


def is_link(graph: Graph, value: object) -> bool:
    """Whether an input's value is the output of another node of this graph, and not a literal."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and is_int(value[1])
        and value[0] in graph
    )


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def kind_of(value: object) -> str:
    """The kind of a literal in words; empty for a list or an object."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return "a number"
    return ""


def upstream(graph: Graph, nodes: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """The nodes and all that feed them through links. `known`: nodes whose own feeding is known, which are left out."""
    seen = set(nodes)
    waiting = list(seen)
    while waiting:
        for value in graph[waiting.pop()]["inputs"].values():
            if is_link(graph, value) and value[0] not in seen and value[0] not in known:
                seen.add(value[0])
                waiting.append(value[0])
    return seen


def by_number(node_id: str) -> tuple[int, str]:
    """Puts "9" before "10"."""
    return len(node_id), node_id


# Addresses


def locate(graph: Graph, address: str) -> tuple[str, str] | None:
    """Node id and input name of an address; None if the graph has no such input."""
    node_id, _, name = address.partition(".")
    return (node_id, name) if node_id in graph and name in graph[node_id]["inputs"] else None


def present_value(
    graph: Graph, address: str, asked: str, names: Mapping[str, str], taken: Mapping[str, str]
) -> bool | int | float | str | None:
    """The literal at an address that callers may fill in; None where a file's name will stand. `asked` is what the
    caller named it.

    Raises Refused: unknown_input if it is not there; invalid_field if it is a link, a list or an object, or if the run
    itself fills it in (`taken`: address to hint).
    """
    place = locate(graph, address)
    if place is None:
        raise unknown_input(graph, names, asked, address)
    if address in taken:
        raise unfit(asked, f"The daemon itself fills in {printable(address)}.", taken[address])
    node_id, name = place
    value: Any = graph[node_id]["inputs"][name]
    if is_link(graph, value):
        source = node_text(graph, value[0])
        raise unfit(asked, f"{printable(address)} is linked to node {source}.", "Name an input of that node.")
    if value is not None and not kind_of(value):
        raise unfit(asked, f"{printable(address)} is not a text, a number, true or false.", "")
    literal: bool | int | float | str | None = value
    return literal


def unfit(asked: str, message: str, hint: str) -> Refused:
    return Refused("invalid_field", message, hint=hint, path=printable(asked))


def unknown_input(graph: Graph, names: Mapping[str, str], asked: str, address: str) -> Refused:
    """The refusal of an input that is not there. It names the nearest one that is."""
    own = address.partition(".")[0]
    nodes = itertools.chain([own] if own in graph else [], sorted(graph, key=by_number))
    literals = itertools.islice(_literal_addresses(graph, nodes), COMPARED_MAX)
    known = list(dict.fromkeys([*names, *literals]))
    near = difflib.get_close_matches(address[:COMPARED_CHARS_MAX], known, n=1)
    hint = [f"Did you mean {printable(word)}?" for word in near]
    if known:
        hint.append(f"The workflow has {some_of(map(printable, known))}.")
    message = f"The workflow has no input {printable(address)}."
    return Refused("unknown_input", message, hint=" ".join(hint), path=printable(asked))


def _literal_addresses(graph: Graph, nodes: Iterable[str]) -> Iterator[str]:
    for node_id in nodes:
        for name, value in graph[node_id]["inputs"].items():
            if kind_of(value):
                yield f"{node_id}.{name}"


def folded(node: Graph) -> str:
    """ "Image Save" and "image_save" are one word."""
    return _folded(node["class_type"])


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _folded(class_type: str) -> str:
    return "".join(filter(str.isalnum, class_type.casefold()))


# Sentences


def printable(text: str, chars_max: int = 64) -> str:
    """A foreign text, cut off and without characters that would break a line or control a terminal."""
    shown = text[:chars_max]
    if not shown.isprintable():
        shown = "".join(sign if sign.isprintable() else "?" for sign in shown)
    return f"{shown}…" if len(text) > chars_max else shown


def some_of(words: Iterable[str]) -> str:
    """The first few of many, and how many more there are."""
    listed = list(words)
    more = f" and {len(listed) - NAMED_MAX} more" if len(listed) > NAMED_MAX else ""
    return ", ".join(listed[:NAMED_MAX]) + more


def node_text(graph: Graph, node_id: str, title: str = "") -> str:
    """Id and class of a node, as `9 (SaveImage)`."""
    return f"{printable(node_id)} ({printable(graph[node_id]['class_type'])}{title})"


def titled(graph: Graph, nodes: Iterable[str]) -> list[str]:
    return [node_text(graph, node_id, _title(graph[node_id])) for node_id in nodes]


def _title(node: Graph) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return f', "{printable(title)}"' if isinstance(title, str) and title else ""
