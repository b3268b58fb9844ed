"""Removes forgotten inputs from the input folder of a ComfyUI, after the event that says that nothing needs them."""

from __future__ import annotations

import structlog

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.reports import InputGone, InputRemoving
from comfyledger.core.results import Wanted
from comfyledger.core.scheduling.effects import RemoveInput
from comfyledger.workers.comfyui.input_files import FileFault, InputFiles
from comfyledger.workers.reporting import Reporter

log = structlog.get_logger("comfyledger.inputs")


class CopyRemover:
    """Of one backend. `comfyui` and `files` are of the same server."""

    def __init__(self, comfyui: ComfyUI, files: InputFiles, reporter: Reporter) -> None:
        self._comfyui = comfyui
        self._files = files
        self._reporter = reporter

    async def remove(self, effect: RemoveInput) -> None:
        """Remove a copy if the ledger still says so. What ComfyUI does not let be removed stays owed."""
        try:
            await self._probe(effect)
            found = await self._files.remove(effect.sha256, effect.name, lambda: self._is_unwanted(effect))
        except NotReached as trouble:
            await self._reporter.stuck(effect.lane, trouble.code, trouble.text)
        except FileFault as fault:
            log.warning("input.not_removed", backend=effect.backend, name=effect.name, error=fault.text)
        else:
            if found is not None:
                await self._reporter.report(InputGone(effect.sha256, effect.backend, effect.name, found))

    async def _probe(self, effect: RemoveInput) -> None:
        """A lane in trouble is probed by one call at a time. A file that cannot be removed must not be that call."""
        if self._reporter.in_trouble(effect.lane):
            await self._comfyui.system_stats()
            await self._reporter.works(effect.lane)

    async def _is_unwanted(self, effect: RemoveInput) -> bool:
        answer = await self._reporter.report(InputRemoving(effect.sha256, effect.backend, effect.name))
        return isinstance(answer, Wanted) and answer.go
