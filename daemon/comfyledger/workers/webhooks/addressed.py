"""Where each event goes: to the address of the webhook, or to one that the request of its batch names below it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Reader
from comfyledger.workers.webhooks.target import Target

BATCHES_KEPT: Final = 4_096


class Addressed:
    """One webhook. What a batch names never changes, so it is remembered."""

    def __init__(self, target: Target, reader: Reader) -> None:
        self._target, self._reader = target, reader
        self._known: OrderedDict[str, str] = OrderedDict()

    async def url_for(self, line: Line) -> str:
        """The address of an event; empty if it is not for this webhook. Raises Refused(busy)."""
        if not self._target.only_named:
            return self._target.url
        if line.stream not in self._known:
            self._known[line.stream] = await self._look_up(line.stream)
            if len(self._known) > BATCHES_KEPT:
                self._known.popitem(last=False)
        return self._known[line.stream]

    async def _look_up(self, batch_id: str) -> str:
        batch = await self._reader.batch(batch_id)
        if batch is None or batch.webhook != self._target.name:
            return ""
        return batch.webhook_url or self._target.url
