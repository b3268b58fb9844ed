"""How one attempt at a prompt ended: the reports that submitting, following and fetching share.

An attempt that has ended gives up its entry in ComfyUI's history. One that ComfyUI has forgotten may still be finished
on ComfyUI's disk, since its file names are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.graph.plan import Output, Plan, prefixes
from comfyledger.comfyui.messages import ViewFile
from comfyledger.comfyui.transfer import NotGiven
from comfyledger.core.media import PROVED, extension_of
from comfyledger.core.reports import (
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptReport,
    PromptWasAccepted,
)
from comfyledger.core.results import Wanted
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.effects import PromptEffect
from comfyledger.core.values import Blob, OutputFile, prompt_uuid, waiting_indexes
from comfyledger.wire.requests.submitting import IMAGES_PER_PROMPT_MAX
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache

FILES_SOUGHT_MAX: Final = 256
"""How many files of one attempt are looked for on ComfyUI's disk."""
FOREIGN_NAMES_MAX: Final = 10_000
"""How many names that are not made from our prefix are remembered."""


class Outcomes:
    """Reports the ends of attempts at one backend."""

    def __init__(
        self, comfyui: ComfyUI, row_cache: RowCache, history_cleanup: HistoryCleanup, reporter: Reporter
    ) -> None:
        self._comfyui = comfyui
        self._row_cache = row_cache
        self.history_cleanup = history_cleanup
        self._reporter = reporter
        self._foreign: dict[tuple[str, str], tuple[str, int]] = {}
        """Files that a node named without our prefix, each with the batch and the prompt that wrote it last."""

    async def finished(
        self, effect: PromptEffect, files: tuple[OutputFile, ...], failure: tuple[str, str] | None = None
    ) -> None:
        """Report the files. If none of them is wanted, the history entry is not needed again.

        `failure`: code and text, if the run failed after it had given these files.
        """
        if name := await self._written_before(effect, files):
            text = f"Another run wrote {name} as well. The output node must begin its file names with filename_prefix."
            await self.failed(effect, "file_missing", text, final=True)
            return
        code, text = failure or ("", "")
        report = report_of(
            PromptHasFinished,
            effect,
            files=files,
            words=await self._miscounted(effect, files, is_failed=failure is not None),
            code=code,
            error=self._reporter.error_text(text) if text else None,
        )
        wanted = await self._reporter.report(report)
        if not isinstance(wanted, Wanted) or not wanted.go:
            self.forget_entry(effect)

    async def _written_before(self, effect: PromptEffect, files: tuple[OutputFile, ...]) -> str:
        """The name of a file that a run of other images wrote too, so that one replaced the other; or empty.

        Names that are made from our prefix are told apart by batch and attempt. Others are remembered. A batch that is
        settled has its files: a counter that begins anew after the folder was emptied replaces none of them.
        """
        owner, replaced = (effect.batch_id, effect.prompt), ""
        for file in files:
            place = (file.subfolder, file.filename)
            path = "/".join(place)
            if f"-a{effect.attempt}" in path and effect.batch_id.lower() in path:
                continue
            before = self._foreign.pop(place, owner)
            if before != owner and await self._is_open(before[0]):
                replaced = file.filename
            self._foreign[place] = owner
            if len(self._foreign) > FOREIGN_NAMES_MAX:
                del self._foreign[next(iter(self._foreign))]
        return replaced

    async def _is_open(self, batch_id: str) -> bool:
        batch = await self._row_cache.batch(batch_id)
        return batch is not None and not batch.settled

    async def is_miscounted(self, effect: PromptEffect, files: tuple[OutputFile, ...]) -> bool:
        """Whether an output gave another count of files than it has images."""
        return await self._miscounted(effect, files, is_failed=False) is not None

    async def _miscounted(self, effect: PromptEffect, files: tuple[OutputFile, ...], *, is_failed: bool) -> Blob | None:
        """The error text about outputs that gave a wrong count of files; None if there is none.

        Of a run that failed, an output without any file has another reason.
        """
        batch = await self._row_cache.batch(effect.batch_id)
        prompt = await self._prompt(effect)
        if batch is None or prompt is None:
            return None
        expected = await images_per_output(self._row_cache, batch, prompt)
        counts = Counter(file.output for file in files)
        asked = [number for number, _ in asked_for(batch, prompt) if number in expected]
        wrong = [
            Count(number, counts[number], expected[number])
            for number in asked
            if counts[number] != expected[number] and (counts[number] or not is_failed)
        ]
        return await self.miscounted(effect, wrong) if wrong else None

    async def miscounted(self, effect: PromptEffect, wrong: Sequence[Count]) -> Blob:
        """The error text about these wrong counts of files."""
        batch = await self._row_cache.batch(effect.batch_id)
        address = str(batch.plan.get("batch_size") or "") if batch is not None else ""
        outputs = batch.plan["outputs"] if batch is not None and has_several(batch) else ()
        nodes = [str(output["node"]) for output in outputs]
        return self._reporter.error_text(miscounted(wrong, effect.batch_id, address, nodes))

    async def written(self, effect: PromptEffect, entry: HistoryEntry) -> tuple[OutputFile, ...]:
        """The files that the outputs of this attempt wrote, output by output: as many as the spool has indexes for."""
        batch = await self._row_cache.batch(effect.batch_id)
        prompt = await self._prompt(effect)
        asked = asked_for(batch, prompt) if batch is not None and prompt is not None else []
        files = (
            output_of(file, number)
            for number, output in asked
            for file in entry.outputs.get(output.node, ())
            if file.type == "output"
        )
        return tuple(islice(files, len(waiting_indexes(effect.prompt))))

    async def written_by_some(self, effect: PromptEffect, entry: HistoryEntry) -> tuple[OutputFile, ...]:
        """The files that some of several outputs wrote before the run failed; empty for a batch with one output."""
        batch = await self._row_cache.batch(effect.batch_id)
        return await self.written(effect, entry) if batch is not None and has_several(batch) else ()

    async def failed(self, effect: PromptEffect, code: str, text: str, *, final: bool = False) -> None:
        report = report_of(PromptHasFailed, effect, code=code, words=self._reporter.error_text(text), final=final)
        await self._reporter.report(report)
        self.forget_entry(effect)

    async def gone(self, effect: PromptEffect, *, restarted: bool, running: bool = False) -> None:
        """Report an attempt that ComfyUI no longer knows, unless its files are complete on ComfyUI's disk.

        An incomplete set is not used. A stray that was running may have left a file cut off, for which its successor
        must not be given up.
        """
        files = () if running and await self._is_stray(effect) else await self.left_on_disk(effect)
        if files:
            await self.finished(effect, files)
            return
        words = self._reporter.error_text("ComfyUI stopped each time it ran this prompt.") if running else None
        await self._reporter.report(report_of(PromptIsGone, effect, restarted=restarted, running=running, words=words))

    async def is_barred(self, effect: PromptEffect) -> bool:
        """Whether this ComfyUI may not have the batch: it does not get its secrets any more, so others render it."""
        batch = await self._row_cache.batch(effect.batch_id)
        return batch is not None and effect.backend not in self._reporter.fit.allowed(batch)

    async def sought(self, effect: PromptEffect, prompt_id: str) -> None:
        """What was sent there before is followed. What was not goes back into the queue. Raises NotReached."""
        if await self._comfyui.where_is(prompt_id) == "gone":
            await self.gone(effect, restarted=True)
        else:
            await self._reporter.report(report_of(PromptWasAccepted, effect))

    def forget_entry(self, effect: PromptEffect) -> None:
        self.history_cleanup.forget(prompt_uuid(effect.batch_id, effect.prompt, effect.attempt))

    async def left_on_disk(self, effect: PromptEffect) -> tuple[OutputFile, ...]:
        """The files under the names of this attempt, surplus ones included.

        Empty unless each output that an image still waits for has all of its files. Where the name of a file cannot be
        foretold, or its bytes do not tell whether it is whole, nothing is taken.
        """
        batch = await self._row_cache.batch(effect.batch_id)
        prompt = await self._prompt(effect)
        if batch is None or prompt is None or prompt.state == "cancelling":
            return ()
        expected = await self._still_expected(batch, prompt)
        prefixes = await self.prefixes(batch, prompt, effect.attempt)
        found: list[OutputFile] = []
        for number, output in asked_for(batch, prompt):
            if number in expected:
                files = await self._on_disk(number, output, prefixes[number - 1])
                if len(files) < expected[number]:
                    return ()
                found += files
        return tuple(found)

    async def _still_expected(self, batch: BatchRow, prompt: PromptRow) -> dict[int, int]:
        """How many images the outputs have of which one still waits. With one output it is known without a look."""
        if not has_several(batch):
            return {1: len(prompt.images)}
        rows = await self._row_cache.images(batch.batch_id, prompt.images)
        waiting = {row.output for row in rows if row.state == "pending"}
        return Counter(row.output for row in rows if row.output in waiting)

    async def _on_disk(self, number: int, output: Output, prefix: str) -> list[OutputFile]:
        """The files of an output under the names that its first run gives, up to the first that is missing."""
        found: list[OutputFile] = []
        for place in range(1, FILES_SOUGHT_MAX + 1):
            file = foretold(output, prefix, place)
            if file is None or extension_of(file.filename) not in PROVED or not await self._has(file):
                break
            found.append(output_of(file, number))
        return found

    async def has_begun(self, effect: PromptEffect) -> bool:
        """Whether a run that ComfyUI has forgotten left a file. A second run would continue its counter.

        Where the name of a file cannot be foretold it may have.
        """
        batch = await self._row_cache.batch(effect.batch_id)
        prompt = await self._prompt(effect)
        if batch is None or prompt is None:
            return False
        prefixes = await self.prefixes(batch, prompt, effect.attempt)
        for number, output in asked_for(batch, prompt):
            file = foretold(output, prefixes[number - 1], 1)
            if file is None or await self._has(file):
                return True
        return False

    async def _has(self, file: ViewFile) -> bool:
        """Whether a file can be fetched. A file that does not come while ComfyUI answers other calls cannot."""
        try:
            return await self._comfyui.has(file)
        except NotGiven:
            await self._comfyui.system_stats()
            return False

    async def _is_stray(self, effect: PromptEffect) -> bool:
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        return prompt is not None and prompt.stray(effect.attempt) is not None

    async def _prompt(self, effect: PromptEffect) -> PromptRow | None:
        """The prompt as it is for the attempt."""
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        return prompt.as_attempt(effect.attempt) if prompt is not None else None

    async def prefixes(self, batch: BatchRow, prompt: PromptRow, attempt: int) -> list[str]:
        """The file prefixes of an attempt, one for each output of the plan."""
        first = await self._row_cache.image(batch.batch_id, prompt.images[0])
        number = first.number if first is not None else prompt.images[0]
        return prefixes(msgspec.convert(batch.plan, Plan), batch.batch_id, number, attempt)


