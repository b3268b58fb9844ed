"""Which worker runs which effect."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from comfyledger.core.backends import box_of
from comfyledger.core.reports import PromptIsLeft
from comfyledger.core.scheduling.effects import (
    CancelPrompt,
    DeleteImage,
    Effect,
    FetchPrompt,
    FindSources,
    FollowPrompt,
    PromptEffect,
    RemoveInput,
    SubmitPrompt,
    UploadImage,
)
from comfyledger.core.values import backend_lane
from comfyledger.errors import Unusable
from comfyledger.workers.comfyui.outcomes import report_of
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.sources import SourceFinder
from comfyledger.workers.spool.disk_guard import DiskGuard
from comfyledger.workers.stores.delete import Deleter
from comfyledger.workers.stores.upload import Uploader

log = structlog.get_logger("comfyledger.work")


class Workers(msgspec.Struct, frozen=True):
    """All workers: a renderer for each backend, one uploader and one deleter for all stores, one finder of sources, one
    remover of inputs from the daemon's own folder."""

    renderers: Mapping[str, Renderer]
    uploader: Uploader
    deleter: Deleter
    sources: SourceFinder
    input_remover: InputRemover
    reporter: Reporter
    disk_guard: DiskGuard
    box: str = ""
    """Of a fleet."""

    async def perform(self, effect: Effect) -> None:
        """Run one effect and report the result. Raises only for an error that no worker handles."""
        match effect:
            case UploadImage():
                await self._with_store(effect, self.uploader.upload(effect))
            case DeleteImage():
                await self._with_store(effect, self.deleter.delete(effect))
            case PromptEffect():
                await self._at_backend(effect)
            case RemoveInput(backend=""):
                await self.input_remover.remove(effect.sha256)
            case RemoveInput():
                await self._at_backend(effect)
            case FindSources():
                await self.sources.find(effect)
            case _:
                raise TypeError(f"no worker runs {type(effect).__name__}")

    def was_running(self, backend: str, prompt_id: str, *, is_away: bool) -> bool:
        """Whether a ComfyUI ran a prompt when it went away: see `Watcher`."""
        renderer = self._renderer(backend)
        return renderer is not None and renderer.was_running(prompt_id, is_away=is_away)

    def _renderer(self, backend: str) -> Renderer | None:
        """What was sent before the fleet names its ComfyUI without its box, which is this one."""
        is_older = bool(self.box) and not box_of(backend)
        return self.renderers.get(f"{self.box}.{backend}" if is_older else backend)

    async def release_removed(self) -> None:
        """Once at a start: a ComfyUI that was removed from the configuration in trouble, and has nothing of ours, would
        never be reported to work again."""
        for backend in self.reporter.backends_in_trouble():
            is_ours = box_of(backend) == self.box and backend not in self.renderers
            if is_ours and not self.reporter.has_work(backend):
                await self.reporter.works(backend_lane(backend))

    async def _with_store(self, effect: UploadImage | DeleteImage, work: Coroutine[Any, Any, None]) -> None:
        """An unexpected error pauses the store's lane with its reason, so that the effect does not stay in progress."""
        try:
            await work
        except Unusable:
            raise
        except Exception as error:
            log.exception("effect.died", effect=list(effect.key))
            await self.reporter.stuck(effect.lane, "internal", f"{type(error).__name__}: {error}")

    async def _at_backend(self, effect: PromptEffect | RemoveInput) -> None:
        renderer = self._renderer(effect.backend)
        if renderer is None:
            await self._at_none(effect)
            return
        if isinstance(effect, PromptEffect) and self._is_elsewhere(effect, renderer.server):
            await self.reporter.report(report_of(PromptIsLeft, effect, reason="replaced"))
            return
        with renderer.under_way.one(effect.kind):
            await self._at(renderer, effect)

    async def _at(self, renderer: Renderer, effect: PromptEffect | RemoveInput) -> None:
        match effect:
            case SubmitPrompt(resumed=False) if self.disk_guard.spool_short:
                return  # Not begun: it goes back into the queue and is picked again soon.
            case SubmitPrompt():
                await renderer.submit(effect)
            case FollowPrompt():
                await renderer.follow(effect)
            case CancelPrompt():
                await renderer.cancel(effect)
            case RemoveInput():
                await renderer.remove_input(effect)
            case FetchPrompt():
                await self.disk_guard.fetch(partial(renderer.fetch, effect))
            case _:
                raise TypeError(f"no worker runs {type(effect).__name__}")

    def _is_elsewhere(self, effect: PromptEffect, server: str) -> bool:
        """Whether an attempt was sent to another server, which had the name before. No matter for one that is only
        about to begin, nor for files that a person chose, which lie in the spool.
        """
        match effect:
            case SubmitPrompt(resumed=False) | FetchPrompt(waiting=(_, *_)):
                return False
        return self.reporter.server_of(effect.batch_id, effect.prompt, effect.attempt) not in {"", server}

    async def _at_none(self, effect: PromptEffect | RemoveInput) -> None:
        """What was sent to a ComfyUI that is not used any more is given up there, and goes to others."""
        match effect:
            case RemoveInput() | FetchPrompt(waiting=(_, *_)):
                text = f"No ComfyUI is {effect.backend} any more, and it has files of ours. Configure or add one again."
                await self.reporter.stuck(effect.lane, "unconfigured", text)
                return
            case PromptEffect():
                await self.reporter.report(report_of(PromptIsLeft, effect, reason="removed"))
        if not self.reporter.has_work(effect.backend):
            await self.reporter.works(effect.lane)
