"""Rendering on one ComfyUI: submit what is owed, follow it to its end, cancel it, fetch its files into the spool.

Each method does one effect and reports what it saw; none decides. The intent is durable before a call goes out, and
after a crash or a lost answer the prompt is looked for under its id before it is sent again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from comfyledger import crash_points
from comfyledger.comfyui.answers import HistoryEntry, PromptAnswer, RefusalAnswer
from comfyledger.comfyui.client import ComfyUI, FileMissing, NotGiven, NotReached
from comfyledger.comfyui.graph import read
from comfyledger.comfyui.messages import OutputFile as ViewFile
from comfyledger.comfyui.watch import Ending, Watcher
from comfyledger.core.decide.recorder import Taken, Wanted
from comfyledger.core.reports import (
    FilesKept,
    FilesLaidBy,
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptReport,
    PromptWasAccepted,
    PromptWasInterrupted,
    PromptWasRefused,
    SubmitIntended,
)
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.effects import CancelPrompt, FetchPrompt, FollowPrompt, PromptEffect, SubmitPrompt
from comfyledger.core.values import OutputFile, Pinned, prompt_uuid, waiting_index, waiting_indexes
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.comfyui.secret_values import Secrets
from comfyledger.workers.comfyui.turns import SLOW_AFTER_S, Turns
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool import imagefile
from comfyledger.workers.spool.broken_file import Broken
from comfyledger.workers.spool.spool import NoPlace, Spool

TEMPLATES_KEPT: Final = 32
TURN_S: Final = 1.0
"""How long a prompt lets those that were begun before it go first: an order that people expect, and no promise."""
TRANSFERS_MAX: Final = 3
"""How often one file is asked for, while ComfyUI answers all else, before it counts as broken."""
SLOW_MAX: Final = 2
"""How often files of one prompt may come too slowly: each takes `request_timeout_s` at least."""
FETCHES_MAX: Final = 4
SAME_AGAIN: Final = frozenset({"unknown_kind", "too_many_pixels", "too_large", "poison"})
"""What is wrong with a file that another run of the same graph would give again."""

FILES_SOUGHT_MAX: Final = 256
"""How many files of one attempt are looked for on ComfyUI's disk."""
HTTP_TOO_LARGE: Final = 413


class Bounds(msgspec.Struct, frozen=True):
    """What a fetched file may be, and whether its metadata is stripped."""

    image_bytes_max: int
    pixels_max: int
    strip_metadata: bool


class Unfit(msgspec.Struct, frozen=True):
    """Why a prompt cannot be sent."""

    code: str
    text: str = ""


class Fault(msgspec.Struct, frozen=True):
    """Why a prompt fails whose files were to be fetched. `final`: another attempt would end alike."""

    code: str
    text: str
    final: bool = False


class Bringing(msgspec.Struct):
    """How far the files of one prompt have come. `fault` is the first of a file, `trouble` the lane's."""

    kept: list[Pinned] = []
    fault: Fault | None = None
    trouble: NotReached | None = None
    slow: int = 0
    tries: dict[int, int] = {}

    def blame(self, fault: Fault) -> None:
        self.fault = self.fault or fault

    def deserves_another(self, index: int, trouble: NotGiven) -> bool:
        """Whether a file is asked for again that was not given while ComfyUI answers all else."""
        self.tries[index] = self.tries.get(index, 0) + 1
        self.slow += trouble.code == "too_slow"
        if not trouble.final and self.tries[index] < TRANSFERS_MAX and self.slow < SLOW_MAX:
            return True
        code = trouble.code if trouble.code in {"too_slow", "redirected"} else "broken"
        reason = "truncated" if trouble.code == "cut_short" else trouble.code
        text = trouble.text if code == trouble.code else f"{reason}: {trouble.text}"
        self.blame(Fault(code, text, trouble.final or trouble.code == "web_page"))
        return False


class Job(msgspec.Struct, frozen=True):
    """A prompt as it goes out: the filled graph and where its output is."""

    prompt_id: str
    graph: dict[str, Any]
    output: str


