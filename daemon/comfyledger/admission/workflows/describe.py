"""Answers `describe_workflow`: what a form for a configured workflow shows.

The ranges and choices are those of the ComfyUIs that can run the workflow, as they said last. Whether one can is seen
without the values that a form sets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

from comfyledger import wire
from comfyledger.admission import described_inputs
from comfyledger.admission.suggest import suggested_inputs
from comfyledger.admission.workflows.fitting import asked_again, known_of
from comfyledger.admission.workflows.prepared import ready
from comfyledger.admission.workflows.ready import configured_source
from comfyledger.comfyui.graph.nodes import NAME_CHARS_MAX, printable
from comfyledger.comfyui.graph.plan import addresses_of_the_run
from comfyledger.comfyui.graph.secret_inputs import looks_secret
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.workflow_checks import Template, WorkflowChecks
from comfyledger.core.values import SEED_MAX
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies, ReadyWorkflow, WorkflowSource
from comfyledger.wire.requests.submitting import IMAGES_PER_PROMPT_MAX

PATH = "$.data.workflow"


class _Ready(NamedTuple):
    """The workflow as a ComfyUI would run it; `info` is None if no ComfyUI was ever seen."""

    workflow: ReadyWorkflow
    info: ObjectInfo | None


async def describe_workflow(context: Dependencies, message: wire.DescribeWorkflow) -> wire.WorkflowInputs:
    """Raises Refused: unknown_workflow; backend_unknown for a workflow in the UI format while no ComfyUI was seen; and
    what all ComfyUIs say against the workflow as a whole.
    """
    try:
        source = configured_source(message.workflow, context.policy.workflows)
        seen = await _seen(context, source)
    except Refused as refusal:
        raise refusal.at(PATH) from refusal
    size_bytes = len(next(iter(seen.values())).workflow.template)
    call = partial(_described, source, seen, context.tools.checks)
    return await context.tools.large_graphs.run(size_bytes, call)


async def _seen(context: Dependencies, source: WorkflowSource) -> dict[str, _Ready]:
    """The workflow for each ComfyUI that may run it, or else as any ComfyUI would. At least one. Raises Refused."""
    names = context.policy.backends_of(source)
    known = known_of(context, names)
    if not known:
        known = known_of(context, await asked_again(context, names))
    found: dict[str, _Ready] = {}
    refusals: list[Refused] = []
    for name, one in known.items():
        try:
            found[name] = _Ready(await ready(context, source, one), one.info)
        except Refused as refusal:
            refusals.append(refusal)
    if refusals and not found:
        raise refusals[0]
    return found or {"": _Ready(await ready(context, source, None), None)}


def _described(source: WorkflowSource, seen: Mapping[str, _Ready], checks: WorkflowChecks) -> wire.WorkflowInputs:
    first = next(iter(seen.values())).workflow
    named = _inputs(first)
    shown = {name: one for name, one in seen.items() if not _refused(one, source, checks, named.values())} or seen
    first = next(iter(shown.values())).workflow
    wrong = [_refused(one, source, checks, ()) for one in shown.values()]
    required = frozenset.intersection(*wrong)
    graphs = [described_inputs.Seen(one.workflow.graph, one.info) for one in shown.values()]
    is_suggested = not first.plan.inputs
    return wire.WorkflowInputs(
        workflow=source.name,
        medium=first.plan.every_output[0].medium,
        inputs=[
            described_inputs.described(
                address if is_suggested else name,
                name,
                address,
                graphs,
                file=source.files.get(address),
                required=address in required,
            )
            for name, address in named.items()
        ],
        suggested=is_suggested and bool(named),
        outputs=[
            wire.OutputFound(one.node, printable(first.graph[one.node]["class_type"], NAME_CHARS_MAX), one.medium)
            for one in first.plan.every_output
        ],
        backends=[name for name in shown if name],
        has_seed=bool(first.plan.seeds),
        images_per_prompt_max=_batch_max(first),
        **_seeds([one.workflow for one in shown.values()]),
    )


def _inputs(workflow: ReadyWorkflow) -> dict[str, str]:
    """The names and addresses that a form shows, without secrets and what the run fills in."""
    named = workflow.plan.inputs or suggested_inputs(workflow.graph, workflow.plan)
    taken = addresses_of_the_run(workflow.plan)
    return {
        name: address
        for name, address in named.items()
        if address not in taken and not looks_secret(address.partition(".")[2])
    }


def _refused(one: _Ready, source: WorkflowSource, checks: WorkflowChecks, filled: Collection[str]) -> frozenset[str]:
    """The addresses at which a ComfyUI would refuse the workflow, if `filled` had good values."""
    if one.info is None:
        return frozenset()
    workflow = one.workflow
    template = Template(workflow.key, workflow.graph, workflow.plan)
    found = checks.mistakes(template, [{}], one.info, [{*source.files, *filled}])
    return frozenset(f"{mistake.node}.{mistake.input}" for mistake in found.every)


def _seeds(workflows: Collection[ReadyWorkflow]) -> dict[str, int]:
    """The seeds that all take; of all seeds those that any takes, if none suits all."""
    ranges = [one.plan.seed_range for one in workflows if one.plan.seed_range is not None]
    low, high = max((one[0] for one in ranges), default=0), min((one[1] for one in ranges), default=SEED_MAX)
    return {"seed_min": low, "seed_max": high} if low <= high else {"seed_min": 0, "seed_max": SEED_MAX}


def _batch_max(workflow: ReadyWorkflow) -> int:
    plan = workflow.plan
    if plan.batch_size is None:
        return 1
    return IMAGES_PER_PROMPT_MAX if plan.batch_size_max is None else plan.batch_size_max