def report_of(report: type[PromptReport], effect: PromptEffect, **more: Any) -> PromptReport:
    """A report on the attempt that an effect is about."""
    return report(effect.batch_id, effect.prompt, effect.attempt, **more)


def output_of(file: ViewFile, number: int) -> OutputFile:
    """A file of the output with this number."""
    return OutputFile(file.filename, file.subfolder, file.type, number)


def has_several(batch: BatchRow) -> bool:
    """Whether a batch has more than one output."""
    return len(batch.plan.get("outputs", ())) > 1


def asked_for(batch: BatchRow, prompt: PromptRow) -> list[tuple[int, Output]]:
    """The outputs that the present attempt was asked for, each with its number (from 1)."""
    every = enumerate(msgspec.convert(batch.plan, Plan).every_output, 1)
    return [(number, output) for number, output in every if not prompt.outputs or number in prompt.outputs]


async def images_per_output(row_cache: RowCache, batch: BatchRow, prompt: PromptRow) -> dict[int, int]:
    """How many images of a prompt each output has. With one output it is known without a look."""
    if not has_several(batch):
        return {1: len(prompt.images)}
    return Counter(row.output for row in await row_cache.images(batch.batch_id, prompt.images))


def foretold(output: Output, prefix: str, place: int) -> ViewFile | None:
    """The file that the first run of an attempt writes at a place; None if that cannot be said."""
    subfolder, _, name = output.file_of(prefix, place).rpartition("/")
    return ViewFile(name, subfolder, "output") if name else None


