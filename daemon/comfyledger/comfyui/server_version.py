"""The version of one ComfyUI, asked for once on each connection: after a restart it may be another one.

It is shown to people and recorded with each attempt. Nothing is decided by it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.transfer import NotReached

WAIT_S: Final = 1.0
"""How long a prompt waits for the answer. It is sent without it then."""
CHARS_MAX: Final = 32

log = structlog.get_logger("comfyledger.comfyui")


class ServerVersion:
    """`text` is what the server said on its present connection; empty before it has said it."""

    def __init__(self, comfyui: ComfyUI) -> None:
        self._comfyui = comfyui
        self._call: asyncio.Task[None] | None = None
        self.text = ""

    def renew(self) -> None:
        """Begin to ask, because the server has just connected."""
        self.text = ""
        self._call = asyncio.get_running_loop().create_task(self._ask())

    async def known(self) -> str:
        """The version, once the server has answered; empty if it does not say it, or not within `WAIT_S`."""
        if self._call is not None and not self._call.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await asyncio.shield(self._call)
        return self.text

    async def learn(self) -> None:
        """Ask for it. Raises NotReached."""
        system = (await self._comfyui.system_stats()).get("system")
        found = system.get("comfyui_version") if isinstance(system, dict) else None
        self.text = str(found or "")[:CHARS_MAX]

    async def _ask(self) -> None:
        try:
            await self.learn()
        except NotReached as trouble:
            log.info("comfyui.version_unknown", url=self._comfyui.url, error=trouble.text)
