"""Workflows: read, checked, stored as a template, and filled in for one attempt. PURE.

A graph in ComfyUI's API format comes in as bytes or as a value. `plan_workflow` (in `find`) says where prefixes, seed,
batch size and named inputs are. The template is what is stored, and the filled graph is what ComfyUI gets. No call
changes its arguments. Nodes without a change are shared, so the results are read-only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import msgspec

from comfyledger.comfyui.graph.find import NOTHING_NAMED, Named, plan_workflow
from comfyledger.comfyui.graph.forms import ReadGraph, graph_in
from comfyledger.comfyui.graph.given_files import GivenFile, check_file, files_in
from comfyledger.comfyui.graph.nodes import (
    Graph,
    check_nodes,
    is_link,
    kind_of,
    locate,
    node_text,
    present_value,
    printable,
    some_of,
    unknown_input,
)
from comfyledger.comfyui.graph.outputs import OURS_ID, check_medium
from comfyledger.comfyui.graph.paths import check_graph, check_input
from comfyledger.comfyui.graph.plan import Output, Plan, addresses_of_the_run
from comfyledger.comfyui.graph.savers import SAVERS
from comfyledger.comfyui.graph.secret_inputs import check_no_secrets, check_not_secret, secrets_in, without
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused
from comfyledger.wire.picture import EXPORT_HINT
from comfyledger.wire.strict import check_once, finite

__all__ = [
    "NOTHING_NAMED",
    "GivenFile",
    "Graph",
    "Named",
    "Output",
    "Plan",
    "ReadGraph",
    "as_template",
    "check_classes",
    "check_graph",
    "check_inputs",
    "check_no_secrets",
    "describe",
    "files_in",
    "fill",
    "findings",
    "makes_one",
    "plan_workflow",
    "read_graph",
    "read_workflow",
    "secrets_in",
    "seeds_text",
    "with_values",
    "without",
]

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
NESTING_MAX = 64


def read_graph(source: bytes | Mapping[str, Any], graph_bytes_max: int) -> ReadGraph:
    """The graph in API format that bytes or a JSON value contain, as a copy, without wrappers and what is no node.

    Raises Refused: graph_too_large, workflow_ui_format, workflow_invalid (the path is the node at fault).
    """
    read = graph_in(_decoded(source, graph_bytes_max))
    check_nodes(read.nodes)
    return read


def read_workflow(
    source: bytes | Mapping[str, Any], graph_bytes_max: int, document_bytes_max: int
) -> ReadGraph | bytes:
    """The graph in API format; or, of a document in the UI format, its JSON. Raises Refused as `read_graph` does.

    `document_bytes_max`: of a document, which says more than a graph.
    """
    try:
        return read_graph(source, graph_bytes_max)
    except Refused as refusal:
        if refusal.code not in {"workflow_ui_format", "graph_too_large"}:
            raise
        text = source if isinstance(source, bytes) else msgspec.json.encode(dict(source))
        if refusal.code == "graph_too_large" and not _is_document(text, document_bytes_max):
            raise
        return text


def _is_document(text: bytes, document_bytes_max: int) -> bool:
    try:
        graph_in(_decoded(text, document_bytes_max))
    except Refused as refusal:
        return refusal.code == "workflow_ui_format"
    return False


def _decoded(source: bytes | Mapping[str, Any], graph_bytes_max: int) -> dict[str, Any]:
    try:
        text = source if isinstance(source, bytes) else msgspec.json.encode(dict(source))
        _check_size(len(text), graph_bytes_max)
        decoded = _json(text)
        if isinstance(source, bytes):  # the reader of a value has checked it
            check_once(text.decode("utf-8-sig"))
    except Refused as refusal:
        place = refusal.path.removeprefix("$").removeprefix(".")
        raise Refused(refusal.code, refusal.message, hint=refusal.hint, path=place) from None
    except (ValueError, TypeError, RecursionError) as fault:
        raise Refused(
            "workflow_invalid", f"The workflow is not JSON: {printable(str(fault), 200)}.", hint=EXPORT_HINT
        ) from None
    if not isinstance(decoded, dict):
        raise Refused("workflow_invalid", "The workflow is not a JSON object.", hint=EXPORT_HINT)
    _check_nesting(decoded)
    return decoded


def _json(text: bytes) -> Any:
    """JSON as ComfyUI writes it: with a byte order mark, or with NaN and infinities where ComfyUI does not read them
    itself.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = finite(json.loads(text.decode("utf-8-sig")), "$")
        msgspec.json.encode(value)  # half a surrogate pair can be read, and nobody could write it
        return value


def _check_size(size_bytes: int, graph_bytes_max: int) -> None:
    if size_bytes > graph_bytes_max:
        raise Refused(
            "graph_too_large",
            f"The workflow has {size_bytes:,} bytes; the limit is {graph_bytes_max:,}.",
            hint="Remove nodes that are not needed, or raise [limits] graph_bytes_max.",
        )


