"""How one attempt at a prompt ended: the reports that submitting, following and fetching share.

An attempt that has ended gives up its entry in ComfyUI's history. One that ComfyUI has forgotten may still be finished
on ComfyUI's disk, since its file names are known.
"""

from __future__ import annotations

from typing import Any, Final

from comfyledger.comfyui.client import ComfyUI, NotGiven
from comfyledger.comfyui.messages import ViewFile
from comfyledger.core.reports import PromptHasFailed, PromptHasFinished, PromptIsGone, PromptReport
from comfyledger.core.results import Wanted
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.effects import PromptEffect
from comfyledger.core.values import Blob, OutputFile, prompt_uuid
from comfyledger.wire.requests.submitting import IMAGES_PER_PROMPT_MAX
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache

FILES_SOUGHT_MAX: Final = 256
"""How many files of one attempt are looked for on ComfyUI's disk."""


class Outcomes:
    """Reports the ends of attempts at one backend."""

    def __init__(
        self, comfyui: ComfyUI, row_cache: RowCache, history_cleanup: HistoryCleanup, reporter: Reporter
    ) -> None:
        self._comfyui = comfyui
        self._row_cache = row_cache
        self.history_cleanup = history_cleanup
        self._reporter = reporter

    async def finished(self, effect: PromptEffect, files: tuple[OutputFile, ...]) -> None:
        """Report the files. If none of them is wanted, the history entry is not needed again."""
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        expected = len(prompt.images) if prompt is not None else len(files)
        words = await self.miscounted(effect, len(files), expected) if len(files) != expected else None
        wanted = await self._reporter.report(report_of(PromptHasFinished, effect, files=files, words=words))
        if not isinstance(wanted, Wanted) or not wanted.go:
            await self.forget_entry(effect)

    async def miscounted(self, effect: PromptEffect, files: int, expected: int) -> Blob:
        """The error text about a wrong count of files."""
        batch = await self._row_cache.batch(effect.batch_id)
        address = str(batch.plan.get("batch_size") or "") if batch is not None else ""
        return self._reporter.error_text(miscounted(files, expected, effect.batch_id, address))

    async def failed(self, effect: PromptEffect, code: str, text: str, *, final: bool = False) -> None:
        report = report_of(PromptHasFailed, effect, code=code, words=self._reporter.error_text(text), final=final)
        await self._reporter.report(report)
        await self.forget_entry(effect)

    async def gone(self, effect: PromptEffect, *, restarted: bool, running: bool = False) -> None:
        """Report an attempt that ComfyUI no longer knows, unless its files are complete on ComfyUI's disk.

        An incomplete set is not used.
        """
        if files := await self.left_on_disk(effect):
            await self.finished(effect, files)
            return
        words = self._reporter.error_text("ComfyUI stopped each time it ran this prompt.") if running else None
        await self._reporter.report(report_of(PromptIsGone, effect, restarted=restarted, running=running, words=words))

    async def forget_entry(self, effect: PromptEffect) -> None:
        await self.history_cleanup.forget(prompt_uuid(effect.batch_id, effect.prompt, effect.attempt))

    async def left_on_disk(self, effect: PromptEffect) -> tuple[OutputFile, ...]:
        """The files under the names of this attempt, surplus ones included; empty if the set is incomplete."""
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        if prompt is None or prompt.state == "cancelling":
            return ()
        found: list[OutputFile] = []
        for file in await self._files_of(effect, FILES_SOUGHT_MAX):
            if not await self._has(file):
                break
            found.append(output_of(file))
        return tuple(found) if len(found) >= len(prompt.images) else ()

    async def has_begun(self, effect: PromptEffect) -> bool:
        """Whether a run that ComfyUI has forgotten left a file. A second run would continue its counter."""
        files = await self._files_of(effect, 1)
        return bool(files) and await self._has(files[0])

    async def _has(self, file: ViewFile) -> bool:
        """Whether a file can be fetched. A file that does not come while ComfyUI answers other calls cannot."""
        try:
            return await self._comfyui.has(file)
        except NotGiven:
            await self._comfyui.system_stats()
            return False

    async def _files_of(self, effect: PromptEffect, count: int) -> list[ViewFile]:
        """The file names that the first run of an attempt uses, in order."""
        batch = await self._row_cache.batch(effect.batch_id)
        prompt = await self._row_cache.prompt(effect.batch_id, effect.prompt)
        if batch is None or prompt is None:
            return []
        subfolder, _, leaf = (await self.prefix(batch, prompt, effect.attempt)).rpartition("/")
        return [ViewFile(f"{leaf}_{place:05}_.png", subfolder, "output") for place in range(1, count + 1)]

    async def prefix(self, batch: BatchRow, prompt: PromptRow, attempt: int) -> str:
        """A folder for each batch and a file prefix for each attempt, so that ComfyUI's counters never collide."""
        first = await self._row_cache.image(batch.batch_id, prompt.images[0])
        number = first.number if first is not None else prompt.images[0]
        return f"comfyledger/{batch.batch_id.lower()}/{number}-a{attempt}"


def report_of(report: type[PromptReport], effect: PromptEffect, **more: Any) -> PromptReport:
    """A report on the attempt that an effect is about."""
    return report(effect.batch_id, effect.prompt, effect.attempt, **more)


def output_of(file: ViewFile) -> OutputFile:
    return OutputFile(file.filename, file.subfolder, file.type)


def miscounted(files: int, expected: int, batch_id: str, batch_size: str) -> str:
    """What the count is, what to do now, and what to change for the next request.

    `batch_size`: the address of the workflow's batch size; empty if the daemon does not set it. Only with an address
    does a request with `images_per_prompt` get further than the checks.
    """
    text = f"ComfyUI made {files} {_files(files)} where {expected} {'was' if expected == 1 else 'were'} expected."
    if files > expected:
        text += f" They wait in the spool: `comfyledger retry {batch_id} --take first`, or last, or all."
    return f"{text} {_lesson(files, expected, batch_size)}"


def _lesson(files: int, expected: int, batch_size: str) -> str:
    if not files:
        return "Check that the workflow's output node saves files."
    change = f"change the workflow so that each run saves {expected} {_files(expected)}"
    if not batch_size:
        return f"Next time {change}, or name its batch size as batch_size in [workflows.NAME]."
    change += f" where {batch_size} is {expected}"
    if files > IMAGES_PER_PROMPT_MAX:
        return f"Next time {change}."
    return f"If each run saves {files}, send images_per_prompt = {files}. Otherwise {change}."


def _files(count: int) -> str:
    return "file" if count == 1 else "files"
