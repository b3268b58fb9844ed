"""Deletes our entries from ComfyUI's history once they are used up. Each takes several times its graph in memory.

Entries are deleted by id, so no others are touched, and many with one call. To delete one twice changes nothing. What
could not be deleted goes with the next call. So does what an earlier run of the daemon may have left; the end of the
event log shows what it was.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from comfyledger import crash_points
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.values import prompt_uuid
from comfyledger.ledger.ports import Reader

LINES_READ_MAX: Final = 1_000
LEFT_MAX: Final = 1_000
TOGETHER: Final = 16
"""So many entries are deleted at once; fewer when GATHER_S have passed since the first."""
GATHER_S: Final = 1.0
USED_UP: Final = frozenset({"image_kept", "prompt_failed", "prompt_removed", "prompt_refused", "stray_ended"})
"""After these events nothing reads the entry of their attempt again, unless files of it are still to be fetched."""
ENTRY_EVENTS: Final = USED_UP | {"prompt_finished"}
"""After `prompt_finished` only a fetch that is still owed reads the entry."""

log = structlog.get_logger("comfyledger.entries")


class _Attempt(msgspec.Struct):
    batch_id: str
    prompt: int
    attempt: int


class HistoryCleanup:
    """Our entries at one ComfyUI. One call runs at a time; the next one deletes all that were used up meanwhile.

    `backend`: its name.
    """

    def __init__(self, comfyui: ComfyUI, backend: str, reader: Reader) -> None:
        self._backend = backend
        self._comfyui = comfyui
        self._reader = reader
        self._left: dict[str, None] = {}
        self._knows_earlier = self._deleting = False
        self._come, self._many = asyncio.Event(), asyncio.Event()

    def forget(self, prompt_id: str) -> None:
        """Delete an entry soon, with what was left, as long as `run` runs."""
        self._left[prompt_id] = None
        self._come.set()
        if len(self._left) >= TOGETHER:
            self._many.set()

    async def run(self) -> None:
        """Delete entries until cancelled. The next start finds what is left then."""
        while True:
            await self._come.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._many.wait()
            self._come.clear()
            self._many.clear()
            await self.forget_left()

    async def forget_left(self) -> None:
        """Delete what was left, also by an earlier run of the daemon. Nothing happens while a deletion runs: what comes
        meanwhile goes with the next.

        A failure costs ComfyUI memory and nothing else; it is logged.
        """
        if self._deleting:
            return
        self._deleting = True
        try:
            if not self._knows_earlier:
                self._left |= dict.fromkeys(await self._of_earlier())
                self._knows_earlier = True
            if self._left:
                await self._delete(list(self._left)[-LEFT_MAX:])
            if self._left:
                self._come.set()
        except NotReached as trouble:
            log.info("comfyui.entries_left", entries=len(self._left), error=trouble.text)
        finally:
            self._deleting = False

    async def _delete(self, going: list[str]) -> None:
        """Raises NotReached; the entries then go with the next call, at most LEFT_MAX of them."""
        self._left = dict.fromkeys(going)
        crash_points.at("history.deleting")
        await self._comfyui.forget(going)
        crash_points.at("history.deleted")
        for gone in going:
            self._left.pop(gone, None)

    async def _of_earlier(self) -> list[str]:
        """The attempts that are used up according to the end of the event log."""
        position = (await self._reader.head()).position
        lines = await self._reader.page(after=max(0, position - LINES_READ_MAX), limit=LINES_READ_MAX)
        about = [
            (line.kind, msgspec.json.decode(line.data, type=_Attempt)) for line in lines if line.kind in ENTRY_EVENTS
        ]
        used_up = [one for kind, one in about if await self._is_used_up(kind, one)]
        return [prompt_uuid(one.batch_id, one.prompt, one.attempt) for one in used_up]

    async def _is_used_up(self, kind: str, one: _Attempt) -> bool:
        """Whether nothing reads the entry of an attempt again, and it may be here.

        Where an attempt was before the last one of its prompt is not asked: to delete what is not there does no harm.
        """
        row = await self._reader.prompt(one.batch_id, one.prompt)
        if row is not None and row.stray(one.attempt) is not None:
            return False
        if row is None or row.attempt != one.attempt:
            return kind in USED_UP
        return row.backend == self._backend and row.state != "finished"
