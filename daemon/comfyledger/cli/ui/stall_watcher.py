"""Why a followed batch makes no progress: asked of the daemon after a while without news, shown when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.errors import Refused

QUIET_S: Final = 3.0
"""Silence after which the reason is asked for. A batch without trouble is seldom silent for so long."""
_GOES_ON: Final = frozenset({"turn", "submitting", "at_comfyui", "under_way"})
"""Codes of work that is under way or will be started without help: no reason to show."""

Say = Callable[[Sequence[wire.OwedInfo]], None]


class StallWatcher:
    """Watches one batch. Call `heard` for each piece of news; `say` is called with each new reason."""

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
        """Run until cancelled. The client reports a daemon that does not answer."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(self._quiet_s):
                    await self._news.wait()
                self._said.clear()
            except TimeoutError:
                with suppress(Refused):
                    self._report(await self._client.explain(self._batch_id))

    def _report(self, found: wire.Explanation) -> None:
        waits = [one for one in found.owed if one.what != "decide" and one.code not in _GOES_ON]
        reasons = [one.text for one in waits]
        if reasons != self._said:
            self._said = reasons
            self._say(waits)
