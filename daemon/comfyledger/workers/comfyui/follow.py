"""Following and cancelling: wait for the end of a prompt that ComfyUI has accepted, and report how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from comfyledger import crash_points
from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.outstanding import Ending
from comfyledger.comfyui.transfer import NotReached
from comfyledger.comfyui.watch import Watcher
from comfyledger.core.reports import PromptWasInterrupted
from comfyledger.core.scheduling.effects import CancelPrompt, FollowPrompt
from comfyledger.workers.comfyui.outcomes import Outcomes, report_of
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache


class Follower:
    """Follows prompts of one backend. `posted` returns once a prompt is no longer being sent."""

    def __init__(
        self,
        comfyui: ComfyUI,
        watcher: Watcher,
        row_cache: RowCache,
        outcomes: Outcomes,
        reporter: Reporter,
        posted: Callable[[str], Awaitable[None]],
    ) -> None:
        self._comfyui = comfyui
        self._watcher = watcher
        self._row_cache = row_cache
        self._outcomes = outcomes
        self._reporter = reporter
        self._posted = posted
        self.about: dict[str, FollowPrompt] = {}
        """What is being followed, by prompt_id: the progress feed reads it."""

    async def follow(self, effect: FollowPrompt) -> None:
        """Wait for the end of the prompt, and report how it ended."""
        await self._posted(effect.prompt_id)
        self.about[effect.prompt_id] = effect
        try:
            ending = await self._watcher.follow(effect.prompt_id)
            crash_points.at("prompt.ended")
            await self._ended(effect, ending)
            crash_points.at("prompt.end_logged")
        except NotReached as trouble:
            await self._reporter.stuck(effect.lane, trouble.code, trouble.text)
        finally:
            self.about.pop(effect.prompt_id, None)

    async def cancel(self, effect: CancelPrompt) -> None:
        """Cancel the prompt and have the watcher check that it is gone. The effect stays owed until then."""
        await self._posted(effect.prompt_id)
        try:
            crash_points.at("cancel.sending")
            await self._comfyui.cancel(effect.prompt_id)
            crash_points.at("cancel.answered")
            await self._reporter.works(effect.lane)
        except NotReached as trouble:
            await self._reporter.stuck(effect.lane, trouble.code, trouble.text)
        self._watcher.look_up(effect.prompt_id)

    async def _ended(self, effect: FollowPrompt, ending: Ending) -> None:
        match ending.entry:
            case None:
                await self._outcomes.gone(effect, restarted=ending.restarted, running=ending.running)
            case HistoryEntry(ended="success") as entry:
                await self._finished(effect, entry, heard=ending.heard)
            case HistoryEntry(ended="interrupted"):
                await self._interrupted(effect, timed_out=ending.timed_out)
            case HistoryEntry() as entry:
                await self._failed(effect, entry)

    async def _finished(self, effect: FollowPrompt, entry: HistoryEntry, *, heard: bool) -> None:
        """Report the files. If those that were heard of are not as many as expected, the history says what there is."""
        files = await self._outcomes.written(effect, entry)
        if heard and await self._outcomes.is_miscounted(effect, files):
            entry = await self._comfyui.history(effect.prompt_id) or entry
            files = await self._outcomes.written(effect, entry)
        await self._outcomes.finished(effect, files)

    async def _failed(self, effect: FollowPrompt, entry: HistoryEntry) -> None:
        """Report a failed run. What one of several outputs wrote before is kept."""
        error = entry.error
        said = f"{error.exception_type}: {error.exception_message} (node {error.node_id})" if error else ""
        failure = ("execution_error", said or "ComfyUI reports an error without a message.")
        if files := await self._outcomes.written_by_some(effect, entry):
            await self._outcomes.finished(effect, files, failure)
        else:
            await self._outcomes.failed(effect, *failure)

    async def _interrupted(self, effect: FollowPrompt, *, timed_out: bool) -> None:
        """Report an interrupted prompt. If the interrupt came after the last file was written, it is finished."""
        if files := await self._outcomes.left_on_disk(effect):
            await self._outcomes.finished(effect, files)
        elif timed_out:
            await self._outcomes.failed(effect, "timeout", "It ran longer than render_timeout_s and was cancelled.")
        else:
            await self._reporter.report(report_of(PromptWasInterrupted, effect))
            self._outcomes.forget_entry(effect)
