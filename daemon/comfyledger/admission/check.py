"""Says what would be done with a workflow, for `check_workflow` and `comfyledger workflow check`.

Bytes or a JSON object come in, a report goes out, and nothing is changed. Without `strict` the verdict is about the
structure alone: form, outputs, seeds, batch size. With it, it is what a submission would say. `check` is pure;
`check_any_form` has a document in the UI format converted first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission.files.find import NO_FILES, Files, filled
from comfyledger.admission.suggest import suggested_inputs
from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.graph.checks import Level
from comfyledger.comfyui.graph.forms import document_in
from comfyledger.comfyui.graph.nodes import printable, some_of, upstream
from comfyledger.comfyui.graph.plan import addresses_of_the_run
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import NodeMistake, Refused
from comfyledger.wire.strict import has_many_parts

LISTED_MAX: Final = 100
"""Entries in each list of a report."""
CLASS_CHARS: Final = 200
UNKNOWN_HINT: Final = "Start ComfyUI and the daemon, or export the workflow in ComfyUI: Workflow > Export (API)."


class Ground(NamedTuple):
    """What a workflow is checked against."""

    graph_bytes_max: int
    info: ObjectInfo | None = None
    """What ComfyUI said of its node classes; None if it is not known."""
    strict: Level | Literal["off"] | None = None
    """None: the structure alone. Else what a submission checks, and how far it looks at the node classes."""
    is_asked: bool = True
    """Whether `info` is what ComfyUI says now. Of what it said before nothing is refused: it may have changed."""
    node_classes_denied: tuple[str, ...] = ()
    files: Files = NO_FILES
    """The files that the workflow names, as far as they were looked for."""


class Checked(NamedTuple):
    report: wire.WorkflowReport
    graph: dict[str, Any] | None
    """The graph as it was read, without wrappers; None if it could not be read."""


Convert = Callable[[bytes | Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Turns a document in the UI format into a graph. Raises Refused."""


Run = Callable[[Callable[[], Checked]], Awaitable[Checked]]
"""Calls a function, maybe in another thread, and gives its result."""


async def at_once(call: Callable[[], Checked]) -> Checked:
    return call()


async def check_any_form(
    source: bytes | Mapping[str, Any], ground: Ground, convert: Convert | None, run: Run = at_once
) -> Checked:
    """The report about a workflow that may be in the UI format. `convert`: None if no node classes are known, without
    which nobody can tell the values in a document apart. `run`: how checks are run.
    """
    checked = await run(partial(check, source, ground))
    is_document = checked.report.code == "workflow_ui_format"
    if not is_document and not (checked.report.code == "graph_too_large" and _holds_document(source)):
        return checked
    try:
        if convert is None:
            raise Refused("backend_unknown", hint=UNKNOWN_HINT)
        return await run(partial(check, await convert(source), ground))
    except Refused as refusal:
        return Checked(_unconverted(refusal), None)


def _holds_document(source: bytes | Mapping[str, Any]) -> bool:
    """Whether what is too large for a graph is a document, which has much beside the graph."""
    if isinstance(source, bytes) and has_many_parts(source):
        return False
    try:
        decoded = msgspec.json.decode(source) if isinstance(source, bytes) else source
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(decoded, Mapping) and document_in(decoded) is not None


def check(source: bytes | Mapping[str, Any], ground: Ground, named: graphs.Named = graphs.NOTHING_NAMED) -> Checked:
    """The report about a workflow. Raises nothing for a workflow that is refused: that is what the report says."""
    nodes: dict[str, Any] = {}
    try:
        read = graphs.read_graph(source, ground.graph_bytes_max)
        nodes = read.nodes
        emptied, files = graphs.files_in(nodes)
        graph, plan = graphs.plan_workflow(emptied, replace(named, no_nodes=read.no_nodes), ground.info)
    except Refused as refusal:
        return Checked(_refused(_needing(nodes, ground.info, nodes), refusal), nodes or None)
    report = _planned(graph, plan, ground.info)
    if files:
        report = replace(report, found=[*report.found, f"files: {some_of(map(printable, files))}"])
    if ground.strict is not None:
        report = _strictly(report, emptied, graph, plan, files, ground)
    return Checked(report, nodes)