def _check_nesting(decoded: dict[str, Any]) -> None:
    """Refuse deep nesting here, because encoding the graph later from a deeper stack could fail."""
    level: list[Any] = [decoded]
    for _ in range(NESTING_MAX):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise Refused("workflow_invalid", f"The workflow is nested more than {NESTING_MAX} levels deep.", hint=EXPORT_HINT)


def _children(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def as_template(graph: Graph, plan: Plan) -> dict[str, Any]:
    """The graph with null where a run fills in prefix, seeds, batch size and secrets. Named inputs keep their defaults.

    Graphs that differ only in the values of a run have equal templates. Raises Refused (unknown_input) if the plan
    belongs to another graph.
    """
    run = dict.fromkeys([*plan.seeds, *plan.every_batch_size, *plan.secrets])
    return _with(graph, plan, run, [None] * len(plan.every_output))


def fill(
    template: Graph,
    plan: Plan,
    *,
    prefixes: Sequence[str],
    seed: int,
    batch_size: int,
    inputs: Mapping[str, Any],
    secrets: Mapping[str, str] = _NONE,
    left_out: Collection[str] = (),
) -> dict[str, Any]:
    """The graph of one attempt. `prefixes`: one for each of `plan.every_output`, in its order. `inputs` and the plan's
    secrets are by address, as `check_inputs` returns them.

    Every seed gets the same number. Without an input for it the batch size is omitted. `left_out`: nodes that are not
    sent. Raises Refused (unknown_input) for an address that is not there.
    """
    values = {**inputs, **dict.fromkeys(plan.seeds, seed), **{address: secrets[address] for address in plan.secrets}}
    values |= dict.fromkeys(plan.every_batch_size, batch_size)
    filled = _with(template, plan, values, prefixes)
    return {node_id: node for node_id, node in filled.items() if node_id not in left_out}


def _with(graph: Graph, plan: Plan, values: Mapping[str, Any], prefixes: Sequence[str | None]) -> dict[str, Any]:
    """A copy that shares all nodes except those that get a value."""
    outputs = zip(plan.every_output, prefixes, strict=True)
    prefixed = [(*_prefix_place(graph, output), prefix) for output, prefix in outputs]
    return _filled(graph, [*((*_place(graph, address), value) for address, value in values.items()), *prefixed])


def with_values(graph: Graph, values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with these values, by address. It shares all other nodes. Raises Refused (unknown_input)."""
    return _filled(graph, ((*_place(graph, address), value) for address, value in values.items()))


def _filled(graph: Graph, places: Iterable[tuple[str, str, Any]]) -> dict[str, Any]:
    filled = dict(graph)
    touched: set[str] = set()
    for node_id, name, value in places:
        if node_id not in touched:
            touched.add(node_id)
            filled[node_id] = {**graph[node_id], "inputs": dict(graph[node_id]["inputs"])}
        filled[node_id]["inputs"][name] = value
    return filled


def _prefix_place(graph: Graph, output: Output) -> tuple[str, str]:
    """The node of an output and the name of its prefix, which the node need not have yet."""
    if output.node not in graph:
        raise unknown_input(graph, {}, output.prefix, output.prefix)
    return output.node, output.prefix.partition(".")[2]


def _place(graph: Graph, address: str) -> tuple[str, str]:
    place = locate(graph, address)
    if place is None:
        raise unknown_input(graph, {}, address, address)
    return place


def check_inputs(graph: Graph, plan: Plan, inputs: Mapping[str, Any], info: ObjectInfo | None = None) -> dict[str, Any]:
    """The inputs of a request, by address. A request gives a name ("prompt") or an address ("6.text"). A value may be a
    `GivenFile`. `info`: what ComfyUI says of its nodes, if it is known; it says which inputs take a file.

    Raises Refused: workflow_unsafe_path; secret_input; unknown_input, with the nearest one; invalid_field for a value
    of another kind than the present one, for a link, for what the run fills in itself, for what would change the medium
    of an output, and for an input that is given twice; input_not_taken. The path is what the request called the input.
    """
    taken = addresses_of_the_run(plan)
    checked: dict[str, Any] = {}
    for asked, value in inputs.items():
        address = plan.inputs.get(asked, asked)
        check_not_secret(address, value, printable(asked), plan.secrets)
        present = present_value(graph, address, asked, plan.inputs, taken)
        if isinstance(value, GivenFile):
            check_file(graph, address, value, asked, info)
        elif kind_of(value) != (kind_of(present) or "a text"):
            message = f"{printable(asked)} must be {kind_of(present) or 'a text'}."
            raise Refused("invalid_field", message, path=printable(asked))
        if address in checked:
            raise Refused("invalid_field", f"{printable(address)} is given twice.", path=printable(asked))
        check_input(address, value, printable(asked), str(graph[address.partition(".")[0]]["class_type"]))
        checked[address] = value
    check_medium(graph, plan, checked, {plan.inputs.get(name, name): name for name in inputs})
    return checked


def check_classes(graph: Graph, denied: Sequence[str]) -> None:
    """Raises Refused (workflow_node_denied) for a node of a class that a pattern names; `*` stands for any text."""
    patterns = [re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL) for pattern in denied]
    for node_id, node in graph.items():
        if any(pattern.fullmatch(str(node["class_type"])) for pattern in patterns):
            raise Refused(
                "workflow_node_denied",
                f"Node {node_text(graph, node_id)} is of a class that graphs in requests may not use.",
                hint="Remove the node, or have the operator configure the workflow or change node_classes_denied.",
                path=printable(node_id),
            )


def describe(plan: Plan, graph: Graph) -> str:
    """What was found, in one line for people."""
    return " · ".join(findings(plan, graph))


def findings(plan: Plan, graph: Graph) -> list[str]:
    """What was found, each thing for itself."""
    parts = [
        _describe_outputs(plan, graph),
        _describe_seeds(plan, graph),
        _describe_batch_size(plan, graph),
    ]
    if plan.secrets:
        parts.append(f"secrets: {_address_texts(graph, plan.secrets)}")
    if plan.inputs:
        named = [f"{printable(name)} = {_address_text(graph, at)}" for name, at in plan.inputs.items()]
        parts.append(f"inputs: {some_of(named)}")
    if plan.no_nodes:
        parts.append(f"no nodes, left out: {some_of(plan.no_nodes)}")
    if plan.left_out:
        parts.append(f"not run: {some_of(node_text(graph, node_id) for node_id in plan.left_out)}")
    return parts


def _describe_outputs(plan: Plan, graph: Graph) -> str:
    texts = []
    for output in plan.every_output:
        text = f"node {node_text(graph, output.node)}{_source_text(graph, output.node)}"
        texts.append(f"{text}, {output.medium}" if plan.outputs else text)
    return f"{'output' if len(texts) == 1 else 'outputs'}: {some_of(texts)}"


def _source_text(graph: Graph, node_id: str) -> str:
    """For a saver of ours: what it is linked to."""
    links = (value for value in graph[node_id]["inputs"].values() if is_link(graph, value))
    link = next(links, None) if node_id.startswith(OURS_ID) else None
    return f" of node {node_text(graph, link[0])}" if link else ""


def seeds_text(plan: Plan, graph: Graph) -> str:
    """The places of the seeds."""
    return _address_texts(graph, plan.seeds)


def _describe_seeds(plan: Plan, graph: Graph) -> str:
    found = f"{'seed' if len(plan.seeds) == 1 else 'seeds'}: {seeds_text(plan, graph)}{_range_text(plan)}"
    if plan.seeds_unclear:
        unclear = f"name their numbers with `seeds`: {_address_texts(graph, plan.seeds_unclear)}"
        if plan.seeds:
            return f"{found}; others are linked and not guessed; {unclear}"
        return f"seed: linked and not guessed, so equal inputs give equal images; {unclear}"
    return found if plan.seeds else "seed: none found, so equal inputs give equal images"


def _range_text(plan: Plan) -> str:
    return f", {plan.seed_range[0]} to {plan.seed_range[1]}" if plan.seed_range is not None else ""


def _describe_batch_size(plan: Plan, graph: Graph) -> str:
    if plan.batch_size is not None:
        most = f", at most {plan.batch_size_max}" if plan.batch_size_max is not None else ""
        called = "batch sizes" if plan.batch_sizes_too else "batch size"
        return f"{called}: {_address_texts(graph, plan.every_batch_size)}{most}"
    if plan.batch_sizes_unclear:
        if joining := [one.node for one in plan.every_output if _joins(graph, one.node)]:
            return f"batch size: not filled in, because {node_text(graph, joining[0])} makes one file of a batch"
        return f"batch size: not guessed; name it with `batch_size`: {_address_texts(graph, plan.batch_sizes_unclear)}"
    return "batch size: none found, so each prompt makes the images that the workflow makes"


def makes_one(plan: Plan, graph: Graph) -> bool:
    """Whether the graph says of itself that a run makes one file: several inputs could be its batch size, all are 1."""
    if any(_joins(graph, one.node) for one in plan.every_output):
        return False
    places = map(partial(_place, graph), plan.batch_sizes_unclear)
    values = [graph[node_id]["inputs"][name] for node_id, name in places]
    return bool(values) and all(value == 1 for value in values)


def _joins(graph: Graph, node_id: str) -> bool:
    """Whether a node is known to make one file of a batch of images."""
    saver = SAVERS.get(graph[node_id]["class_type"])
    return saver is not None and not saver.each


def _address_texts(graph: Graph, addresses: Iterable[str]) -> str:
    return some_of(_address_text(graph, address) for address in addresses)


def _address_text(graph: Graph, address: str) -> str:
    node_id, _ = _place(graph, address)
    return f"{printable(address)} ({printable(graph[node_id]['class_type'])})"