class Renderer:
    """One backend's worker. `comfyui` and `watcher` are of the same server."""

    def __init__(
        self,
        comfyui: ComfyUI,
        watcher: Watcher,
        rows: RowCache,
        entries: HistoryCleanup,
        spool: Spool,
        desk: Reporter,
        bounds: Bounds,
        secrets: Secrets,
        *,
        fetches_max: int = FETCHES_MAX,
    ) -> None:
        self._comfyui = comfyui
        self._watcher = watcher
        self._rows = rows
        self._spool = spool
        self._desk = desk
        self._bounds = bounds
        self._secrets = secrets
        self._templates: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._entries = entries
        self._posting: dict[str, asyncio.Event] = {}
        self._turns = Turns(fetches_max, SLOW_AFTER_S)
        self.about: dict[str, FollowPrompt] = {}
        """What is being followed, by prompt_id: for those who watch progress."""

    # ---- submit

    async def submit(self, effect: SubmitPrompt) -> None:
        """Send one attempt. From its intent to its answer it counts as being posted: it is not gone meanwhile."""
        if not await self._watcher.ready():
            return
        prompt_id = prompt_uuid(effect.batch_id, effect.prompt, effect.attempt)
        sent = self._posting[prompt_id] = asyncio.Event()
        try:
            await self._intend_and_send(effect, prompt_id)
        except NotReached as trouble:
            await self._desk.stuck(effect.lane, trouble.code, trouble.text)
        finally:
            sent.set()
            self._posting.pop(prompt_id, None)

    async def _intend_and_send(self, effect: SubmitPrompt, prompt_id: str) -> None:
        crash_points.at("prompt.owed")
        wanted = await self._desk.report(_of(SubmitIntended, effect))
        crash_points.at("prompt.intended")
        if not isinstance(wanted, Wanted) or not wanted.go:
            return
        job = await self._job(effect, prompt_id)
        if isinstance(job, Unfit):
            words = self._desk.words(job.text) if job.text else None
            await self._desk.report(_of(PromptWasRefused, effect, code=job.code, words=words))
            return
        await self._turn(prompt_id)
        await self._send(effect, job)

    async def _turn(self, prompt_id: str) -> None:
        """Until what was begun earlier is sent: on connections of their own they would arrive in any order."""
        earlier = list(self._posting.values())[: list(self._posting).index(prompt_id)]
        with suppress(TimeoutError):
            async with asyncio.timeout(TURN_S):
                for sent in earlier:
                    await sent.wait()

    async def _send(self, effect: SubmitPrompt, job: Job) -> None:
        if effect.resumed and await self._comfyui.where_is(job.prompt_id) != "gone":
            crash_points.at("prompt.sought")
            await self._desk.report(_of(PromptWasAccepted, effect))
            return
        if effect.resumed and await self._has_begun(effect):
            await self._gone(effect, restarted=True)
            return
        client_id = self._watcher.sending(job.prompt_id)
        crash_points.at("prompt.posting")
        answer = await self._comfyui.post_prompt(
            job.graph, prompt_id=job.prompt_id, client_id=client_id, output=job.output
        )
        crash_points.at("prompt.answered")
        await self._desk.works(effect.lane)
        match answer:
            case PromptAnswer():
                await self._answered(effect, job, answer)
            case RefusalAnswer(status=400):
                await self._refused(effect, answer)
            case RefusalAnswer():
                final = answer.status == HTTP_TOO_LARGE
                await self._failed(effect, f"http_{answer.status}", answer.words(self._desk.text_max), final=final)

    async def _answered(self, effect: SubmitPrompt, job: Job, answer: PromptAnswer) -> None:
        """200 is not yet good: another id means a server too old to be resolved, errors on our output mean refused."""
        if answer.prompt_id != job.prompt_id:
            await self._comfyui.cancel(answer.prompt_id)
            await self._entries.forget(answer.prompt_id)
            text = "This ComfyUI ignores the prompt_id that it is given. Update it to a version of mid-2025 or later."
            await self._desk.stuck(effect.lane, "comfyui_too_old", text)
            return
        touched = [error for error in answer.node_errors if job.output in (error.node_id, *error.dependent_outputs)]
        if not touched:
            await self._desk.report(_of(PromptWasAccepted, effect))
            crash_points.at("prompt.accepted")
            return
        await self._comfyui.cancel(job.prompt_id)
        refusal = RefusalAnswer(200, "node_errors", "ComfyUI will not run the output node", "", tuple(touched))
        await self._refused(effect, refusal)

    async def _refused(self, effect: SubmitPrompt, answer: RefusalAnswer) -> None:
        words = self._desk.words(answer.words(self._desk.text_max))
        code = answer.type or "comfyui_refused"
        await self._desk.report(_of(PromptWasRefused, effect, code=code, words=words))
        await self._forget_entry(effect)

    async def _job(self, effect: SubmitPrompt, prompt_id: str) -> Job | Unfit:
        """The graph of this attempt; Unfit if its texts were forgotten, or a secret is not configured any more."""
        batch = await self._rows.batch(effect.batch_id)
        prompt = await self._rows.prompt(effect.batch_id, effect.prompt)
        if batch is None or prompt is None:
            return Unfit("forgotten")
        template = await self._template(batch.template)
        inputs = await self._inputs(prompt)
        if template is None or inputs is None:
            return Unfit("forgotten")
        plan = msgspec.convert(batch.plan, read.Plan)
        secrets = self._secrets.of(batch.workflow)
        if lacking := [address for address in plan.secrets if address not in secrets]:
            return Unfit("secret_missing", _lacking(batch.workflow, lacking[0]))
        filled = read.fill(
            template,
            plan,
            prefix=await self._prefix(batch, prompt, effect.attempt),
            seed=prompt.seed,
            batch_size=len(prompt.images),
            inputs=inputs,
            secrets=secrets,
        )
        return Job(prompt_id, filled, plan.output)

    async def _template(self, digest: str) -> dict[str, Any] | None:
        if digest not in self._templates:
            raw = (await self._rows.texts([digest])).get(digest)
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
        raw = (await self._rows.texts([prompt.inputs])).get(prompt.inputs)
        return None if raw is None else msgspec.json.decode(raw, type=dict[str, Any])

    async def _prefix(self, batch: BatchRow, prompt: PromptRow, attempt: int) -> str:
        """A folder for each batch and a prefix for each attempt, so that no counter ever meets another's files."""
        first = await self._rows.image(batch.batch_id, prompt.images[0])
        number = first.number if first is not None else prompt.images[0]
        return f"comfyledger/{batch.batch_id.lower()}/{number}-a{attempt}"

    # ---- follow

    async def follow(self, effect: FollowPrompt) -> None:
        """Wait for the end of the prompt, and say how it ended."""
        await self._posted(effect.prompt_id)
        self.about[effect.prompt_id] = effect
        try:
            ending = await self._watcher.follow(effect.prompt_id)
            crash_points.at("prompt.ended")
            await self._ended(effect, ending)
            crash_points.at("prompt.end_logged")
        except NotReached as trouble:
            await self._desk.stuck(effect.lane, trouble.code, trouble.text)
        finally:
            self.about.pop(effect.prompt_id, None)

    async def _posted(self, prompt_id: str) -> None:
        """A prompt whose POST is still under way is not gone because it is not there yet."""
        posting = self._posting.get(prompt_id)
        if posting is not None:
            await posting.wait()

    async def _ended(self, effect: FollowPrompt, ending: Ending) -> None:
        match ending.entry:
            case None:
                await self._gone(effect, restarted=ending.restarted, running=ending.running)
            case HistoryEntry(ended="success") as entry:
                batch = await self._rows.batch(effect.batch_id)
                output = str(batch.plan["output"]) if batch is not None else ""
                files = tuple(_stored(file) for file in entry.outputs.get(output, ()) if file.type == "output")
                await self._finished(effect, files)
            case HistoryEntry(ended="interrupted"):
                await self._interrupted(effect, timed_out=ending.timed_out)
            case HistoryEntry(error=error):
                said = f"{error.exception_type}: {error.exception_message} (node {error.node_id})" if error else ""
                await self._failed(effect, "execution_error", said or "ComfyUI says error and nothing more.")

    async def _finished(self, effect: PromptEffect, files: tuple[OutputFile, ...]) -> None:
        """Say which files there are. Where none of them is wanted, nothing asks for the entry again."""
        prompt = await self._rows.prompt(effect.batch_id, effect.prompt)
        expected = len(prompt.images) if prompt is not None else len(files)
        told = _miscounted(len(files), expected, effect.batch_id)
        words = self._desk.words(told) if len(files) != expected else None
        wanted = await self._desk.report(_of(PromptHasFinished, effect, files=files, words=words))
        if not isinstance(wanted, Wanted) or not wanted.go:
            await self._forget_entry(effect)

    async def _interrupted(self, effect: FollowPrompt, *, timed_out: bool) -> None:
        """An interrupt that came after the last file was written took nothing away."""
        if files := await self._left_on_disk(effect):
            await self._finished(effect, files)
        elif timed_out:
            await self._failed(effect, "timeout", "It ran longer than render_timeout_s and was cancelled.")
        else:
            await self._desk.report(_of(PromptWasInterrupted, effect))
            await self._forget_entry(effect)

    async def _gone(self, effect: PromptEffect, *, restarted: bool, running: bool = False) -> None:
        """What a server forgot, or a person removed from its history, may be finished on its disk.

        A complete set is taken, nothing less.
        """
        if files := await self._left_on_disk(effect):
            await self._finished(effect, files)
            return
        words = self._desk.words("ComfyUI went away each time while it ran this prompt.") if running else None
        await self._desk.report(_of(PromptIsGone, effect, restarted=restarted, running=running, words=words))

    async def _left_on_disk(self, effect: PromptEffect) -> tuple[OutputFile, ...]:
        """The files under the names of this attempt, if the set is complete; what goes beyond it belongs to it."""
        prompt = await self._rows.prompt(effect.batch_id, effect.prompt)
        if prompt is None or prompt.state == "cancelling":
            return ()
        found: list[OutputFile] = []
        for file in await self._files_of(effect, FILES_SOUGHT_MAX):
            if not await self._has(file):
                break
            found.append(_stored(file))
        return tuple(found) if len(found) >= len(prompt.images) else ()

    async def _has_begun(self, effect: PromptEffect) -> bool:
        """Whether a run of this attempt, since forgotten, has left a file: another would go on counting behind it."""
        files = await self._files_of(effect, 1)
        return bool(files) and await self._has(files[0])

    async def _has(self, file: ViewFile) -> bool:
        """Whether a file is there that can be had. One that does not come, while ComfyUI answers, cannot."""
        try:
            return await self._comfyui.has(file)
        except NotGiven:
            await self._comfyui.system_stats()
            return False

    async def _files_of(self, effect: PromptEffect, count: int) -> list[ViewFile]:
        """The names that the first run of an attempt gives to its files, one after the other."""
        batch = await self._rows.batch(effect.batch_id)
        prompt = await self._rows.prompt(effect.batch_id, effect.prompt)
        if batch is None or prompt is None:
            return []
        subfolder, _, leaf = (await self._prefix(batch, prompt, effect.attempt)).rpartition("/")
        return [ViewFile(f"{leaf}_{place:05}_.png", subfolder, "output") for place in range(1, count + 1)]

    # ---- cancel

    async def cancel(self, effect: CancelPrompt) -> None:
        """Take the prompt out and look whether it is gone; the effect stays owed until it is."""
        await self._posted(effect.prompt_id)
        try:
            crash_points.at("cancel.sending")
            await self._comfyui.cancel(effect.prompt_id)
            crash_points.at("cancel.answered")
            await self._desk.works(effect.lane)
        except NotReached as trouble:
            await self._desk.stuck(effect.lane, trouble.code, trouble.text)
        self._watcher.look_up(effect.prompt_id)

    # ---- fetch

    async def fetch(self, effect: FetchPrompt) -> bool:
        """Bring in the files of those images that still wait for one, and report them together.

        Whether the spool has taken any. Raises NoPlace.
        """
        bringing = Bringing()
        async with self._turns.turn():
            try:
                await self._answers_at_all(effect)
                await self._bring_all(effect, bringing)
            except NotReached as trouble:
                bringing.trouble = trouble
        return await self._brought(effect, bringing)

    async def _answers_at_all(self, effect: FetchPrompt) -> None:
        """In trouble, the lane is tried by one call at a time: that must not be a file that never comes."""
        if self._desk.in_trouble(effect.lane):
            await self._comfyui.system_stats()
            await self._desk.works(effect.lane)

    async def _bring_all(self, effect: FetchPrompt, bringing: Bringing) -> None:
        """A file that does not come is asked for again after the others, and does not keep them from coming."""
        left = deque(await self._to_bring(effect))
        while left and bringing.slow < SLOW_MAX:
            index, file = left.popleft()
            try:
                bringing.kept.append(await self._keep(effect, index, file))
            except FileMissing as missing:
                bringing.blame(Fault("file_missing", str(missing)))
            except Broken as broken:
                final = broken.reason in SAME_AGAIN
                code = "poison" if broken.reason == "poison" else "broken"
                bringing.blame(Fault(code, f"{broken.reason}: {broken.sentence}", final))
            except NotGiven as trouble:
                await self._comfyui.system_stats()
                await self._desk.works(effect.lane)
                if bringing.deserves_another(index, trouble):
                    left.append((index, file))

    async def _to_bring(self, effect: FetchPrompt) -> list[tuple[int, OutputFile]]:
        """The files with the index of their image; where there are more, all of them under indexes of their own."""
        if _is_more(effect):
            return [(waiting_index(effect.prompt, place), file) for place, file in enumerate(effect.files, 1)]
        rows = await self._rows.images(effect.batch_id, effect.images)
        waiting = {row.index for row in rows if row.state == "pending"}
        pairs = zip(effect.images, effect.files, strict=True)
        return [(index, file) for index, file in pairs if index in waiting]

    async def _brought(self, effect: FetchPrompt, bringing: Bringing) -> bool:
        """What came is kept, whatever befell the rest."""
        if _is_more(effect):
            return await self._laid_by(effect, bringing)
        if bringing.kept or not (bringing.fault or bringing.trouble):
            await self._took(effect, bringing.kept)
        if bringing.trouble is not None:
            await self._desk.stuck(effect.lane, bringing.trouble.code, bringing.trouble.text)
        elif bringing.fault is not None:
            fault = bringing.fault
            await self._failed(effect, fault.code, fault.text, final=fault.final)
        else:
            await self._desk.works(effect.lane)
            await self._forget_entry(effect)
        return bool(bringing.kept)

    async def _laid_by(self, effect: FetchPrompt, bringing: Bringing) -> bool:
        """More files than images wait together until a person chooses: all of them or none."""
        if bringing.trouble is not None:
            await self._desk.stuck(effect.lane, bringing.trouble.code, bringing.trouble.text)
            return False
        if bringing.fault is not None:
            await self._remove_waiting(effect)
            await self._failed(effect, bringing.fault.code, bringing.fault.text, final=bringing.fault.final)
            return False
        ordered = sorted(bringing.kept, key=lambda file: file.image)
        files = tuple(msgspec.structs.replace(file, image=place) for place, file in enumerate(ordered, 1))
        words = self._desk.words(_miscounted(len(files), len(effect.images), effect.batch_id))
        if not await self._logged(_of(FilesLaidBy, effect, files=files, words=words)):
            await self._remove_waiting(effect)
        await self._desk.works(effect.lane)
        await self._forget_entry(effect)
        return True

    async def _logged(self, report: PromptReport) -> tuple[int, ...]:
        """Report files that are in the spool. Returns the images that took them."""
        crash_points.at("fetch.whole")
        taken = await self._desk.report(report)
        crash_points.at("fetch.logged")
        return taken.images if isinstance(taken, Taken) else ()

    async def _remove_waiting(self, effect: FetchPrompt) -> None:
        indexes = waiting_indexes(effect.prompt)
        await asyncio.to_thread(self._spool.remove_among, effect.batch_id, indexes)

    async def _from_spool(self, effect: FetchPrompt, index: int) -> Pinned | None:
        """The file that was chosen for an image, which waited in the spool. What is not there any more is fetched."""
        lying = effect.waiting[effect.images.index(index)]
        source = self._spool.path_of(effect.batch_id, waiting_index(effect.prompt, lying.image), lying.extension)
        pinned = imagefile.Pinned(lying.sha256, lying.md5, lying.size_bytes, lying.width, lying.height, lying.extension)

        async def copied(to: Path) -> None:
            await asyncio.to_thread(shutil.copyfile, source, to)

        try:
            is_there = await self._spool.take_back(effect.batch_id, index, effect.attempt, pinned, copied)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NoPlace(error) from error
        return msgspec.structs.replace(lying, image=index) if is_there else None

    async def _keep(self, effect: FetchPrompt, index: int, file: OutputFile) -> Pinned:
        if effect.waiting and (waited := await self._from_spool(effect, index)) is not None:
            return waited
        async with self._comfyui.view(ViewFile(file.filename, file.subfolder, file.type)) as pieces:
            crash_points.at("fetch.asked")
            pinned = await self._spool.keep(
                effect.batch_id,
                index,
                effect.attempt,
                _checked(pieces),
                strip=self._bounds.strip_metadata,
                bytes_max=self._bounds.image_bytes_max,
                pixels_max=self._bounds.pixels_max,
            )
        return Pinned(
            index,
            pinned.sha256,
            pinned.md5,
            pinned.size_bytes,
            pinned.width,
            pinned.height,
            pinned.extension,
            pinned.checked,
        )

    async def _took(self, effect: FetchPrompt, kept: list[Pinned]) -> None:
        used = await self._logged(_of(FilesKept, effect, files=tuple(kept)))
        for file in kept:
            if file.image not in used:
                await asyncio.to_thread(self._spool.remove, effect.batch_id, file.image)
        if effect.waiting:
            await self._remove_waiting(effect)

    # ---- its end

    async def _failed(self, effect: PromptEffect, code: str, text: str, *, final: bool = False) -> None:
        report = _of(PromptHasFailed, effect, code=code, words=self._desk.words(text), final=final)
        await self._desk.report(report)
        await self._forget_entry(effect)

    async def _forget_entry(self, effect: PromptEffect) -> None:
        await self._entries.forget(prompt_uuid(effect.batch_id, effect.prompt, effect.attempt))


