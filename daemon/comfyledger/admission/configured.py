"""The configured workflows, read once at the start, so that an unusable graph is reported then and not to an app."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path

import structlog

from comfyledger import workflows
from comfyledger.admission.workflows.ready import document_bytes_max, make_ready, read_source
from comfyledger.comfyui.graph import read as graphs
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import ReadyWorkflow, WorkflowSource
from comfyledger.settings import Secret, Settings, Workflow, read_secret
from comfyledger.wire.picture import HEAD_BYTES, graph_in_picture, is_picture

log = structlog.get_logger("comfyledger.door")


def read_workflows(settings: Settings) -> dict[str, WorkflowSource]:
    """Read every configured workflow, and check what does not depend on a ComfyUI.

    Raises Refused naming the section with the mistake.
    """
    read = {}
    for name, workflow in settings.workflows.items():
        try:
            read[name] = _read(name, workflow, settings.limits.graph_bytes_max)
            found = "" if read[name].graph is None else made_ready(read[name]).found
        except Refused as refusal:
            text = f"[workflows.{name}]: {refusal.message}"
            raise Refused("config_invalid", text, hint=refusal.hint, path=refusal.path) from refusal
        log.debug("workflow.read", workflow=name, found=found)
    return read


def made_ready(source: WorkflowSource) -> ReadyWorkflow:
    """A configured workflow in the API format as any ComfyUI would run it. Raises Refused."""
    return make_ready(source, source.graph or {}, None)


def _read(name: str, workflow: Workflow, graph_bytes_max: int) -> WorkflowSource:
    raw, inputs = _source(workflow, graph_bytes_max)
    source = read_source(raw, graph_bytes_max)
    for address, file in source.files.items():
        if not file.sha256:
            text = f"{address} is no input file by its sha256, and a configured workflow may have no other file."
            hint = "`comfyledger input add FILE` prints what to write."
            raise Refused("invalid_field", text, hint=hint, path=address)
    found = graphs.secrets_in(source.graph or {})
    named = graphs.Named(
        outputs=workflow.every_output,
        seeds=workflow.seeds,
        batch_size=workflow.batch_size,
        inputs={**inputs, **workflow.inputs},
        secrets=tuple(dict.fromkeys([*found, *workflow.secrets])),
        no_nodes=source.named.no_nodes,
    )
    graph = None if source.graph is None else graphs.without(source.graph, found)
    secrets = {at: Secret(value) for at, value in found.items()}
    return WorkflowSource(name, graph, source.document, named, secrets, source.files, workflow.needs)


def _source(workflow: Workflow, graph_bytes_max: int) -> tuple[bytes, dict[str, str]]:
    """The bytes of a workflow, and the inputs that a sample defines."""
    sample = workflow.file.removeprefix("sample:")
    if sample != workflow.file:
        if sample not in workflows.SAMPLES:
            known = ", ".join(workflows.SAMPLES)
            raise Refused("config_invalid", f"There is no sample {sample!r}.", hint=f"Samples: {known}.")
        return workflows.load(sample), dict(workflows.SAMPLES[sample].inputs)
    try:
        return _content(Path(workflow.file), graph_bytes_max), {}
    except OSError as error:
        hint = "Give a path relative to the configuration file."
        raise Refused("config_invalid", f"{workflow.file} cannot be read: {error.strerror}.", hint=hint) from error


def _content(path: Path, graph_bytes_max: int) -> bytes:
    """The JSON in a file, or in a picture that ComfyUI made."""
    with path.open("rb") as file:
        picture = is_picture(file.read(HEAD_BYTES))
        file.seek(0)
        most = document_bytes_max(graph_bytes_max)
        if picture:
            return graph_in_picture(file, most)
        most += len(codecs.BOM_UTF8)
        content = file.read(most + 1)
    if len(content) > most:
        hint = "Remove nodes that are not needed, or raise [limits] graph_bytes_max."
        raise Refused("graph_too_large", f"The workflow has more than {most:,} bytes.", hint=hint)
    return content.removeprefix(codecs.BOM_UTF8)


# ---- secrets, which are filled in before sending and never stored


def keys_of_backends(settings: Settings, environ: Mapping[str, str]) -> dict[str, dict[str, Secret]]:
    """The keys of paid nodes for each ComfyUI. Raises Refused(config_invalid)."""
    return {
        name: {key: _secret(f"[comfyui.{name}] extra_data.{key}", source, environ) for key, source in its.items()}
        for name, its in ((name, one.extra_data) for name, one in settings.comfyui.items())
    }


def secrets_of_workflows(
    settings: Settings, prepared: Mapping[str, WorkflowSource], environ: Mapping[str, str]
) -> dict[str, dict[str, Secret]]:
    """The secrets of each workflow by address: those in its file, and those that its section names.

    Raises Refused(config_invalid).
    """
    inputs = {
        name: one.secrets
        | {
            address: _secret(f"[workflows.{name}] secrets.{address}", source, environ)
            for address, source in settings.workflows[name].secrets.items()
        }
        for name, one in prepared.items()
    }
    if any(inputs.values()) and not settings.spool.strip_metadata:
        text = "With [spool] strip_metadata = false every image would contain the secrets of [workflows]."
        raise Refused("config_invalid", text, hint="Set strip_metadata to true.")
    return inputs


def _secret(where: str, source: str, environ: Mapping[str, str]) -> Secret:
    try:
        return read_secret(source, environ)
    except Refused as refusal:
        raise Refused(refusal.code, f"{where}: {refusal.message}", hint=refusal.hint) from refusal
