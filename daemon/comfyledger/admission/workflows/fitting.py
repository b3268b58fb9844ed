"""Admits a request for the ComfyUI that will run it: makes its workflow ready and checks it, before a number is used.

A submission and a dry run go the same way. What ComfyUI would refuse is refused here, and only by an answer of
`/object_info` that is fresh. If ComfyUI cannot be asked, a graph is accepted unchecked; the worker checks it before it
sends it. A repeat is answered from the ledger before ComfyUI is asked anything.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission import admit, levels, repeats, sweep
from comfyledger.admission.characters import merge
from comfyledger.admission.files import of_request
from comfyledger.admission.files.find import Files, files_of
from comfyledger.admission.shots import without_files
from comfyledger.admission.workflows.again import Again
from comfyledger.admission.workflows.again import again as completed_again
from comfyledger.admission.workflows.ready import below, make_ready, source_of
from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.node_classes import Known
from comfyledger.comfyui.workflow_checks import Template
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies, ReadyWorkflow, WorkflowSource
from comfyledger.queries.large_graphs import LARGE_BYTES
from comfyledger.settings import CharacterDefaults

OWN_BYTES_MAX: Final = LARGE_BYTES
"""The size up to which a graph that comes with a request is remembered: that of most. Strangers send what they like."""


async def admitted(
    context: Dependencies, label: str, message: wire.SubmitBatch, raw: bytes
) -> admit.Admitted | wire.BatchAccepted:
    """The request as a command, or the first reply to the request that it repeats. Raises Refused."""
    request = await _request(context, label, message, raw)
    if isinstance(request, wire.BatchAccepted):
        return request
    classes = context.node_classes[context.policy.backend]
    before = classes.known
    if before is None or not request.is_converted(before):
        repeated = await repeats.answered_before(context, label, raw)
        if repeated is not None:
            return repeated
    refusal = None
    if before is not None:
        try:
            return await request.admitted(before)
        except Refused as refused:
            if await request.is_refused_anyway(refused):
                raise
            refusal = refused
        repeated = await repeats.answered_before(context, label, raw)
        if repeated is not None:
            return repeated
    if await classes.fresh(asyncio.get_running_loop().time()) is None:
        return await request.admitted_unchecked(before)
    if refusal is not None and classes.known is before:
        raise refusal
    return await request.admitted(classes.known)


async def _request(
    context: Dependencies, label: str, message: wire.SubmitBatch, raw: bytes
) -> _Request | wire.BatchAccepted:
    """The request, completed and checked as far as it can be without its workflow; or the first reply to a request that
    would fetch a file again. Raises Refused.
    """
    again = await completed_again(context, label, message)
    message = message if again is None else again.message
    admit.check_message(message, context.policy)
    source: WorkflowSource | ReadyWorkflow
    if again is not None and again.workflow is not None:
        source, defaults, of_graph = again.workflow, None, dict[str, wire.FileAsked]()
    else:
        defaults = merge.defaults_of(message, label, context.characters.now) if again is None else None
        own = defaults.workflow if defaults is not None else ""
        source = await context.tools.large_graphs.run(len(raw), partial(source_of, message, context.policy, own))
        of_graph = source.files
    if any(file.url for file in (*(file for _, file in files_of(message)), *of_graph.values())):
        repeated = await repeats.answered_before(context, label, raw)
        if repeated is not None:
            return repeated
    files = await of_request.of_request(context, label, message, source, defaults)
    return _Request(context, label, message, raw, source, defaults, again, files)


class _Request:
    """One request, and what can be made of it with the node classes of a ComfyUI."""

    def __init__(
        self,
        context: Dependencies,
        label: str,
        message: wire.SubmitBatch,
        raw: bytes,
        source: WorkflowSource | ReadyWorkflow,
        defaults: CharacterDefaults | None,
        again: Again | None,
        files: Files,
    ) -> None:
        self._context = context
        self._label = label
        self._message = message
        self._raw = raw
        self._source = source
        self._defaults = defaults
        self._again = again
        self._files = files
        self._of_graph = source.files if isinstance(source, WorkflowSource) else {}

    def is_converted(self, known: Known) -> bool:
        """Whether the graph is there without asking another process."""
        source = self._source
        if isinstance(source, ReadyWorkflow) or source.graph is not None:
            return True
        return converted_before(self._context, source, known) is not None

    async def admitted(self, known: Known | None) -> admit.Admitted:
        """Raises Refused, also for what ComfyUI would refuse."""
        made = await self._made(known)
        if known is not None:
            await self._context.tools.large_graphs.run(len(self._raw), partial(self._check, made, known))
        return made

    async def admitted_unchecked(self, known: Known | None) -> admit.Admitted:
        """As ComfyUI was when it was seen last, or else as any ComfyUI. Raises Refused."""
        try:
            made = await self._made(known)
        except Refused:
            if known is None or self._source.graph is None:
                raise
            made = await self._made(None)
        if self._context.tools.checks.level == "off":
            return made
        found = f"{made.workflow.found} · {checks.UNCHECKED}"
        return replace(
            made, command=replace(made.command, unchecked=True), workflow=replace(made.workflow, found=found)
        )

    async def is_refused_anyway(self, refusal: Refused) -> bool:
        """Whether any ComfyUI would have to refuse it for the same reason."""
        if self._source.graph is None:
            return False
        try:
            await self._made(None)
        except Refused as other:
            return other.code == refusal.code
        return False

    async def _made(self, known: Known | None) -> admit.Admitted:
        context, workflow, again = self._context, self._source, self._again
        if isinstance(workflow, WorkflowSource):
            try:
                workflow = await ready(context, workflow, known, len(self._raw))
            except Refused as refusal:
                raise below(refusal, self._message) from refusal
        ground = levels.Ground(workflow, self._files, known.info if known is not None else None)
        below_request = levels.lower(ground, self._of_graph, self._defaults, again.inputs if again is not None else {})
        return admit.admit(
            self._message,
            ground,
            below_request,
            raw=self._raw,
            label=self._label,
            policy=context.policy,
            stores=context.store_refs(),
            secret=context.view.secret,
            ids=context.ids,
            origin=again.origin if again is not None else None,
        )

    def _check(self, made: admit.Admitted, known: Known) -> None:
        """Raises Refused (workflow_failed_validation)."""
        workflow = made.workflow
        template = Template(workflow.key, workflow.graph, workflow.plan)
        values, loads = _split(made)
        found = self._context.tools.checks.mistakes(template, values, known.info, loads)
        if found.workflow:
            refusal = checks.refusal(found.workflow)
            raise refusal.at("$.data.like") if self._is_recorded else refusal.below("$.data.workflow")
        if found.images:
            shot, mistakes = next(iter(found.images.items()))
            address = f"{mistakes[0].node}.{mistakes[0].input}"
            field = self._field(shot, address, workflow.plan.inputs)
            raise checks.refusal(found.every).at(field or self._field_beside(address, made))

    def _field(self, shot: int, address: str, named: Mapping[str, str]) -> str | None:
        """Where a request gives the value at an address; None if it does not."""
        message = self._message
        names = (address, *(name for name, at in named.items() if at == address))
        own = sweep.own_inputs(message, shot)
        for name in names:
            if name in own:
                return sweep.own_path(message, shot, name)
        for name in names:
            if name in message.inputs:
                return f"$.data.inputs.{name}"
        return None

    def _field_beside(self, address: str, made: admit.Admitted) -> str:
        """Where a value comes from that the request does not give."""
        if address in made.below.of_character.addresses:
            return "$.data.character"
        if self._is_recorded or address in made.below.of_recipe:
            return "$.data.like"
        return f"$.data.workflow.{address}"

    @property
    def _is_recorded(self) -> bool:
        """Whether the graph is that of a recipe."""
        return isinstance(self._source, ReadyWorkflow)


def _split(made: admit.Admitted) -> tuple[list[dict[str, Any]], list[dict[str, graphs.GivenFile]]]:
    """The values of each shot, and its files; an empty list if no shot has any."""
    if not any(prompt.loads for prompt in made.command.prompts):
        return made.inputs, []
    parts = [without_files(inputs) for inputs in made.inputs]
    return [values for values, _ in parts], [files for _, files in parts]


# ---- workflows that are ready


async def ready(
    context: Dependencies, source: WorkflowSource, known: Known | None, size_bytes: int = 0
) -> ReadyWorkflow:
    """A workflow for a ComfyUI with these node classes; None if they are not known.

    `size_bytes`: of the request. What was made is kept, of a request that carries its own graph only if that is small.
    Raises Refused: backend_unknown for a document in the UI format while nothing is known.
    """
    graph, info = await _graph(context, source, known), known.info if known is not None else None
    key = (*_identity(source, graph), source.named.outputs, info.digest if info is not None else "")
    kept = context.tools.ready.get(key) if key[0] else None
    if kept is None:
        call = partial(make_ready, source, graph, info, context.policy.node_classes_denied)
        kept = await context.tools.large_graphs.run(size_bytes, call)
        if key[0]:
            context.tools.ready.put(key, kept)
    return kept


async def unfit(context: Dependencies) -> dict[str, str]:
    """The configured workflows that ComfyUI would refuse as they are, each with the reason; nothing while it was never
    seen. Those in the UI format are not looked at: they are converted when they are used.
    """
    known, found = context.node_classes[context.policy.backend].known, dict[str, str]()
    for name, source in context.policy.workflows.items():
        if source.graph is None or known is None:
            continue
        try:
            workflow = await ready(context, source, known)
        except Refused as refusal:
            found[name] = refusal.message
            continue
        template = Template(workflow.key, workflow.graph, workflow.plan)
        if mistakes := context.tools.checks.mistakes(template, [{}], known.info, [source.files]).every:
            found[name] = checks.summary(mistakes)
    return found


def _identity(source: WorkflowSource, graph: dict[str, Any]) -> tuple[Hashable, ...]:
    """What tells a workflow from others, beside outputs and node classes. Empty first if it is too large to be kept."""
    if source.name:
        return "configured", source.name
    content = msgspec.json.encode(graph)
    return hashlib.sha256(content).digest() if len(content) <= OWN_BYTES_MAX else b"", source.named.no_nodes


async def _graph(context: Dependencies, source: WorkflowSource, known: Known | None) -> dict[str, Any]:
    if source.graph is not None:
        return source.graph
    if known is None:
        raise Refused(
            "backend_unknown",
            "The workflow is in ComfyUI's UI format, and ComfyUI has not said yet which nodes it has.",
            hint="Start ComfyUI and try again, or send the workflow in the API format: Workflow > Export (API).",
        )
    converted = converted_before(context, source, known)
    if converted is not None:
        return converted
    graph = await context.tools.converter.convert(source.document, known.body, known.info.digest)
    return context.tools.converted.put(_conversion(source, known), graph)


def converted_before(context: Dependencies, source: WorkflowSource, known: Known) -> dict[str, Any] | None:
    """What a document became when it was converted last with these node classes."""
    return context.tools.converted.get(_conversion(source, known))


def _conversion(source: WorkflowSource, known: Known) -> tuple[str, str]:
    return hashlib.sha256(source.document).hexdigest(), known.info.digest