def _planned(graph: graphs.Graph, plan: graphs.Plan, info: ObjectInfo | None) -> wire.WorkflowReport:
    run = upstream(graph, [output.node for output in plan.every_output])
    classes = (printable(graph[one.node]["class_type"], CLASS_CHARS) for one in plan.every_output)
    outputs = [
        wire.OutputFound(one.node, name, one.medium) for one, name in zip(plan.every_output, classes, strict=True)
    ]
    return replace(
        _needing(graph, info, run),
        medium=outputs[0].medium,
        outputs=outputs,
        seeds=list(plan.seeds[:LISTED_MAX]),
        batch_size=plan.batch_size or "",
        not_run=list(plan.left_out),
        inputs=suggested_inputs(graph, plan),
        found=graphs.findings(plan, graph),
    )


def _needing(graph: graphs.Graph, info: ObjectInfo | None, nodes: Collection[str]) -> wire.WorkflowReport:
    """A report with what ComfyUI must have for these nodes."""
    lacking = checks.unknown_classes(graph, info, nodes) if info is not None else ()
    return wire.WorkflowReport(
        verdict="accepted",
        unknown_classes=[printable(name, CLASS_CHARS) for name in lacking[:LISTED_MAX]],
        files=list(checks.files(graph, info, nodes)[:LISTED_MAX]),
        models=list(checks.models(graph, nodes)[:LISTED_MAX]),
    )


def _refused(report: wire.WorkflowReport, refusal: Refused) -> wire.WorkflowReport:
    return replace(
        report,
        verdict="refused",
        code=refusal.code,
        message=refusal.message,
        hint=refusal.hint,
        path=refusal.path,
        mistakes=[wire.mistake_info(mistake) for mistake in refusal.mistakes],
    )


def _unconverted(refusal: Refused) -> wire.WorkflowReport:
    """About a document that could not be converted, mostly because ComfyUI lacks some of its classes."""
    lacking = dict.fromkeys(one.class_type for one in refusal.mistakes if one.kind == "missing_node_type")
    return _refused(wire.WorkflowReport("refused", unknown_classes=list(lacking)), refusal)


def _strictly(
    report: wire.WorkflowReport,
    source: graphs.Graph,
    graph: graphs.Graph,
    plan: graphs.Plan,
    files: Mapping[str, wire.FileAsked],
    ground: Ground,
) -> wire.WorkflowReport:
    """The report with the verdict of a submission. `source`: the graph without savers of ours. `files`: by address."""
    try:
        _check_files(graph, plan, files, ground)
        graphs.check_classes(source, ground.node_classes_denied)
        graphs.check_graph(graph, [output.prefix for output in plan.every_output])
        graphs.check_no_secrets(source)
    except Refused as refusal:
        return _refused(report, refusal)
    if ground.strict is None or ground.strict == "off":
        return report
    run_fills = {*addresses_of_the_run(plan), *files}
    mistakes = None if ground.info is None else _mistakes(graph, plan, ground.info, run_fills, ground.strict)
    if mistakes is None or (mistakes and not ground.is_asked):
        return replace(report, found=[*report.found, checks.UNCHECKED])
    report = replace(report, checked=ground.strict)
    return _refused(report, checks.refusal(mistakes)) if mistakes else report


def _check_files(graph: graphs.Graph, plan: graphs.Plan, files: Mapping[str, wire.FileAsked], ground: Ground) -> None:
    """Raises Refused for a file that is not there, or that the input does not take."""
    given = graphs.check_inputs(graph, plan, filled(files, ground.files), ground.info)
    for address, file in given.items():
        if file.refusal is not None:
            raise file.refusal.at(address)


def _mistakes(
    graph: graphs.Graph, plan: graphs.Plan, info: ObjectInfo, filled: Collection[str], level: Level
) -> tuple[NodeMistake, ...]:
    outputs = [output.node for output in plan.every_output]
    return checks.find_mistakes(graph, outputs, info, filled=filled, level=level)
