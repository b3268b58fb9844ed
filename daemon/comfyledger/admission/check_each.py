"""Answers `check_workflow`: what a submission would say of a workflow, for the ComfyUI that takes it.

Of several ComfyUIs the first that takes it decides, as for a submission; if none does, the report says what is missing
where.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission import check
from comfyledger.admission.files import of_request
from comfyledger.admission.files.find import Files
from comfyledger.admission.workflows.fitting import asked_again
from comfyledger.comfyui.node_classes import Known
from comfyledger.core.scheduling.fit_words import told_of_all, told_where
from comfyledger.queries.dependencies import Dependencies


async def check_workflow(
    context: Dependencies, label: str, message: wire.CheckWorkflow, raw: bytes
) -> wire.WorkflowReport:
    """What a submission would say of a graph. Raises nothing for a graph that it would refuse."""
    classes = dict(context.node_classes)
    unknown = [name for name, one in classes.items() if one.known is None]
    answered = await asked_again(context, classes if message.strict else unknown)
    files = await of_request.of_graph(context, label, message.workflow, len(raw)) if message.strict else {}
    looked: dict[tuple[str, bool], check.Checked] = {}
    found: dict[str, check.Checked] = {}
    for name, one in classes.items():
        known = one.known
        key = (known.info.digest if known is not None else "", name in answered)
        if key not in looked:
            ground = _ground(context, message, known, files, is_asked=name in answered)
            looked[key] = await _checked(context, message, known, ground, len(raw))
        found[name] = looked[key]
    report, graph = _of_all(found, {name for name, one in classes.items() if one.known is not None})
    return replace(report, graph=graph) if message.convert else report


def _ground(
    context: Dependencies, message: wire.CheckWorkflow, known: Known | None, files: Files, *, is_asked: bool
) -> check.Ground:
    return check.Ground(
        context.policy.graph_bytes_max,
        known.info if known is not None else None,
        context.tools.checks.level if message.strict else None,
        is_asked,
        context.policy.node_classes_denied,
        files,
    )


async def _checked(
    context: Dependencies, message: wire.CheckWorkflow, known: Known | None, ground: check.Ground, size_bytes: int
) -> check.Checked:
    run = partial(context.tools.large_graphs.run, size_bytes)
    convert: check.Convert | None = None
    if known is not None:
        convert = partial(_converted, context, known)
    return await check.check_any_form(message.workflow, ground, convert, run)


async def _converted(context: Dependencies, known: Known, source: bytes | Mapping[str, Any]) -> dict[str, Any]:
    return await context.tools.converter.convert(source, known.body, known.info.digest)


def _of_all(found: Mapping[str, check.Checked], seen: Collection[str]) -> check.Checked:
    """One report for all ComfyUIs. `found`: by name, in their order. `seen`: those that have said what they have."""
    takes = [name for name, one in found.items() if one.report.verdict == "accepted"]
    refused = {name: one.report.message for name, one in found.items() if one.report.verdict == "refused"}
    first, graph = found[next((name for name in takes if name in seen), (takes or list(found))[0])]
    if not takes:
        return check.Checked(replace(first, message=told_of_all(refused)), graph)
    if refused:
        return check.Checked(replace(first, found=[*first.found, told_where(takes, refused)]), graph)
    return check.Checked(first, graph)
