"""Our entries in ComfyUI's history: each costs the server several times its graph in memory, so they go once used up.

Only ours, by their ids; to delete one twice changes nothing. What could not be deleted, and what an earlier run of the
daemon may have left between its record and the call, goes with the next one. The end of the log says what that may be.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from comfyledger import crash
from comfyledger.comfyui.client import ComfyUI, NotReached
from comfyledger.core.values import prompt_uuid
from comfyledger.ledger.reader import Reader

LINES_LOOKED_AT: Final = 1_000
LEFT_MAX: Final = 1_000
USED_UP: Final = frozenset({"image_kept", "prompt_failed", "prompt_removed"})
"""After these events nothing asks for the entry of their attempt again."""

log = structlog.get_logger("comfyledger.entries")


class _Attempt(msgspec.Struct):
    batch_id: str
    prompt: int
    attempt: int


class Entries:
    """The entries at one ComfyUI."""

    def __init__(self, comfyui: ComfyUI, reader: Reader) -> None:
        self._comfyui = comfyui
        self._reader = reader
        self._left: dict[str, None] | None = None

    async def forget(self, prompt_id: str) -> None:
        """Delete an entry, and what was left. If that fails it costs the server memory and us nothing."""
        if self._left is None:
            self._left = dict.fromkeys(await self._of_earlier())
        self._left[prompt_id] = None
        going = list(self._left)[-LEFT_MAX:]
        try:
            crash.at("history.deleting")
            await self._comfyui.forget(going)
            crash.at("history.deleted")
        except NotReached as trouble:
            log.info("comfyui.entry_left", prompt_id=prompt_id, error=trouble.text)
            self._left = dict.fromkeys(going)
        else:
            for gone in going:
                self._left.pop(gone, None)

    async def _of_earlier(self) -> list[str]:
        """The attempts of which the end of the log says that they are used up."""
        position = (await self._reader.head()).position
        lines = await self._reader.page(after=max(0, position - LINES_LOOKED_AT), limit=LINES_LOOKED_AT)
        about = [msgspec.json.decode(line.data, type=_Attempt) for line in lines if line.kind in USED_UP]
        return [prompt_uuid(one.batch_id, one.prompt, one.attempt) for one in about]
