"""Inputs in a fleet: the box to which one was uploaded keeps it, and others copy it when a ComfyUI of theirs needs it.

A copy is checked and kept like an input that a client sends, under the quota of its own box, and no event says so: any
box that needs the bytes asks the box that keeps them, and then the others. What the ledger says is erased goes here
too, as soon as this box hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Final

import structlog

from comfyledger.core.boxes import BoxRow
from comfyledger.core.inputs import InputRow
from comfyledger.errors import Refused
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.ports import Reader
from comfyledger.workers.fleet.peers import PeerAway, Peers
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.inputs.room import NoRoom
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.spool.files import NoPlace

COPIES_MAX: Final = 4
COPY_S: Final = 60.0
"""For one copy, to which its size adds at this rate."""
COPY_LEAST_BYTES_S: Final = 1_048_576

log = structlog.get_logger("comfyledger.inputs")


class CopyLater(Exception):
    """No box that may have the bytes can give them now. The text says why."""


class CopyGone(Exception):
    """No box has the bytes, and none is waited for that may have them. The text says so."""


class InputCopies:
    """Of the box `own`. `boxes`: all that have ever joined. `overdue`: those that left and are not waited for."""

    def __init__(
        self,
        store: InputStore,
        reader: Reader,
        peers: Peers,
        boxes: Callable[[], Sequence[BoxRow]],
        own: str,
        overdue: Callable[[], Collection[str]],
    ) -> None:
        self._store, self._reader, self._peers = store, reader, peers
        self._boxes, self._own = boxes, own
        self._overdue = overdue
        self._places = asyncio.Semaphore(COPIES_MAX)
        self._erased: set[str] = set()
        self._news = asyncio.Event()

    def is_copy(self, row: InputRow) -> bool:
        """Whether another box that takes part keeps this input."""
        return row.box != self._own and any(box.name == row.box and box.present for box in self._boxes())

    # ---- in

    async def fetch(self, sha256: str) -> None:
        """Have a copy of an input in the folder of this box. Raises CopyLater, CopyGone, SpoolUnusable."""
        row = await self._reader.input(sha256)
        if row is None or not row.here:
            raise CopyGone(f"The input sha256:{sha256} was forgotten.")
        away: list[str] = []
        for name in self._asked(row):
            try:
                async with self._places, asyncio.timeout(COPY_S + row.size_bytes / COPY_LEAST_BYTES_S):
                    if await self._copied(name, row):
                        log.info("input.copied", sha256=sha256, box=name)
                        return
            except (PeerAway, TimeoutError) as error:
                away.append(str(error) or f"The box {name} sends too slowly.")
            except (Broken, NoRoom, NoPlace, Refused) as error:
                raise CopyLater(f"The input sha256:{sha256} cannot be kept here: {error}") from error
        away += self._waited_for(row)
        if away:
            raise CopyLater(f"The input sha256:{sha256} cannot be had now. {' '.join(away)}")
        raise CopyGone(f"No box of the fleet has the bytes of the input sha256:{sha256} any more.")

    def _asked(self, row: InputRow) -> list[str]:
        """The boxes that take part, the one first that keeps the input."""
        present = [box.name for box in self._boxes() if box.present and box.name != self._own]
        return sorted(present, key=lambda name: name != row.box)

    def _waited_for(self, row: InputRow) -> Iterator[str]:
        """Why it is not given up yet: a box that left may come back with it."""
        overdue = self._overdue()
        for box in self._boxes():
            if not box.present and box.name not in overdue and row.box in {"", box.name}:
                yield f"The box {box.name}, which may have it, has left the fleet."

    async def _copied(self, name: str, row: InputRow) -> bool:
        """Raises PeerAway, and as `InputStore.add`."""
        async with self._peers.input(name, row.sha256) as pieces:
            if pieces is None:
                return False
            await self._store.add(_bounded(pieces, row.size_bytes), f"input.{row.extension}", _Copying(row))
            return True

    # ---- out

    def committed(self, committed: Committed) -> None:
        """Erase here what was erased. An observer of commits."""
        for row in committed.rows.values():
            if isinstance(row, InputRow) and not row.here and self._store.has(row.sha256):
                self._erased.add(row.sha256)
                self._news.set()

    async def run(self, remover: InputRemover) -> None:
        """Until cancelled. Raises SpoolUnusable."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._erased:
                await self._erase(self._erased.pop(), remover)

    async def _erase(self, sha256: str, remover: InputRemover) -> None:
        async def is_unwanted() -> bool:
            row = await self._reader.input(sha256)
            return row is None or not row.here

        try:
            await remover.drop_copy(sha256, is_unwanted)
        except Refused as error:  # the next start looks again
            log.warning("inputs.not_cleared", error=str(error))


class _Copying:
    """Another box that gives a file."""

    def __init__(self, row: InputRow) -> None:
        self._row = row

    async def knows(self, sha256: str) -> bool:
        """It takes room here."""
        return False

    async def record(self, file: ProvedFile) -> None:
        """Raises Refused(file_broken) for other bytes than those that were asked for."""
        if file.sha256 != self._row.sha256:
            raise Refused("file_broken", "The box sent other bytes.")


async def _bounded(pieces: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """Raises PeerAway for more bytes than the input has."""
    async for piece in pieces:
        size_bytes -= len(piece)
        if size_bytes < 0:
            raise PeerAway("The box sends more bytes than the input has.")
        yield piece
