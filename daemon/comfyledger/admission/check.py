"""Says what would be done with a workflow, for `check_workflow` and `comfyledger workflow check`.

Bytes or a JSON object come in, a report goes out, and nothing is changed. Without `strict` the verdict is about the
structure alone: form, outputs, seeds, batch size. With it, it is what a submission would say. `check` is pure;
`check_any_form` has a document in the UI format converted first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, TypedDict

import msgspec
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission.suggest import suggested_inputs
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.graph.forms import document_in
from comfyledger.comfyui.graph.nodes import by_number, printable, upstream
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused

LISTED_MAX: Final = 100
"""Entries in each list of a report."""
UNKNOWN_HINT: Final = "Start ComfyUI and the daemon, or export the workflow in ComfyUI: Workflow > Export (API)."


class Ground(NamedTuple):
    """What a workflow is checked against."""

    graph_bytes_max: int
    info: ObjectInfo | None = None
    """What ComfyUI said of its node classes; None if it is not known."""
    strict: bool = False
    node_classes_denied: tuple[str, ...] = ()


class Checked(NamedTuple):
    report: wire.WorkflowReport
    graph: dict[str, Any] | None
    """The graph as it was read, without wrappers; None if it could not be read."""


Convert = Callable[[bytes | Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Turns a document in the UI format into a graph. Raises Refused."""


async def check_any_form(source: bytes | Mapping[str, Any], ground: Ground, convert: Convert | None) -> Checked:
    """The report about a workflow that may be in the UI format. `convert`: None if no node classes are known, without
    which nobody can tell the values in a document apart.
    """
    checked = check(source, ground)
    is_document = checked.report.code == "workflow_ui_format"
    if not is_document and not (checked.report.code == "graph_too_large" and _holds_document(source)):
        return checked
    try:
        if convert is None:
            raise Refused("backend_unknown", hint=UNKNOWN_HINT)
        return check(await convert(source), ground)
    except Refused as refusal:
        return Checked(_refused(refusal, {}, None), None)


def _holds_document(source: bytes | Mapping[str, Any]) -> bool:
    """Whether what is too large for a graph is a document, which has much beside the graph."""
    try:
        decoded = msgspec.json.decode(source) if isinstance(source, bytes) else source
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(decoded, Mapping) and document_in(decoded) is not None


def check(source: bytes | Mapping[str, Any], ground: Ground, named: graphs.Named = graphs.NOTHING_NAMED) -> Checked:
    """The report about a workflow. Raises nothing for a workflow that is refused: that is what the report says."""
    read: graphs.ReadGraph | None = None
    try:
        read = graphs.read_graph(source, ground.graph_bytes_max)
        return Checked(_accepted(read, ground, named), read.nodes)
    except Refused as refusal:
        nodes = read.nodes if read is not None else {}
        return Checked(_refused(refusal, nodes, ground.info), nodes or None)


def _accepted(read: graphs.ReadGraph, ground: Ground, named: graphs.Named) -> wire.WorkflowReport:
    """Raises Refused if the workflow cannot be used."""
    graph, plan = graphs.plan_workflow(read.nodes, replace(named, no_nodes=read.no_nodes), ground.info)
    if ground.strict:
        graphs.check_classes(read.nodes, ground.node_classes_denied)
        graphs.check_graph(graph, [output.prefix for output in plan.every_output])
        graphs.check_no_secrets(graph)
    run = sorted(upstream(graph, [output.node for output in plan.every_output]), key=by_number)
    outputs = [wire.OutputFound(one.node, str(graph[one.node]["class_type"]), one.medium) for one in plan.every_output]
    return wire.WorkflowReport(
        verdict="accepted",
        medium=outputs[0].medium,
        outputs=outputs,
        seeds=list(plan.seeds[:LISTED_MAX]),
        batch_size=plan.batch_size or "",
        not_run=list(plan.left_out[:LISTED_MAX]),
        inputs=suggested_inputs(graph, plan),
        found=graphs.describe(plan, graph).split(" · "),
        **_needs({node_id: graph[node_id] for node_id in run}, ground.info),
    )


def _refused(refusal: Refused, graph: graphs.Graph, info: ObjectInfo | None) -> wire.WorkflowReport:
    return wire.WorkflowReport(
        verdict="refused",
        code=refusal.code,
        message=refusal.message,
        hint=refusal.hint,
        path=refusal.path,
        **_needs(graph, info),
    )


class _Needs(TypedDict):
    unknown_classes: list[str]
    files: list[str]
    models: list[str]


def _needs(graph: graphs.Graph, info: ObjectInfo | None) -> _Needs:
    """What ComfyUI must have for these nodes, each once."""
    classes = dict.fromkeys(str(node["class_type"]) for node in graph.values())
    lacking = [] if info is None else [printable(name) for name in classes if name not in info]
    return {"unknown_classes": lacking[:LISTED_MAX], "files": [], "models": []}
