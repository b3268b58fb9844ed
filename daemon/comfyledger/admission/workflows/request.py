"""One request, and what can be made of it with the node classes of a ComfyUI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission import admit, levels, sweep
from comfyledger.admission.files.find import Files
from comfyledger.admission.shots import check_seeds_fit, shots_asked, without_files
from comfyledger.admission.workflows.again import Again
from comfyledger.admission.workflows.prepared import converted_before, ready
from comfyledger.admission.workflows.ready import below
from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.node_classes import Known
from comfyledger.comfyui.workflow_checks import SeedRange, Template
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies, ReadyWorkflow, WorkflowSource
from comfyledger.settings import CharacterDefaults

NONE_IN_COMMON: Final = (1, 0)


class Fitted(NamedTuple):
    """What a request is for several ComfyUIs. `made`: as the first that takes it runs it; None if none does. `refused`:
    those that do not, by name.
    """

    made: admit.Admitted | None
    refused: dict[str, Refused]


class Request:
    """One request. `backends`: the ComfyUIs that may render it. `needs`: the tags that they have therefore."""

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
        backends: tuple[str, ...],
        needs: tuple[str, ...],
    ) -> None:
        self._context = context
        self._label = label
        self._message = message
        self._raw = raw
        self._source = source
        self._defaults = defaults
        self._again = again
        self._files = files
        self.backends = backends
        self._needs = needs
        self._of_graph = source.files if isinstance(source, WorkflowSource) else {}

    def is_converted(self, known: Known) -> bool:
        """Whether the graph is there without asking another process."""
        source = self._source
        if isinstance(source, ReadyWorkflow) or source.graph is not None:
            return True
        return converted_before(self._context, source, known) is not None

    async def fitted(self, known: Mapping[str, Known]) -> Fitted:
        """What the request is for ComfyUIs, in their order: the first that takes it decides how it is planned, and a
        seed that is made up suits all that take it. ComfyUIs that have the same are looked at once.
        """
        made: admit.Admitted | None = None
        found: dict[str, Refused | None] = {}
        ranges: list[SeedRange] = []
        for one in known.values():
            if one.info.digest in found:
                continue
            refusal = None
            try:
                made, takes = await self._fitted_at(one, made)
                ranges.append(takes)
            except Refused as other:
                refusal = other
            found[one.info.digest] = refusal
        if made is not None and (common := _common(ranges)) not in (made.workflow.plan.seed_range, NONE_IN_COMMON):
            first = next(one for one in known.values() if found[one.info.digest] is None)
            made = await self._made(first, common)
        by_name = ((name, found[one.info.digest]) for name, one in known.items())
        refused = {name: refusal for name, refusal in by_name if refusal is not None}
        return Fitted(made if made is None else replace(made, refused=refused), refused)

    async def _fitted_at(self, known: Known, made: admit.Admitted | None) -> tuple[admit.Admitted, SeedRange]:
        """What was made for another ComfyUI, or is made for this one now, and the seeds that this one takes.

        Raises Refused if this one would not take it.
        """
        run = self._context.tools.large_graphs.run
        if made is not None:
            return made, await run(len(self._raw), partial(self._check_as_planned, made, known))
        made = await self._made(known)
        await run(len(self._raw), partial(self._check, made, known))
        return made, made.workflow.plan.seed_range

    def _check_as_planned(self, made: admit.Admitted, known: Known) -> SeedRange:
        """Check what was made for another ComfyUI. Returns the seeds that this one takes. Raises Refused."""
        workflow = made.workflow
        template = Template(workflow.key, workflow.graph, workflow.plan)
        takes = self._context.tools.checks.seed_range(template, known.info)
        planned = replace(workflow, plan=replace(workflow.plan, seed_range=takes))
        check_seeds_fit(self._message, shots_asked(self._message, self._context.policy.quantity_max), planned)
        self._check(made, known)
        return takes

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

    async def _made(self, known: Known | None, seeds: SeedRange = None) -> admit.Admitted:
        """`seeds`: those that may be made up, where another ComfyUI takes fewer than this one."""
        context, workflow, again = self._context, self._source, self._again
        if isinstance(workflow, WorkflowSource):
            try:
                workflow = await ready(context, workflow, known, len(self._raw))
            except Refused as refusal:
                raise below(refusal, self._message) from refusal
        if seeds is not None:
            workflow = replace(workflow, plan=replace(workflow.plan, seed_range=seeds))
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
            needs=self._needs,
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
        self._context.tools.checks.is_right(made.command.batch_id, known.info)

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


def _common(ranges: Iterable[SeedRange]) -> SeedRange:
    """The seeds that are in all ranges; NONE_IN_COMMON if no seed is."""
    narrow = [one for one in ranges if one is not None]
    if not narrow:
        return None
    low, high = max(one[0] for one in narrow), min(one[1] for one in narrow)
    return (low, high) if low <= high else NONE_IN_COMMON
