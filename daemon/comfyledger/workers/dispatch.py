"""Which worker runs which effect."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from comfyledger.core.reports import PromptIsGone
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

    async def release_removed(self) -> None:
        """Once at a start: a ComfyUI that was removed from the configuration in trouble, and has nothing of ours, would
        never be reported to work again."""
        for backend in self.reporter.backends_in_trouble():
            if backend not in self.renderers and not self.reporter.has_work(backend):
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
        renderer = self.renderers.get(effect.backend)
        if renderer is None:
            await self._at_none(effect)
            return
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

    async def _at_none(self, effect: PromptEffect | RemoveInput) -> None:
        """What is at a ComfyUI that is not configured any more waits for it, since it may be rendering.

        A cancelled prompt does not wait: nobody can be asked to stop it, and nobody wants its files.
        """
        if not isinstance(effect, CancelPrompt):
            text = (
                f"There is no [comfyui.{effect.backend}] any more. Put the section back, or cancel what was sent there."
            )
            await self.reporter.stuck(effect.lane, "unconfigured", text)
            return
        await self.reporter.report(report_of(PromptIsGone, effect, restarted=False))
        if not self.reporter.has_work(effect.backend):
            await self.reporter.works(effect.lane)
