"""Which box of a fleet delivers the webhooks: one at a time, whoever has the turn.

A box that has the turn renews it with each sign of life, and delivers only for a part of the time for which it has it.
So one that sleeps, or that the database does not hear, stops before another one may begin. Whoever gets the turn goes
on from what was saved last: an event may be delivered again, under the same id, and none is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from comfyledger.ledger.ports import Boxes
from comfyledger.workers.webhooks.webhooks import Webhooks

TURN_S: Final = 30.0
"""For so long a box gets the turn, unless it renews it."""
SAFE_S: Final = 15.0
"""For so long after it asked for the turn it delivers. What is under way then ends within the difference."""
LOOK_S: Final = 0.5

log = structlog.get_logger("comfyledger.webhooks")


def since_boot_s() -> float:
    """A clock that never jumps, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Turn:
    """Of the box `name`, which delivers `webhooks` while it has the turn."""

    def __init__(self, webhooks: Webhooks, name: str, clock_s: Callable[[], float] = since_boot_s) -> None:
        self._webhooks, self._name, self._clock_s = webhooks, name, clock_s
        self._ends_s = 0.0
        webhooks.may_deliver = self.holds
        webhooks.end_turn([])

    def holds(self) -> bool:
        """Whether this box may begin a delivery now."""
        return self._clock_s() < self._ends_s

    async def ask(self, boxes: Boxes) -> None:
        """Ask for the turn, or renew it. It begins once this box has all events that were delivered. Raises
        LogUnreachable.
        """
        asked_s = self._clock_s()
        has = await boxes.hold_deliveries(self._name, TURN_S)
        progress = await boxes.webhook_progress()
        if not has:
            self._ends_s = 0.0
            self._end(lambda: self._webhooks.end_turn(progress))
        elif self._webhooks.delivers or self._webhooks.has_come_to(progress):
            self._ends_s = asked_s + SAFE_S
            if self._webhooks.begin_turn(progress):
                log.info("webhooks.turn_begins", box=self._name)

    async def run(self) -> None:
        """Until cancelled: end the turn when its time is over."""
        while True:
            if not self.holds():
                self._end(self._webhooks.stop_turn)
            await asyncio.sleep(LOOK_S)

    def _end(self, end: Callable[[], bool]) -> None:
        if end():
            log.info("webhooks.turn_ends", box=self._name)
