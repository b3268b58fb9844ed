"""Submitting: build the graph of an attempt, send it to ComfyUI and report the answer.

The intent is durable before the call goes out. After a crash or a lost answer ComfyUI is asked for the prompt under its
id before it is sent again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from comfyledger import crash_points
from comfyledger.comfyui.answers import MISSING_NODE, NodeErrors, PromptAnswer, RefusalAnswer
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.graph import checks, read
from comfyledger.comfyui.graph.nodes import locate
from comfyledger.comfyui.server_version import ServerVersion
from comfyledger.comfyui.transfer import NotReached
from comfyledger.comfyui.watch import Watcher
from comfyledger.comfyui.workflow_checks import Template
from comfyledger.core.reports import (
    PromptDoesNotFit,
    PromptReport,
    PromptWasAccepted,
    PromptWasRefused,
    SubmitIntended,
)
from comfyledger.core.results import Wanted
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.effects import SubmitPrompt
from comfyledger.core.scheduling.fit import ALL_INPUTS
from comfyledger.core.scheduling.fit_words import told_of_all
from comfyledger.core.values import LoadedFile, prompt_uuid
from comfyledger.workers.comfyui.input_files import FileFault, InputFiles
from comfyledger.workers.comfyui.node_check import NodeCheck
from comfyledger.workers.comfyui.outcomes import Outcomes, asked_for, images_per_output, report_of
from comfyledger.workers.comfyui.posting import Posting
from comfyledger.workers.comfyui.warm_models import WarmModels
from comfyledger.workers.inputs.loaded_bytes import BytesLater
from comfyledger.workers.reporting import REASON_CHARS_MAX, Reporter, Secrets
from comfyledger.workers.row_cache import RowCache

TEMPLATES_KEPT: Final = 32
OF_THE_SERVER: Final = frozenset({MISSING_NODE, "value_not_in_list", "value_smaller_than_min", "value_bigger_than_max"})
"""Kinds of mistakes that another ComfyUI, with other nodes and files, may not find."""
HTTP_REFUSED: Final = 400
HTTP_TOO_LARGE: Final = 413

log = structlog.get_logger("comfyledger.work")


class Unfit(msgspec.Struct, frozen=True):
    """Why a prompt cannot be sent."""

    code: str
    text: str = ""


class Parts(NamedTuple):
    """What the graph of an attempt is made of."""

    batch: BatchRow
    prompt: PromptRow
    template: Template
    inputs: dict[str, Any]


class Job(msgspec.Struct, frozen=True):
    """A prompt ready to send: the filled graph, and the output nodes to run, each with its number (from 1)."""

    prompt_id: str
    graph: dict[str, Any]
    outputs: dict[str, int]
    loads: tuple[LoadedFile, ...] = ()
    """What the graph loads. It has their names only when they are at ComfyUI."""

    def with_files(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The graph with the name of a file at each address."""
        return read.with_values(self.graph, names)

    def touched_by(self, error: NodeErrors) -> list[int]:
        """The outputs that will not run because of an error."""
        nodes = {error.node_id, *error.dependent_outputs}
        return [number for node, number in self.outputs.items() if node in nodes]


