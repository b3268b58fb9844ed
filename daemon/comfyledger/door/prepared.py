"""The configured workflows, read once at the start: a graph that is of no use is told then, not to the first app."""

from __future__ import annotations

from pathlib import Path

import structlog

from comfyledger import workflows
from comfyledger.comfyui import graph as graphs
from comfyledger.door.admission import Prepared, prepare
from comfyledger.errors import Refused
from comfyledger.settings import Settings, Workflow

log = structlog.get_logger("comfyledger.door")


def prepare_workflows(settings: Settings) -> dict[str, Prepared]:
    """Read and check every configured workflow. Raises Refused naming the section that is at fault."""
    prepared = {}
    for name, workflow in settings.workflows.items():
        try:
            prepared[name] = _prepared(name, workflow, settings.limits.graph_bytes_max)
        except Refused as refusal:
            text = f"[workflows.{name}]: {refusal.message}"
            raise Refused("config_invalid", text, hint=refusal.hint, path=refusal.path) from refusal
        log.info("workflow.ready", workflow=name, found=prepared[name].found)
    return prepared


def _prepared(name: str, workflow: Workflow, graph_bytes_max: int) -> Prepared:
    raw, inputs = _source(workflow)
    graph = graphs.read_graph(raw, graph_bytes_max)
    plan = graphs.find_plan(
        graph,
        output=workflow.output,
        seeds=workflow.seeds,
        batch_size=workflow.batch_size,
        inputs={**inputs, **workflow.inputs},
    )
    return prepare(name, graph, plan)


def _source(workflow: Workflow) -> tuple[bytes, dict[str, str]]:
    """The bytes of a workflow, and the inputs that a sample brings along."""
    sample = workflow.file.removeprefix("sample:")
    if sample != workflow.file:
        if sample not in workflows.SAMPLES:
            known = ", ".join(workflows.SAMPLES)
            raise Refused("config_invalid", f"There is no sample {sample!r}.", hint=f"Samples: {known}.")
        return workflows.load(sample), dict(workflows.SAMPLES[sample].inputs)
    try:
        return Path(workflow.file).read_bytes(), {}
    except OSError as error:
        hint = "Give a path relative to the configuration file."
        raise Refused("config_invalid", f"{workflow.file} cannot be read: {error.strerror}.", hint=hint) from error
