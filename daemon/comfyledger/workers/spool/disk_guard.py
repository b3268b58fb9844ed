"""Free disk space: a brake on new work before a disk is full, and a stop of rendering if the spool's disk is short.

The disks are checked every second, not for each request. Accepted work goes on with the space that is reserved for it.
A file that the disk still refuses waits here. After each check that finds space one waiting file is tried, until
the disk takes one. No image and no backend is blamed. The engine holds the brake and knows which requests add work; the
dispatcher knows which prompts are new. All work resumes by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from comfyledger.core.values import SPOOL, backend_lane
from comfyledger.engine import Engine
from comfyledger.ledger.commit_group import Shortage
from comfyledger.ledger.ports import Reader
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.spool.disks import Disks
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.spool.spool import Spool

CHECK_EVERY_S: Final = 1.0
UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")

log = structlog.get_logger("comfyledger.room")


class Needed(msgspec.Struct, frozen=True):
    """What must be free on each disk, and what parked images may take, in bytes."""

    spool_free_min: int
    ledger_free_min: int
    parked_max: int


class DiskGuard:
    """Watches the disks. `look` sets the brake; `run` repeats it and reports the lane of the spool."""

    def __init__(
        self,
        engine: Engine,
        reporter: Reporter,
        reader: Reader,
        spool: Spool,
        ledger_folder: Path,
        needed: Needed,
        disks: Disks,
    ) -> None:
        self.spool_short = False
        self._ledger_short = False
        self._may_try = True
        self._engine, self._view = engine, engine.view
        self._reporter = reporter
        self._reader = reader
        self._spool = spool
        self._ledger_folder = ledger_folder
        self._needed = needed
        self._disks = disks
        self._parked = 0
        self._parked_at: int | None = None
        self._no_place: NoPlace | None = None
        self._fetching = 0
        self._turns: deque[asyncio.Future[None]] = deque()

    async def run(self) -> None:
        """Check every second, until cancelled."""
        while True:
            self._engine.look_for_lock()
            await self.look()
            self._offer()
            await self._report_lane()
            await asyncio.sleep(CHECK_EVERY_S)

    async def look(self) -> None:
        """Set or release the brake."""
        needed, spool = self._needed, self._spool.root
        free = await asyncio.to_thread(lambda: (self._disks.read("spool"), self._disks.read("ledger")))
        of_spool = short_disk("spool", spool, free[0], needed.spool_free_min, was_short=self.spool_short)
        of_ledger = short_disk(
            "ledger", self._ledger_folder, free[1], needed.ledger_free_min, was_short=self._ledger_short
        )
        of_parked = parked_too_much(await self._parked_bytes(), needed.parked_max)
        self._may_try = of_spool is None
        of_spool = of_spool or self._refused_file()
        self.spool_short, self._ledger_short = of_spool is not None, of_ledger is not None
        self._brake(_joined([one for one in (of_spool, of_ledger, of_parked) if one is not None]))

    def _brake(self, shortage: Shortage | None) -> None:
        if shortage is not None and self._view.brake is None:
            log.warning("room.short", why=shortage.message)
        if shortage is None and self._view.brake is not None:
            log.info("room.enough")
        self._engine.set_brake(shortage)

    async def _parked_bytes(self) -> int:
        """Counted again only after an event was logged, and only for batches that have a folder in the spool."""
        position = self._view.position
        if position != self._parked_at:
            with suppress(OSError):  # A spool that has gone is short of space anyway.
                folders = await asyncio.to_thread(self._spool.batches)
                self._parked, self._parked_at = await self._reader.parked_bytes(folders), position
        return self._parked

    async def _report_lane(self) -> None:
        """Report one event when rendering stops and one when it resumes, also across restarts."""
        if not self.spool_short:
            if self._view.in_trouble(SPOOL):
                await self._reporter.works(SPOOL)
                for name in self._reporter.backends_in_trouble():
                    self._reporter.probe_soon(backend_lane(name))
        elif not self._view.in_trouble(SPOOL):
            text = self._view.brake.message if self._view.brake is not None else ""
            code = "spool" if self._no_place is not None and not self._no_place.is_full else "spool_full"
            await self._reporter.stuck(SPOOL, code, text)

    # ---- files that the disk refused

    async def fetch(self, fetch: Callable[[], Awaitable[bool]]) -> None:
        """Run `fetch`, and run it again each time after the spool had no space.

        `fetch` returns whether the spool has taken a file, or raises NoPlace.
        """
        self._fetching += 1
        try:
            while not await self._fetched(fetch):
                pass
        finally:
            self._fetching -= 1

    async def _fetched(self, fetch: Callable[[], Awaitable[bool]]) -> bool:
        if self._no_place is not None:
            self._turns.append(asyncio.get_running_loop().create_future())
            await self._turns[-1]
        try:
            taken = await fetch()
        except NoPlace as error:
            self._no_place = error
            await self.look()
            await self._report_lane()
            return False
        if taken:
            self._no_place = None
            self._let_go(len(self._turns))
        return True

    def _offer(self) -> None:
        """If the disk reports space, let one waiting file try. If none waits, the disk counts as good."""
        if self._may_try and self._no_place is not None:
            self._let_go(1)
            self._no_place = self._no_place if self._fetching else None

    def _let_go(self, most: int) -> None:
        """Let at most `most` waiting files try. Cancelled ones no longer wait."""
        waiting = [turn for turn in self._turns if not turn.done()]
        self._turns = deque(waiting[most:])
        for turn in waiting[:most]:
            turn.set_result(None)

    def _refused_file(self) -> Shortage | None:
        if self._no_place is None:
            return None
        return Shortage(
            f"The spool ({self._spool.root}) could not store a file: {self._no_place.reason}.",
            "Free space on its disk, or repair the disk; work resumes by itself.",
        )


def short_disk(name: str, folder: Path, free: int, free_min: int, *, was_short: bool) -> Shortage | None:
    """The shortage if too little is free. Then an eighth more must be free, or the shortage would come and go."""
    needed = free_min + free_min // 8 if was_short else free_min
    if free >= needed:
        return None
    return Shortage(
        f"The {name}'s disk ({folder}) has {in_words(free)} free and needs {in_words(needed)}.",
        f"Free space on it, or lower [{name}] free_min_bytes; work resumes by itself.",
    )


def parked_too_much(parked: int, parked_max: int) -> Shortage | None:
    """The shortage if the files of parked images take more of the spool than they may."""
    if parked <= parked_max:
        return None
    return Shortage(
        f"Parked images take {in_words(parked)} of the spool; they may take {in_words(parked_max)}.",
        "`comfyledger images --state parked` shows the reasons. Repair them and run `comfyledger retry BATCH`,"
        " or raise [spool] parked_max_bytes.",
    )


def _joined(found: list[Shortage]) -> Shortage | None:
    if not found:
        return None
    return Shortage(" ".join(one.message for one in found), " ".join(one.hint for one in found))


def in_words(count: int) -> str:
    """A number of bytes as people read it: 1.5 GiB."""
    amount, power = float(count), 0
    while amount >= 1024 and power < len(UNITS) - 1:
        amount, power = amount / 1024, power + 1
    return f"{amount:.1f} {UNITS[power]}" if power else f"{count} bytes"
