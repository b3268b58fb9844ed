"""All files that a request is about: those that it names, those of its workflow, and those of its character."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from comfyledger import wire
from comfyledger.admission import inputs
from comfyledger.admission.characters import merge
from comfyledger.admission.files.find import Files, Finder, files_of
from comfyledger.admission.workflows.ready import read_source
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.values import LoadedFile
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies, ReadyWorkflow, WorkflowSource
from comfyledger.settings import CharacterDefaults


async def of_request(
    context: Dependencies,
    label: str,
    message: wire.SubmitBatch,
    source: WorkflowSource | ReadyWorkflow,
    defaults: CharacterDefaults | None,
) -> Files:
    """The files that a request names, and those of its workflow and character. Raises Refused."""
    finder = Finder(context.reader, label, context.policy, partial(_fetched, context, label, message.dry_run))
    found = await configured(context, source, defaults)
    if isinstance(source, WorkflowSource) and not source.name:
        found |= await finder.find_lower(source.files.values())
    return {**found, **await finder.find(files_of(message))}


async def _fetched(context: Dependencies, label: str, dry_run: bool, url: str) -> str:
    """See `Fetch`. A dry run adds nothing."""
    context.input_fetcher.check(url)
    return "" if dry_run else (await inputs.fetch(context, label, wire.AddInput(url))).input.removeprefix(inputs.PREFIX)


async def configured(
    context: Dependencies, source: WorkflowSource | ReadyWorkflow, defaults: CharacterDefaults | None
) -> dict[wire.FileAsked, graphs.GivenFile]:
    """The files that the operator gives to a workflow and a character. They are found for everybody."""
    of_workflow = list(source.files.values()) if isinstance(source, WorkflowSource) and source.name else []
    of_character = [] if defaults is None else list(merge.asked_by(defaults).values())
    asked = [value for value in (*of_workflow, *of_character) if isinstance(value, wire.FileAsked)]
    return await Finder(context.unlimited, "", context.policy).find_lower(asked) if asked else {}


async def loaded_by(context: Dependencies, label: str, loads: Iterable[LoadedFile]) -> dict[str, graphs.GivenFile]:
    """The files that a prompt loads, by address, for another prompt. One that cannot be used has the refusal."""
    finder, of_operator = (Finder(reader, label, context.policy) for reader in (context.reader, context.unlimited))
    found = {}
    for load in loads:
        is_configured = load.source is None and context.is_configured(load.sha256)
        found[load.at] = await (of_operator if is_configured else finder).find_loaded(load)
    return found


async def of_graph(
    context: Dependencies, label: str, workflow: Mapping[str, Any], size_bytes: int
) -> dict[wire.FileAsked, graphs.GivenFile]:
    """The files that a workflow of a request names; none for one that cannot be read."""
    call = partial(read_source, workflow, context.policy.graph_bytes_max)
    try:
        source = await context.tools.large_graphs.run(size_bytes, call)
    except Refused:
        return {}
    finder = Finder(context.reader, label, context.policy, partial(_fetched, context, label, True))
    return await finder.find_lower(source.files.values())
