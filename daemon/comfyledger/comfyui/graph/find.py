"""Reads what is in a graph: its nodes, links and addresses, and the inputs that a run fills in. PURE.

A graph is what ComfyUI's API format contains: `{node id: {"class_type": ..., "inputs": {name: value}}}`. A value is a
link if it is a list of exactly the id of a node of this graph and a number. Every other value is a literal, also a
list. An address is `node id.input name`, divided at the first dot.

Graphs come in from `graph`, a `Plan` goes out. Nothing here changes a graph, and nothing recurses: a graph of ten
thousand nodes, in one line or in a circle, is read in one pass.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from comfyledger.errors import Refused

Graph = Mapping[str, Any]

ID_CHARS_MAX = 128
"""ComfyUI's own ids are short numbers, joined by ":" inside subgraphs. They are written to the event log."""
NAMED_MAX = 8
"""How many things one sentence names."""
COMPARED_MAX = 500
COMPARED_CHARS_MAX = 64
"""How many known addresses an unknown one is compared with, and how many of their characters. difflib is slow."""

SEED_NAMES = ("seed", "noise_seed")
SEED_SOURCE_NAMES = (*SEED_NAMES, "value", "int")
IMAGE_NAMES = ("images", "image")
LATENT_NAMES = ("samples", "latent", "latents", *IMAGE_NAMES)
PREFIX_NAME = "filename_prefix"
MEDIA_WORDS = ("video", "animated", "webm", "gif", "mp4", "audio", "3d", "mesh", "glb")
"""Words in the class name of a node that saves something other than images (ComfyUI, VideoHelperSuite)."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found in a graph; recorded in the event log as JSON. All places are addresses."""

    output: str
    """Id of the one node that saves images."""
    prefix: str
    seeds: tuple[str, ...]
    """All seeds that feed the output; empty if there is none."""
    batch_size: str | None
    """The batch size of the latent or EmptyImage that feeds the output. None if the configuration names none and the
    graph does not have exactly one."""
    inputs: dict[str, str]
    """What callers may fill in by name: `{"prompt": "6.text"}`."""
    secrets: tuple[str, ...] = ()
    """Inputs that the configuration fills in just before the graph is sent. The template has no value there."""


