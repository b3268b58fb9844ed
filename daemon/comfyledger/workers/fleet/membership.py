"""Keeps this box in its fleet: it joins, says that it lives, hears of new events, and declares dead boxes left.

If the database is away, it tries again until it is back. If the fleet took this box for dead, because it slept or was
cut off, it joins again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import JoinBox, LeaveBox
from comfyledger.engine import Engine
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.ports import Boxes, BoxSeen, LogUnreachable
from comfyledger.workers.fleet.heard import Heard
from comfyledger.workers.fleet.leases import Leases
from comfyledger.workers.fleet.namesake import Namesake
from comfyledger.workers.webhooks.turn import Turn

BEAT_S: Final = 5.0
"""Between two signs of life."""
LOOK_S: Final = 1.0
"""So often a box looks for new events that nobody told it of."""
AGAIN_S: Final = 1.0
"""After so long the database is tried again."""
LABEL: Final = "comfyledger"
"""In place of a client's label, for what no client asked."""

log = structlog.get_logger("comfyledger.fleet")

Connect = Callable[[], AbstractAsyncContextManager[Boxes]]


class Membership:
    """`about`: what the other boxes are told, as JSON. `url`: where they reach this daemon. `heard`: takes what all
    boxes said last. `keep`: takes the small files that all doors have in common, by name.
    `turn`: which box delivers the webhooks. `namesake`: says whether the name is free."""

    def __init__(
        self,
        engine: Engine,
        connect: Connect,
        heard: Heard,
        url: str,
        about: Callable[[], str],
        keep: Callable[[dict[str, str]], None],
        turn: Turn,
        namesake: Namesake,
        lease_s: float,
    ) -> None:
        self._engine, self._connect = engine, connect
        self._heard, self._name = heard, heard.own
        self._url, self._about, self._keep, self._turn = url, about, keep, turn
        self._namesake = namesake
        self._leases = Leases(self._name, lease_s)

    async def run(self) -> None:
        """Until cancelled. Raises LedgerUnusable if the database holds something else than this fleet."""
        while True:
            try:
                async with self._connect() as boxes:
                    await self._stay(boxes)
            except LogUnreachable as error:
                log.info("fleet.away", error=str(error))
                self._engine.look_for_lock()
            self._leases.forget()
            await asyncio.sleep(AGAIN_S)

    async def _stay(self, boxes: Boxes) -> None:
        """Raises LogUnreachable."""
        beat_at, known = 0.0, self._engine.view.boxes()
        while True:
            self._engine.catch_up()
            if not self._engine.view.is_member:
                if not self._namesake.may_join(await boxes.seen()):
                    await boxes.news(LOOK_S)
                    continue
                await self._join()
            if (now := time.monotonic()) >= beat_at:
                beat_at = now + BEAT_S
                await boxes.beat(self._name, self._url, self._about(), self._engine.view.position)
                known = await self._look(boxes, now)
                self._keep(await boxes.door_files())
                if self._engine.view.is_member:
                    await self._turn.ask(boxes)
            elif known != self._engine.view.boxes():
                known = await self._look(boxes, now)
            await boxes.news(LOOK_S)

    async def _join(self) -> None:
        """Raises LedgerUnusable if it cannot, for another reason than a database that is away."""
        try:
            known = await self._engine.command(JoinBox(LABEL, self._name))
        except Refused as refusal:
            if refusal.code not in {"log_unreachable", "not_running"}:
                raise LedgerUnusable(f"The box cannot join its fleet: {refusal.message}", hint=refusal.hint) from None
            return
        self._engine.joined(known.term)
        log.info("fleet.joined", box=self._name, term=known.term)

    async def _look(self, boxes: Boxes, now_s: float) -> list[BoxRow]:
        """Hear what all boxes said last. Returns the rows of those that are known. Raises LogUnreachable."""
        known, seen = self._engine.view.boxes(), await boxes.seen()
        gone = {row.name for row in known if row.given_up}
        self._heard.take(one for one in seen if one.name not in gone)
        await self._judge(seen, now_s)
        return known

    async def _judge(self, seen: list[BoxSeen], now_s: float) -> None:
        for row in self._leases.ended(seen, self._engine.view.boxes(), now_s):
            if not self._engine.view.is_member:
                return
            try:
                await self._engine.command(LeaveBox(LABEL, row.name, row.term, "lease"))
            except Refused as refusal:
                log.warning("fleet.not_declared", box=row.name, error=str(refusal))
            else:
                log.warning("fleet.box_died", box=row.name, term=row.term)