class Count(msgspec.Struct, frozen=True):
    """How many files an output gave, and how many images it has."""

    output: int
    files: int
    expected: int


def miscounted(wrong: Sequence[Count], batch_id: str, batch_size: str, nodes: Sequence[str] = ()) -> str:
    """What the counts are, what to do now, and what to change for the next request.

    `batch_size`: the address of the workflow's batch size; empty if the daemon does not set it, and each run makes what
    the workflow makes. `nodes`: of all outputs, if there are several.
    """
    text = " ".join(_counted(one, nodes) for one in wrong)
    if any(one.files > one.expected for one in wrong):
        text += f" They wait in the spool: `comfyledger retry {batch_id} --take first`, or last, or all."
    first = wrong[0]
    if nodes and first.files:
        each = f"{first.expected} {_files(first.expected)}"
        return f"{text} Next time change the workflow so that each run saves {each} in each output."
    return f"{text} {_lesson(first.files, first.expected, batch_size)}"


def _counted(one: Count, nodes: Sequence[str]) -> str:
    by = f" of output {one.output} (node {nodes[one.output - 1]})" if nodes else ""
    were = "was" if one.expected == 1 else "were"
    return f"ComfyUI made {one.files} {_files(one.files)}{by} where {one.expected} {were} expected."


def _lesson(files: int, expected: int, batch_size: str) -> str:
    if not files:
        return "Check that the workflow's output node saves files."
    change = f"change the workflow so that each run saves {expected} {_files(expected)}"
    if batch_size:
        change += f" where {batch_size} is {expected}"
    if files > IMAGES_PER_PROMPT_MAX:
        return f"Next time {change}."
    lesson = f"If each run saves {files}, send images_per_prompt = {files}"
    if batch_size:
        return f"{lesson}. Otherwise {change}."
    multiple = f", and a multiple of {files} as quantity" if files > 1 else ""
    return f"{lesson}{multiple}. Otherwise name the batch size as batch_size in [workflows.NAME]."


def _files(count: int) -> str:
    return "file" if count == 1 else "files"