def find_plan(
    graph: Graph,
    *,
    output: str | None = None,
    seeds: Sequence[str] | None = None,
    batch_size: str | None = None,
    inputs: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> Plan:
    """The inputs that a run fills in: those that the configuration names are checked, the others are found.

    Raises Refused: workflow_invalid, workflow_no_output, workflow_output_ambiguous, workflow_output_unsupported;
    unknown_input for an address that is not in the graph; invalid_field for one that cannot be filled in. The path is
    the address, or the id of the node.
    """
    check_nodes(graph)
    node_id = _find_output(graph) if output is None else _named_output(graph, output)
    feeding = upstream(graph, node_id)
    plan = Plan(
        output=node_id,
        prefix=f"{node_id}.{PREFIX_NAME}",
        seeds=_find_seeds(graph, feeding) if seeds is None else _named_ints(graph, seeds, "seeds"),
        batch_size=_find_batch_size(graph, feeding)
        if batch_size is None
        else _named_ints(graph, [batch_size], "batch_size")[0],
        inputs=dict(inputs or {}),
        secrets=tuple(secrets),
    )
    _check_secrets(graph, plan)
    taken = addresses_of_the_run(plan)
    for name, address in plan.inputs.items():
        present_value(graph, address, name, plan.inputs, taken)
    return plan


def _check_secrets(graph: Graph, plan: Plan) -> None:
    taken = addresses_of_the_run(msgspec.structs.replace(plan, secrets=()))
    for address in plan.secrets:
        if not isinstance(present_value(graph, address, address, {}, taken), str):
            raise _unfit(address, f"{printable(address)} is not a text, so it cannot be a secret.", "")


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


def upstream(graph: Graph, node_id: str) -> list[str]:
    """The node and all nodes that feed it through links, in the order of their ids."""
    seen = {node_id}
    waiting = [node_id]
    while waiting:
        for value in graph[waiting.pop()]["inputs"].values():
            if is_link(graph, value) and value[0] not in seen:
                seen.add(value[0])
                waiting.append(value[0])
    return sorted(seen, key=_by_number)


def _by_number(node_id: str) -> tuple[int, str]:
    """Puts "9" before "10"."""
    return len(node_id), node_id


# Addresses


def locate(graph: Graph, address: str) -> tuple[str, str] | None:
    """Node id and input name of an address; None if the graph has no such input."""
    node_id, _, name = address.partition(".")
    return (node_id, name) if node_id in graph and name in graph[node_id]["inputs"] else None


def present_value(
    graph: Graph, address: str, asked: str, names: Mapping[str, str], taken: Mapping[str, str]
) -> bool | int | float | str:
    """The literal at an address that callers may fill in. `asked` is what the caller named it.

    Raises Refused: unknown_input if it is not there; invalid_field if it is a link, a list or an object, or if the run
    itself fills it in (`taken`: address to hint).
    """
    place = locate(graph, address)
    if place is None:
        raise unknown_input(graph, names, asked, address)
    if address in taken:
        raise _unfit(asked, f"The daemon itself fills in {printable(address)}.", taken[address])
    node_id, name = place
    value: Any = graph[node_id]["inputs"][name]
    if is_link(graph, value):
        source = node_text(graph, value[0])
        raise _unfit(asked, f"{printable(address)} is linked to node {source}.", "Name an input of that node.")
    if not kind_of(value):
        raise _unfit(asked, f"{printable(address)} is not a text, a number, true or false.", "")
    literal: bool | int | float | str = value
    return literal


def _unfit(asked: str, message: str, hint: str) -> Refused:
    return Refused("invalid_field", message, hint=hint, path=printable(asked))


def addresses_of_the_run(plan: Plan) -> dict[str, str]:
    """The addresses that the run fills in itself, each with what to use instead."""
    taken = dict.fromkeys(plan.seeds, "Use `seed`.")
    if plan.batch_size is not None:
        taken[plan.batch_size] = "Use `images_per_prompt`."
    taken[plan.prefix] = "Omit it: the daemon names the files."
    taken |= dict.fromkeys(plan.secrets, "Omit it: the configuration says where its secret is.")
    return taken


def unknown_input(graph: Graph, names: Mapping[str, str], asked: str, address: str) -> Refused:
    """The refusal of an input that is not there. It names the nearest one that is."""
    own = address.partition(".")[0]
    nodes = itertools.chain([own] if own in graph else [], sorted(graph, key=_by_number))
    literals = itertools.islice(_literal_addresses(graph, nodes), COMPARED_MAX)
    known = list(dict.fromkeys([*names, *literals]))
    near = difflib.get_close_matches(address[:COMPARED_CHARS_MAX], known, n=1)
    hint = [f"Did you mean {printable(word)}?" for word in near]
    if known:
        hint.append(f"It has {some_of(map(printable, known))}.")
    message = f"The workflow has no input {printable(address)}."
    return Refused("unknown_input", message, hint=" ".join(hint), path=printable(asked))


def _literal_addresses(graph: Graph, nodes: Iterable[str]) -> Iterator[str]:
    for node_id in nodes:
        for name, value in graph[node_id]["inputs"].items():
            if kind_of(value):
                yield f"{node_id}.{name}"


def _named_ints(graph: Graph, addresses: Iterable[str], key: str) -> tuple[str, ...]:
    """Addresses that the configuration names under `key`. Each must contain a whole number."""
    for address in addresses:
        if not is_int(present_value(graph, address, address, {}, {})):
            raise _unfit(address, f"{printable(address)} is not a whole number, so it cannot be `{key}`.", "")
    return tuple(dict.fromkeys(addresses))


# The output


def _find_output(graph: Graph) -> str:
    found = _nodes_where(graph, _saves_images)
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            "workflow_output_ambiguous",
            f"{len(found)} nodes of the workflow save images: {some_of(_titled(graph, found))}.",
            hint=f'Name the one that counts in [workflows.NAME], for instance output = "{found[0]}".',
            path=found[0],
        )
    if others := _nodes_where(graph, _saves_something):
        raise _unsupported(graph, others)
    raise Refused("workflow_no_output", hint="Add a SaveImage node; PreviewImage saves nothing.")


def _named_output(graph: Graph, node_id: str) -> str:
    if node_id not in graph:
        found = _titled(graph, _nodes_where(graph, _saves_images))
        raise Refused(
            "workflow_no_output",
            f"The workflow has no node {printable(node_id)}.",
            hint=f"Images are saved by {some_of(found)}." if found else "Add a SaveImage node.",
            path=printable(node_id),
        )
    if not _can_save(graph[node_id]):
        raise _unsupported(graph, [node_id])
    return node_id


def _unsupported(graph: Graph, nodes: Sequence[str]) -> Refused:
    return Refused(
        "workflow_output_unsupported",
        f"No output node of the workflow saves an image under a {PREFIX_NAME}: {some_of(_titled(graph, nodes))}.",
        hint="Add a SaveImage node.",
        path=nodes[0],
    )


