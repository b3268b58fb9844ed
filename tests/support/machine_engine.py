"""The real engine on a real ledger, with workers that stand still until the state machine moves them.

A life ends as a process does: its files are copied at one statement of the writer, whatever it was about to do, and
another life opens the copy. Who waited for an answer at that moment has none.
"""

from __future__ import annotations

import asyncio
import copy
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comfyledger.core.commands import Command
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import Report, SeriesAnswered
from comfyledger.core.results import SeriesUnknown
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, EffectKey, SubmitPrompt
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import Evidence
from comfyledger.engine import Engine
from comfyledger.errors import Refused
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import NOW_MS, room
from support.waiting import DEADLINE_S

ALL = 10_000
BACKENDS = ("main", "other")
WIDE = Limits(
    dict.fromkeys(BACKENDS, ALL), fetches_max=ALL, uploads_max=ALL, cancels_max=ALL, sources_max=ALL, removals_max=ALL
)
NARROW = Limits(
    dict.fromkeys(BACKENDS, 2),
    uploads_max=2,
    fetches_max=2,
    cancels_max=1,
    sources_max=2,
    removals_max=1,
    priority_age_ms=5_000,
)
TICKS = 25
"""Turns of the event loop in which all that needs no disk has come to rest."""


class Under:
    """An effect under way: the machine says when it ends, and whether its worker dies."""

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class MachineEngine:
    """One life of the daemon's heart. `highest` is what the stores answer about a series; without it they are mute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ms = 0
        self.under: dict[EffectKey, Under] = {}
        self.twice: list[Effect] = []
        self.highest: int | None = 0
        self.ledger = Ledger.open(path)
        self.quiet = PendingWork(WIDE)
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=NARROW,
            first_use_wait_s=3_600.0,
            wall_ms=lambda: NOW_MS,
            steady_ms=lambda: self.now_ms,
        )
        self._feed_both()

    def _feed_both(self) -> None:
        """A second index is fed alike and never asked, so that nothing of it ever runs."""
        feed = self.engine._state.owed.apply

        def apply(rows: Any, now_ms: int) -> None:
            rows = list(rows)
            feed(rows, now_ms)
            self.quiet.apply(rows, now_ms)

        self.engine._state.owed.apply = apply  # type: ignore[method-assign]

    async def begin(self) -> None:
        self._running = asyncio.create_task(self.engine.run(self._perform, self._ask))
        await self.on_thread(lambda: None)
        await self.rest()

    async def _perform(self, effect: Effect) -> None:
        if effect.key in self.under:
            self.twice.append(effect)
        under = self.under[effect.key] = Under(effect)
        try:
            await under.end
        finally:
            self.under.pop(effect.key, None)

    async def _ask(self, unknown: SeriesUnknown) -> None:
        if self.highest is not None:
            found = Evidence("folder", "folder:/images", self.highest)
            await self.engine.report(SeriesAnswered(unknown.series, (found,)))

    # ---- messages

    def post(self, *messages: Message) -> list[asyncio.Task[Any]]:
        """Hand in messages that meet in one group. Each task gives an answer, or the refusal that was raised."""
        return [asyncio.create_task(self._outcome(message)) for message in messages]

    async def _outcome(self, message: Message) -> Any:
        enter: Callable[[Any], Any] = self.engine.command if isinstance(message, Command) else self.engine.report
        assert isinstance(message, Command | Report)
        try:
            return await enter(message)
        except Refused as refusal:
            return refusal

    async def send(self, *messages: Message) -> list[Any]:
        async with asyncio.timeout(DEADLINE_S):
            answers = list(await asyncio.gather(*self.post(*messages)))
        await self.rest()
        return answers

    async def rest(self) -> None:
        for _ in range(TICKS):
            await asyncio.sleep(0)
        assert not self._running.done(), self._running

    async def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.engine.probe_soon("nobody's lane")
        await self.rest()

    async def on_thread(self, call: Callable[[], Any]) -> Any:
        return await self.engine._in_thread(call)

    async def room(self, pages: int) -> None:
        await self.on_thread(lambda: room(self.ledger, pages))

    # ---- ends

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running], timeout=DEADLINE_S)
        assert self._running.cancelled()
        self.ledger.close()

    async def die(self, folder: Path, statements: int, *messages: Message) -> Path:
        """Die with messages under way, before the writer's next statement of this count; what the disk then holds."""
        left = folder / self.path.name
        folder.mkdir()
        await self.on_thread(lambda: self._copy_at(statements, left))
        outcomes = asyncio.gather(*self.post(*messages))
        await asyncio.wait([outcomes], timeout=0.25)
        await self.on_thread(lambda: self._copy(left))
        await self.stop()
        await outcomes
        return left

    def _copy_at(self, statements: int, left: Path) -> None:
        to_come = iter(range(statements, -1, -1))

        def before(_: str) -> None:
            if next(to_come, None) == 0:
                self._copy(left)

        self.ledger._connection.set_trace_callback(before)

    def _copy(self, left: Path) -> None:
        """The first copy counts: nothing that was written after it was ever written."""
        if not left.exists():
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{self.path}{suffix}", f"{left}{suffix}")

    # ---- what is owed

    async def check_index(self) -> None:
        """The index that was fed row by row says what a fresh one says that is filled after a crash."""
        fresh = PendingWork(WIDE)
        fresh.apply(await self.on_thread(self.ledger.open_rows), self.now_ms)
        assert self.twice == []
        assert self.engine._state.owed._effects.wanted == self.quiet._effects.wanted == fresh._effects.wanted
        assert self.quiet.open_counts() == fresh.open_counts()
        later_ms = self.now_ms + 3_600_000
        assert _says(copy.deepcopy(self.quiet), later_ms) == _says(fresh, later_ms)


def _says(owed: PendingWork, now_ms: int) -> tuple[set[Any], Counter[str], set[tuple[str, int]]]:
    """What an index would start: by key, and of lanes in trouble how many calls, whichever come first.

    Which prompts begin depends on what was before, so of these it says which begin or wait for it.
    """
    effects = owed.take(now_ms)
    begun = {(one.batch_id, one.prompt) for one in effects if isinstance(one, SubmitPrompt) and not one.resumed}
    others = [one for one in effects if not isinstance(one, SubmitPrompt) or one.resumed]
    probes = [one.lane for one in others if owed.in_trouble(one.lane) and one.kind != "follow"]
    keys = {one.key for one in others if one.lane not in probes}
    return keys, Counter(probes), begun | set(owed._queue._queued)