async def _checked(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a file as they come. Raises NotGiven for the text of a page, which does not come from the graph."""
    is_first = True
    async for piece in pieces:
        if is_first and piece.lstrip()[:1] in {b"<", b"{"}:
            raise NotGiven("web_page", "A page or a message came in the place of the file.")
        is_first = False
        yield piece


def _of(report: type[PromptReport], effect: PromptEffect, **more: Any) -> PromptReport:
    """A report on the attempt that an effect is about."""
    return report(effect.batch_id, effect.prompt, effect.attempt, **more)


def _stored(file: ViewFile) -> OutputFile:
    return OutputFile(file.filename, file.subfolder, file.type)


def _miscounted(files: int, expected: int, batch_id: str) -> str:
    """What is wrong with the count, in words that say what to do now, and what to change for the next time."""
    told = f"ComfyUI made {files} {_files(files)} where {expected} {'was' if expected == 1 else 'were'} expected."
    if files > expected:
        told += f" They wait in the spool: `comfyledger retry {batch_id} --take first`, or last, or all."
    fits = f"images_per_prompt = {files}" if files else "an output node that saves files"
    return f"{told} Next time ask with {fits}, or change the batch size in the workflow."


def _is_more(effect: FetchPrompt) -> bool:
    return len(effect.files) > len(effect.images)


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _lacking(workflow: str, address: str) -> str:
    return f"The secret of {address} is not configured any more: name it in [workflows.{workflow}] secrets, and retry."