def _nodes_where(graph: Graph, true_of: Callable[[Graph, Graph], bool]) -> list[str]:
    return sorted((node_id for node_id, node in graph.items() if true_of(graph, node)), key=_by_number)


def _can_save(node: Graph) -> bool:
    name = _folded(node)
    by_name = name.startswith("preview") or any(word in name for word in MEDIA_WORDS)
    return not by_name and _takes_prefix(node)


def _saves_images(graph: Graph, node: Graph) -> bool:
    links = any(is_link(graph, node["inputs"].get(name)) for name in IMAGE_NAMES)
    return _can_save(node) and (links or node["class_type"] == "SaveImage")


def _saves_something(graph: Graph, node: Graph) -> bool:
    """Whether a person would call this node an output, although it cannot be used as one."""
    name = _folded(node)
    if name.startswith("preview"):
        return False
    saves_media = "save" in name and any(word in name for word in MEDIA_WORDS)
    return _takes_prefix(node) or saves_media or "saveimage" in name or "imagesave" in name


def _takes_prefix(node: Graph) -> bool:
    # ComfyUI refuses a SaveImage without prefix (recording `partly_invalid`), but the run fills it in.
    return PREFIX_NAME in node["inputs"] or node["class_type"] == "SaveImage"


def _folded(node: Graph) -> str:
    """ "Image Save" and "image_save" are one word."""
    return "".join(filter(str.isalnum, node["class_type"].casefold()))


# Seeds and batch size


def _find_seeds(graph: Graph, feeding: Iterable[str]) -> tuple[str, ...]:
    seen: set[tuple[str, str]] = set()
    places = itertools.product(feeding, SEED_NAMES)
    found = (_int_behind(graph, *place, seen) for place in places if place[1] in graph[place[0]]["inputs"])
    return tuple(address for address in found if address)


def _int_behind(graph: Graph, node_id: str, name: str, seen: set[tuple[str, str]]) -> str:
    """The address of the whole number that an input contains or is linked to; empty if there is none, or if it was seen
    before.
    """
    while (node_id, name) not in seen:
        seen.add((node_id, name))
        value = graph[node_id]["inputs"][name]
        if is_int(value):
            return f"{node_id}.{name}"
        if not is_link(graph, value):
            break
        node_id = value[0]
        name = next((n for n in SEED_SOURCE_NAMES if n in graph[node_id]["inputs"]), "")
        if not name:
            break
    return ""


def _find_batch_size(graph: Graph, feeding: Iterable[str]) -> str | None:
    found = batch_sizes(graph, feeding)
    place = locate(graph, found[0]) if len(found) == 1 else None
    return found[0] if place and is_int(graph[place[0]]["inputs"][place[1]]) else None


def batch_sizes(graph: Graph, feeding: Iterable[str]) -> list[str]:
    """Every `batch_size` of a node that begins a latent or an image. Linked ones count too."""
    return [f"{node_id}.batch_size" for node_id in feeding if _begins_a_batch(graph, graph[node_id])]


def _begins_a_batch(graph: Graph, node: Graph) -> bool:
    """RebatchLatents and upscalers have a `batch_size` of another meaning: they take what others began."""
    name = _folded(node)
    takes = any(is_link(graph, node["inputs"].get(n)) for n in LATENT_NAMES)
    return "batch_size" in node["inputs"] and ("latent" in name or "emptyimage" in name) and not takes


# Sentences


def printable(text: str, chars_max: int = 64) -> str:
    """A foreign text, cut off and without characters that would break a line or control a terminal."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in text[:chars_max])
    return f"{shown}…" if len(text) > chars_max else shown


def some_of(words: Iterable[str]) -> str:
    """The first few of many, and how many more there are."""
    listed = list(words)
    more = f" and {len(listed) - NAMED_MAX} more" if len(listed) > NAMED_MAX else ""
    return ", ".join(listed[:NAMED_MAX]) + more


def node_text(graph: Graph, node_id: str, title: str = "") -> str:
    """Id and class of a node, as `9 (SaveImage)`."""
    return f"{printable(node_id)} ({printable(graph[node_id]['class_type'])}{title})"


def _titled(graph: Graph, nodes: Iterable[str]) -> list[str]:
    return [node_text(graph, node_id, _title(graph[node_id])) for node_id in nodes]


def _title(node: Graph) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return f', "{printable(title)}"' if isinstance(title, str) and title else ""
