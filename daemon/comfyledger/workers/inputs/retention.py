"""How long inputs stay: while an open batch needs them, `keep_days` after, and as long as there is room for others.

What seems to be needed by nobody is reported, and the ledger decides: the file is deleted after the event, by
`remove.py`. The folder is looked through once an hour, and soon after a batch has ended or an input was forgotten.
Before a file comes for which there is no room under the quota, the ones that were needed longest ago make room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal, Protocol

import structlog

from comfyledger.core.inputs import InputRow
from comfyledger.core.reports import InputUnused
from comfyledger.core.results import Wanted
from comfyledger.core.rows import BatchRow, Row
from comfyledger.errors import Refused
from comfyledger.ledger.observers import Committed
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.reporting import Reporter

SWEEP_EVERY_S: Final = 3_600.0
SWEEP_PAUSE_S: Final = 1.0
"""Between two sweeps, however many batches end."""
DAY_MS: Final = 86_400_000
YOUNG_MS: Final = 600_000
"""Whoever added an input may be about to use it."""
PAGE: Final = 1_000
ROOM_MAX: Final = 100_000
"""How many inputs may go for one file."""

Reason = Literal["forgotten", "expired", "quota", "missing"]

log = structlog.get_logger("comfyledger.inputs")


class InputRows(Protocol):
    """What is read of the ledger."""

    async def inputs_kept(self, after: str = "", limit: int = PAGE) -> list[InputRow]: ...

    async def inputs_unused(self, ended_before_ms: int, limit: int) -> list[InputRow]: ...


class Copies(Protocol):
    """What a box of a fleet has of inputs that other boxes keep."""

    def is_copy(self, row: InputRow) -> bool:
        """Whether another box that takes part keeps this input."""
        ...


class InputRetention:
    """Finds inputs that nobody needs. `now_ms` is the wall clock, because events carry its times.

    `keep_days`: how long an input stays unused. `quota_bytes`: what all of them may take. `configured`: the SHA-256 of
    those that workflows and characters of the configuration name now, which stay however long nothing uses them.
    """

    def __init__(
        self,
        store: InputStore,
        reader: InputRows,
        reporter: Reporter,
        remover: InputRemover,
        keep_days: float,
        quota_bytes: int,
        now_ms: Callable[[], int],
        configured: Callable[[], Collection[str]],
        copies: Copies | None = None,
    ) -> None:
        """`copies`: what this box has of inputs that other boxes keep; None without a fleet."""
        self._store = store
        self._reader = reader
        self._reporter = reporter
        self._remover = remover
        self._keep_ms = int(keep_days * DAY_MS)
        self._quota_bytes = quota_bytes
        self._now_ms = now_ms
        self._configured = configured
        self._copies = copies
        self._wake = asyncio.Event()
        self._room = asyncio.Lock()
        store.make_room = self.make_room

    def committed(self, committed: Committed) -> None:
        """Look soon if a batch that loads files has ended, or if an input was erased. An observer of commits."""
        if any(map(_may_free, committed.rows.values())):
            self._wake.set()

    async def run(self) -> None:
        """Sweep until cancelled. If the ledger or the disk is in trouble, that is logged and tried again later."""
        await self._quietly(self.take_back)
        await self._quietly(self.report_missing)
        while True:
            self._wake.clear()
            await self._quietly(self.clear)
            await self._until_next_hour()

    async def _until_next_hour(self) -> None:
        """Meanwhile report what was forgotten as soon as nothing needs it any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_EVERY_S):
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._quietly(self.clear_forgotten)
                    await asyncio.sleep(SWEEP_PAUSE_S)

    async def _quietly(self, work: Callable[[], Awaitable[int]]) -> None:
        try:
            await work()
        except (OSError, Refused) as error:
            log.warning("inputs.not_cleared", error=str(error))

    # ---- what goes

    async def take_back(self) -> int:
        """Report the files that are here again and whole, so that they can be used; delete the others. Returns how many
        files were looked at.
        """
        back = dict(self._store.back)
        for sha256, extension in back.items():
            await self._remover.take_back(sha256, extension)
            self._store.back.pop(sha256, None)
        if back:
            log.warning("inputs.found_again", inputs=len(back))
        return len(back)

    async def report_missing(self) -> int:
        """Report the inputs whose files are not here. Who adds one again may use it again. Returns how many.

        In a fleet another box may have them: whoever needs one asks for it.
        """
        after, missing = "", 0
        while self._copies is None and (rows := await self._reader.inputs_kept(after, PAGE)):
            sizes, after = self._store.sizes, rows[-1].sha256
            gone = [row.sha256 for row in rows if row.here == "kept" and row.sha256 not in sizes]
            missing += sum(await asyncio.gather(*map(self._report_missing, gone)))
        if missing:
            log.warning("inputs.missing", inputs=missing)
        return missing

    async def _report_missing(self, sha256: str) -> bool:
        answer = await self._store.if_missing(sha256, partial(self._reporter.report, InputUnused(sha256, "missing")))
        return isinstance(answer, Wanted) and answer.go

    async def clear(self) -> int:
        """Report what was forgotten, what nothing has needed for long enough, and what is above the quota.

        Returns how many inputs are erased. Raises Refused if the ledger cannot be read now.
        """
        gone = await self._clear_unused(self._now_ms() - self._keep_ms)
        going = await self._for_room(0)
        gone += await self._report([row.sha256 for row in going if not self._is_copy(row)], "quota")
        for row in filter(self._is_copy, going):
            await self._drop(row)
        return _counted(gone)

    async def clear_forgotten(self) -> int:
        """Report what was forgotten and nothing needs any more. Returns how many inputs are erased. Raises Refused."""
        return _counted(await self._clear_unused(0))

    async def _clear_unused(self, ended_before_ms: int) -> int:
        """Page by page, until nothing of a page goes."""
        gone, went = 0, PAGE
        while went:
            rows = await self._reader.inputs_unused(ended_before_ms, PAGE + len(self._configured()))
            went = await self._report([row.sha256 for row in rows if row.forgetting], "forgotten")
            went += await self._report([row.sha256 for row in self._old(rows)], "expired")
            gone += went
        return gone

    async def make_room(self, size_bytes: int) -> None:
        """Delete what nothing needs, so that a file of so many bytes fits under the quota; nothing if it would not fit
        anyway. What somebody else adds is not waited for, because they may wait for this room too.

        Raises Refused, NoPlace, SpoolUnusable.
        """
        async with self._room:
            for row in await self._for_room(size_bytes):
                if self._store.is_adding(row.sha256):
                    continue
                if self._is_copy(row):
                    await self._drop(row)
                elif await self._report([row.sha256], "quota"):
                    await self._remove(row.sha256)

    def _is_copy(self, row: InputRow) -> bool:
        return self._copies is not None and self._copies.is_copy(row)

    async def _drop(self, row: InputRow) -> None:
        """Delete a copy of what another box keeps, and nothing in the ledger."""

        async def is_unwanted() -> bool:
            return self._is_copy(row)

        await self._remover.drop_copy(row.sha256, is_unwanted)

    async def _remove(self, sha256: str) -> None:
        """Delete a file now, unless somebody has begun to add it again: then the deletion is owed."""
        if not self._store.is_adding(sha256):
            await self._remover.remove(sha256)

    async def _for_room(self, size_bytes: int) -> list[InputRow]:
        """What was needed longest ago, as much as must go for a file of so many bytes."""
        excess = self._store.used_bytes + size_bytes - self._quota_bytes
        if excess <= 0:
            return []
        rows = await self._reader.inputs_unused(self._now_ms(), ROOM_MAX + len(self._configured()))
        chosen: list[InputRow] = []
        here = (row for row in self._old(rows) if self._copies is None or self._store.has(row.sha256))
        for row in here:
            if excess > 0 and not self._store.is_adding(row.sha256):
                chosen.append(row)
                excess -= row.size_bytes
        return chosen if excess <= 0 or not size_bytes else []

    def _old(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        """Usable inputs, without those that somebody has just added, or that the configuration names."""
        latest, configured = self._now_ms() - YOUNG_MS, self._configured()
        return (row for row in rows if row.is_usable and row.added_ms <= latest and row.sha256 not in configured)

    async def _report(self, sha256s: Sequence[str], reason: Reason) -> int:
        """All at once, so that one commit takes many. Returns how many of them are erased."""
        answers = await asyncio.gather(*(self._reporter.report(InputUnused(sha256, reason)) for sha256 in sha256s))
        return sum(isinstance(answer, Wanted) and answer.go for answer in answers)


def _counted(gone: int) -> int:
    if gone:
        log.info("inputs.cleared", inputs=gone)
    return gone


def _may_free(row: Row) -> bool:
    """Whether an input may be free now: a batch that loads files has ended."""
    return isinstance(row, BatchRow) and row.settled and row.loads_files