class Submitter:
    """Submits prompts to one backend. `comfyui` and `watcher` are of the same server. `posting`: see `Renderer`.

    `wants_previews`: whether somebody watches the pictures of a batch, by its id. Making them costs the server time.
    """

    def __init__(
        self,
        comfyui: ComfyUI,
        watcher: Watcher,
        row_cache: RowCache,
        outcomes: Outcomes,
        reporter: Reporter,
        secrets: Secrets,
        wants_previews: Callable[[str], bool],
        node_check: NodeCheck,
        version: ServerVersion,
        input_files: InputFiles,
        warm: WarmModels,
        posting: Posting,
    ) -> None:
        self._comfyui = comfyui
        self._watcher = watcher
        self._row_cache = row_cache
        self._outcomes = outcomes
        self._reporter = reporter
        self._secrets = secrets
        self._wants_previews = wants_previews
        self._node_check = node_check
        self._version = version
        self._input_files = input_files
        self._warm = warm
        self._templates: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._posting = posting

    async def submit(self, effect: SubmitPrompt) -> None:
        """Send one attempt. From intent to answer it counts as being posted, so that it is not taken for gone."""
        if not await self._watcher.ready():
            return
        prompt_id = prompt_uuid(effect.batch_id, effect.prompt, effect.attempt)
        post = self._posting.begins(prompt_id)
        try:
            await self._intend_and_send(effect, prompt_id)
        except NotReached as trouble:
            await self._reporter.stuck(effect.lane, trouble.code, trouble.text)
        finally:
            self._posting.ends(prompt_id, post)

    async def _intend_and_send(self, effect: SubmitPrompt, prompt_id: str) -> None:
        crash_points.at("prompt.owed")
        parts = await self._parts(effect) if not effect.resumed else None
        if parts is not None and not await self._may_begin(effect, parts):
            return
        wanted = await self._reporter.report(await self._intent(effect, parts))
        crash_points.at("prompt.intended")
        if not isinstance(wanted, Wanted) or not wanted.go:
            return
        job = await self._job(effect, prompt_id, parts)
        if not isinstance(job, Unfit):
            await self._send(effect, job)
        elif job.code == "secret_missing" and await self._outcomes.is_barred(effect):
            await self._outcomes.sought(effect, prompt_id)
        else:
            words = self._reporter.error_text(job.text) if job.text else None
            await self._reporter.report(report_of(PromptWasRefused, effect, code=job.code, words=words))

    async def _may_begin(self, effect: SubmitPrompt, parts: Parts) -> bool:
        """Whether ComfyUI would take the prompt, and the bytes that it loads can be had. It goes back to the queue if
        they cannot be had now, so that it takes no place from others.
        """
        loads = parts.prompt.loads
        return await self._fits(effect, parts) and not (loads and await self._input_files.must_wait(loads))

    async def _send(self, effect: SubmitPrompt, job: Job) -> None:
        if effect.resumed and await self._needs_no_post(effect, job):
            return
        try:
            answer = await self._answer(effect, job)
        except FileFault as fault:
            await self._outcomes.failed(effect, "input_failed", fault.text, final=fault.final)
        except BytesLater as later:
            log.info("prompt.waits_for_bytes", batch_id=effect.batch_id, prompt=effect.prompt, error=str(later))
        else:
            if answer is not None:
                await self._reporter.works(effect.lane)
                await self._take(effect, job, answer)

    async def _needs_no_post(self, effect: SubmitPrompt, job: Job) -> bool:
        """Whether an earlier call of this attempt has arrived, or nobody wants it any more.

        ComfyUI is asked twice. The earlier call came on another connection, and a process that was stopped meanwhile
        may answer the first question before it reads that call.
        """
        if await self._has_it(effect, job):
            return True
        if await self._outcomes.has_begun(effect):
            await self._outcomes.gone(effect, restarted=True)
            return True
        return await self._has_it(effect, job) or not await self._is_wanted(effect)

    async def _has_it(self, effect: SubmitPrompt, job: Job) -> bool:
        """Whether ComfyUI has the prompt; reports it."""
        if await self._comfyui.where_is(job.prompt_id) == "gone":
            return False
        crash_points.at("prompt.sought")
        self._warm.sent(job.graph, job.outputs)
        await self._reporter.report(report_of(PromptWasAccepted, effect))
        return True

    async def _answer(self, effect: SubmitPrompt, job: Job) -> PromptAnswer | RefusalAnswer | None:
        """What ComfyUI says to the prompt, once all files that it loads are there. If it refuses the prompt and one of
        them is not there any more, that is why: once more. None if nobody wants it when the files are there.

        Raises FileFault, BytesLater, NotReached.
        """
        graph = await self._with_files(effect, job)
        if job.loads and not await self._is_wanted(effect):
            return None
        await self._posting.turn(job.prompt_id)
        answer = await self._post(effect, job, graph)
        is_refused = isinstance(answer, RefusalAnswer) and answer.status == HTTP_REFUSED and job.loads
        if is_refused and not await self._input_files.are_there(job.graph, job.loads):
            answer = await self._post(effect, job, await self._with_files(effect, job))
        self._posting.is_answered(job.prompt_id)
        return answer

    async def _with_files(self, effect: SubmitPrompt, job: Job) -> dict[str, Any]:
        """The graph that names the files, which are at ComfyUI then."""
        if not job.loads:
            return job.graph
        if self._reporter.in_trouble(effect.lane):  # a file that does not go must not be the one call that probes
            await self._comfyui.system_stats()
            await self._reporter.works(effect.lane)
        return job.with_files(await self._input_files.placed(job.graph, job.loads))

    async def _is_wanted(self, effect: SubmitPrompt) -> bool:
        """Whether it was not cancelled or left behind meanwhile: a large file, or a look at ComfyUI, takes its time."""
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        return prompt is not None and prompt.state == "submitting" and prompt.attempt == effect.attempt

    async def _post(self, effect: SubmitPrompt, job: Job, graph: dict[str, Any]) -> PromptAnswer | RefusalAnswer:
        client_id = self._watcher.sending(job.prompt_id)
        crash_points.at("prompt.posting")
        answer = await self._comfyui.post_prompt(
            graph,
            prompt_id=job.prompt_id,
            client_id=client_id,
            outputs=list(job.outputs),
            previews=self._wants_previews(effect.batch_id),
        )
        crash_points.at("prompt.answered")
        return answer

    async def _take(self, effect: SubmitPrompt, job: Job, answer: PromptAnswer | RefusalAnswer) -> None:
        match answer:
            case PromptAnswer():
                await self._answered(effect, job, answer)
            case RefusalAnswer(status=status) if status == HTTP_REFUSED:
                await self._refused(effect, answer)
            case RefusalAnswer():
                final = answer.status == HTTP_TOO_LARGE
                await self._outcomes.failed(
                    effect, f"http_{answer.status}", answer.words(self._reporter.text_max), final=final
                )

    async def _answered(self, effect: SubmitPrompt, job: Job, answer: PromptAnswer) -> None:
        """Handle status 200. Another id means that ComfyUI is too old; errors on an output of ours mean that it does
        not run it. If it runs others, it has accepted the prompt for these.
        """
        if answer.prompt_id != job.prompt_id:
            await self._comfyui.cancel(answer.prompt_id)
            self._outcomes.history_cleanup.forget(answer.prompt_id)
            text = "This ComfyUI ignores the prompt_id that it is given. Update it to a version of mid-2025 or later."
            await self._reporter.stuck(effect.lane, "comfyui_too_old", text)
            return
        touched = [(error, job.touched_by(error)) for error in answer.node_errors]
        errors = tuple(error for error, outputs in touched if outputs)
        never = {number for _, outputs in touched for number in outputs}
        refusal = RefusalAnswer(200, "node_errors", "ComfyUI will not run the output node", "", errors)
        if len(never) == len(job.outputs):
            await self._comfyui.cancel(job.prompt_id)
            await self._refused(effect, refusal)
            return
        self._warm.sent(job.graph, [node for node, number in job.outputs.items() if number not in never])
        refused = self._what_is_refused(refusal, never) if never else {}
        await self._reporter.report(report_of(PromptWasAccepted, effect, **refused))
        crash_points.at("prompt.accepted")

    def _what_is_refused(self, refusal: RefusalAnswer, never: set[int]) -> dict[str, Any]:
        words = self._reporter.error_text(refusal.words(self._reporter.text_max))
        return {"refused": tuple(sorted(never)), "code": refusal.type, "words": words}

    async def _refused(self, effect: SubmitPrompt, answer: RefusalAnswer) -> None:
        words = self._reporter.error_text(answer.words(self._reporter.text_max))
        code, elsewhere = answer.type or "comfyui_refused", await self._elsewhere(effect, answer)
        await self._reporter.report(report_of(PromptWasRefused, effect, code=code, words=words, elsewhere=elsewhere))
        self._outcomes.forget_entry(effect)
        await self._node_check.refused()

    async def _elsewhere(self, effect: SubmitPrompt, answer: RefusalAnswer) -> tuple[str, ...]:
        """The backends that may take what this one has refused; none if it would be refused everywhere."""
        parts = await self._parts(effect)
        if parts is None:
            return ()
        loads = {load.at for load in parts.prompt.loads}
        at = [at for kind, at in answer.mistakes() if kind in OF_THE_SERVER and at not in loads]
        return self._refuse(effect, parts, at, answer.words(REASON_CHARS_MAX)) if at else ()

    def _refuse(self, effect: SubmitPrompt, parts: Parts, at: Collection[str], why: str) -> tuple[str, ...]:
        """Say that this backend does not take a prompt, because of these nodes and addresses. Returns the backends that
        may take it.
        """
        by_inputs = all(address in parts.inputs for address in at)
        inputs = (parts.prompt.inputs or ALL_INPUTS) if by_inputs else ALL_INPUTS
        self._reporter.refuse(effect.backend, parts.batch, inputs, why)
        return self._reporter.fit.elsewhere(parts.batch, parts.prompt, effect.backend)

    async def _fits(self, effect: SubmitPrompt, parts: Parts) -> bool:
        """Whether ComfyUI would take the prompt. If not, it goes to another, or if there is none, its batch is held."""
        loads = [load.at for load in parts.prompt.loads]
        mistakes = await self._node_check.mistakes(effect.batch_id, parts.template, parts.inputs, loads)
        if not mistakes:
            return True
        at = [f"{one.node}.{one.input}" for one in mistakes]
        if not self._refuse(effect, parts, at, checks.summary(mistakes)):
            self._node_check.holds(effect.batch_id)
            reasons = self._reporter.fit.reasons(parts.batch, parts.prompt)
            words = self._reporter.error_text(told_of_all(reasons) or checks.summary(mistakes))
            await self._reporter.report(report_of(PromptDoesNotFit, effect, words=words))
        return False

    async def _intent(self, effect: SubmitPrompt, parts: Parts | None) -> PromptReport:
        """What is recorded before an attempt is sent. It was recorded already if the attempt is resumed."""
        if parts is None:
            return report_of(SubmitIntended, effect, backend=effect.backend)
        left_out = self._node_check.unneeded(parts.template)
        seen = {"version": await self._version.known(), "server": self._comfyui.server}
        return report_of(SubmitIntended, effect, backend=effect.backend, left_out=left_out, **seen)

    async def _parts(self, effect: SubmitPrompt, before: Parts | None = None) -> Parts | None:
        """What the graph of an attempt is made of; None if its texts were forgotten. `before`: has the texts."""
        batch = await self._row_cache.batch(effect.batch_id)
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        if batch is None or prompt is None:
            return None
        prompt = prompt.as_attempt(effect.attempt)
        if before is not None:
            return Parts(batch, prompt, before.template, before.inputs)
        graph = await self._template(batch.template)
        inputs = await self._inputs(prompt)
        if graph is None or inputs is None:
            return None
        plan = msgspec.convert(batch.plan, read.Plan)
        return Parts(batch, prompt, Template(batch.template, graph, plan), inputs)

    async def _job(self, effect: SubmitPrompt, prompt_id: str, before: Parts | None) -> Job | Unfit:
        """The graph of this attempt; Unfit if its texts were forgotten or a secret is no longer configured. `before`:
        as it was before the intent, which changes rows only.
        """
        parts = await self._parts(effect, before)
        if parts is None:
            return Unfit("forgotten")
        batch, prompt, template, inputs = parts
        plan = template.plan
        secrets = self._secrets.of(batch.workflow)
        if lacking := [address for address in plan.secrets if address not in secrets]:
            return Unfit("secret_missing", _lacking(batch.workflow, lacking[0]))
        recorded = prompt.left_out
        graph = read.fill(
            template.graph,
            plan,
            prefixes=await self._outcomes.prefixes(batch, prompt, effect.attempt),
            seed=prompt.seed,
            batch_size=min((await images_per_output(self._row_cache, batch, prompt)).values()),
            inputs=inputs,
            secrets=secrets,
            left_out=recorded if recorded is not None else self._node_check.unneeded(template),
        )
        outputs = {output.node: number for number, output in asked_for(batch, prompt)}
        return Job(prompt_id, graph, outputs, tuple(load for load in prompt.loads if locate(graph, load.at)))

    async def _template(self, digest: str) -> dict[str, Any] | None:
        if digest not in self._templates:
            raw = (await self._row_cache.texts([digest])).get(digest)
            if raw is None:
                return None
            self._templates[digest] = msgspec.json.decode(raw)
            while len(self._templates) > TEMPLATES_KEPT:
                self._templates.popitem(last=False)
        self._templates.move_to_end(digest)
        return self._templates[digest]

    async def _inputs(self, prompt: PromptRow) -> dict[str, Any] | None:
        if prompt.inputs is None:
            return {}
        raw = await self._row_cache.inputs(prompt)
        return None if raw is None else msgspec.json.decode(raw, type=dict[str, Any])


def _lacking(workflow: str, address: str) -> str:
    return f"The secret of {address} is no longer configured. Name it in [workflows.{workflow}] secrets, then retry."
