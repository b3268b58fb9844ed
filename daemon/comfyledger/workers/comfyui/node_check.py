"""Before a prompt goes out: would this ComfyUI take it, and which nodes does it lack that nobody needs?

Admission has checked most workflows, and what it found still holds while ComfyUI's answer is the same. Not so those
that came while ComfyUI could not be asked, and those of earlier releases. A model may have been removed since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.workflow_checks import Recent, Template, WorkflowChecks
from comfyledger.errors import NodeMistake

HELD_KEPT: Final = 1_024


def held_batches() -> Recent[str, bool]:
    """Remembers the batches that were held last."""
    return Recent(HELD_KEPT)


class NodeCheck:
    """Of one backend. `held`: the batches that were held because no backend takes them, shared by all backends."""

    def __init__(self, classes: NodeClasses, checks: WorkflowChecks, held: Recent[str, bool]) -> None:
        self._classes = classes
        self._checks = checks
        self._held = held

    async def mistakes(
        self, batch_id: str, template: Template, inputs: Mapping[str, Any], loads: Collection[str] = ()
    ) -> tuple[NodeMistake, ...]:
        """Why ComfyUI would refuse a prompt of a batch, by a fresh answer; empty if it would not, or cannot be asked.

        `loads`: the addresses that get a file. ComfyUI has it when the prompt is sent, and need not list it before.

        A batch that was held before and continues is not held again by an answer from before it did: somebody may have
        installed meanwhile what was missing.
        """
        if self._checks.level == "off":
            return ()
        continues, now = self._held.get(batch_id) is not None, asyncio.get_running_loop().time()
        info = await self._classes.latest()
        if info is not None and (
            self._checks.was_right(batch_id, info) or not self._checks.mistakes(template, [inputs], info, [loads]).every
        ):
            return ()
        info = await (self._classes.next(now) if continues else self._classes.fresh(now, None))
        return self._checks.mistakes(template, [inputs], info, [loads]).every if info is not None else ()

    def holds(self, batch_id: str) -> None:
        """The batch is going to be held."""
        self._held.put(batch_id, True)

    def unneeded(self, template: Template) -> tuple[str, ...]:
        """The nodes that feed no output and whose class ComfyUI lacks, as far as it is known, sorted."""
        info = self._classes.current()
        return tuple(sorted(self._checks.unneeded_unknown(template, info))) if info is not None else ()

    async def refused(self) -> None:
        """ComfyUI refused a prompt, so what is known of it may be out of date."""
        await self._classes.fresh(asyncio.get_running_loop().time())
