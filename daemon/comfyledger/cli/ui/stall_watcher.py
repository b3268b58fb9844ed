"""Why a followed batch stands still: asked of the daemon once nothing was heard for a while, said when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.errors import Refused

QUIET_S: Final = 3.0
"""Silence after which the reason is asked for: a batch that goes on well is seldom quiet for so long."""
_GOES_ON: Final = frozenset({"turn", "submitting", "at_comfyui", "under_way"})
"""Codes of work that is in hand or has its turn coming."""

Say = Callable[[Sequence[wire.OwedInfo]], None]


class StallWatcher:
    """Listens for the silence of one batch. `heard` is called for each piece of news, `say` gets each new reason."""

    def __init__(self, client: Client, batch_id: str, say: Say, quiet_s: float = QUIET_S) -> None:
        self._client = client
        self._batch_id = batch_id
        self._say = say
        self._quiet_s = quiet_s
        self._news = asyncio.Event()
        self._said: list[str] = []

    def heard(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. A daemon that does not answer is the connection's trouble, not told here."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(self._quiet_s):
                    await self._news.wait()
                self._said.clear()
            except TimeoutError:
                with suppress(Refused):
                    self._tell(await self._client.explain(self._batch_id))

    def _tell(self, told: wire.Explanation) -> None:
        waits = [one for one in told.owed if one.what != "decide" and one.code not in _GOES_ON]
        reasons = [one.text for one in waits]
        if reasons != self._said:
            self._said = reasons
            self._say(waits)
