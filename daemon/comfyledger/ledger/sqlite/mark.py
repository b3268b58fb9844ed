"""The mark beside a ledger says which position was committed last, so that a ledger that has lost its end is refused.

SQLite opens a file whose write-ahead log is gone without complaint, and its newest transactions are gone as well.

The mark is written after each commit and before any answer, in one write over the same few bytes, and is not synced. So
it has everything that was acknowledged, whatever kills the process; after a power loss it may lag. It is never ahead:
what it names was synced before. Backups have no mark. A ledger without one, of an older release or a copy, gets one.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from comfyledger.durable import rename, sync_file
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.ledger.sqlite.reader import read_only

_MAGIC: Final = b"CLDGMRK1"
_BODY: Final = struct.Struct(">8sQ32s64s64s")
_CHECK_BYTES: Final = 16
MARK_BYTES: Final = _BODY.size + _CHECK_BYTES
"""Less than any disk writes at once."""
_READS: Final = 5
"""A mark that is read while it is written may look broken."""
_EVENTS: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'events'"
_EPOCHS: Final = (
    "SELECT 1 FROM events WHERE stream = 'ledger' AND kind = 'ledger_restored' AND data ->> '$.epoch_before' = ?"
)

REPLACED: Final = "epoch_replaced"
"""In `meta` of a ledger that a restore put in the place of another: the epoch of the mark that lay there. So a restore
that is killed before it has written a mark leaves none that refuses the new ledger, and none is taken from the old."""

log = structlog.get_logger("comfyledger.ledger")


class Mark(msgspec.Struct, frozen=True):
    """The end of a log as it was committed, and of which ledger in which epoch."""

    head: Head
    ledger_id: str
    epoch: str

    def packed(self) -> bytes:
        named = self.ledger_id.encode(), self.epoch.encode()
        body = _BODY.pack(_MAGIC, self.head.position, self.head.hash, *named)
        return body + _checksum(body)


class Broken(Exception):
    """The mark file is damaged."""


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES).digest()


def place_of(ledger: Path) -> Path:
    """The path of a ledger's mark: beside the file that a link leads to, like its write-ahead log."""
    ledger = ledger.resolve()
    return ledger.with_name(ledger.name + ".mark")


def read(ledger: Path) -> Mark | None:
    """The mark of a ledger; None without one. Raises Broken, OSError."""
    for _ in range(_READS):
        try:
            raw = place_of(ledger).read_bytes()
        except FileNotFoundError:
            return None
        body, check = raw[: _BODY.size], raw[_BODY.size :]
        if len(body) == _BODY.size and body.startswith(_MAGIC) and check == _checksum(body):
            _, position, digest, *named = _BODY.unpack(body)
            ledger_id, epoch = (name.rstrip(b"\0").decode() for name in named)
            return Mark(Head(position, digest), ledger_id, epoch)
    raise Broken


def read_whole(ledger: Path) -> Mark | None:
    """The mark of a ledger; None without one, or if it is damaged. Raises OSError."""
    with suppress(Broken):
        return read(ledger)
    return None


# ---- comparing a mark with its ledger


class Lost(msgspec.Struct, frozen=True):
    """A ledger that lacks what was acknowledged. `position`: its last one. `mark`: what it should have."""

    path: Path
    position: int
    mark: Mark

    @property
    def sentence(self) -> str:
        upto = f"position {self.mark.head.position} was acknowledged"
        if self.position < self.mark.head.position:
            return f"The ledger {self.path} has lost its end: it ends at position {self.position}, and {upto}."
        where = f"it ends at position {self.position}, and {upto} with another event"
        return f"The ledger {self.path} is not the one that was written last: {where} (epoch {self.mark.epoch})."

    def error(self) -> LedgerUnusable:
        return LedgerUnusable(self.sentence, hint=WAYS_ON.format(path=self.path))


WAYS_ON: Final = (
    "Put {path}-wal back if it was moved or removed. Or `comfyledger restore FILE --replace` from a backup. Or"
    " `comfyledger restore --accept-loss`: the loss is accepted, and a new epoch begins above all numbers that may have"
    " been given."
)


def check(ledger: Path) -> None:
    """Check that the ledger has what its mark names. A mark that is damaged or of another ledger is only logged.

    Reads the ledger and changes nothing. Raises LedgerUnusable, OSError, sqlite3.Error.
    """
    try:
        found = read(ledger)
    except Broken:
        log.warning("ledger.mark_broken", mark=str(place_of(ledger)))
        return
    lost = True if found is None else compare(ledger, found)
    if isinstance(lost, Lost):
        raise lost.error()
    if found is not None and not lost:
        log.warning("ledger.mark_of_another", mark=str(place_of(ledger)), ledger_id=found.ledger_id)


def lost_end(ledger: Path) -> Lost | None:
    """What a ledger lacks according to its mark. A daemon may run meanwhile. Raises OSError, sqlite3.Error."""
    found = read_whole(ledger)
    lost = None if found is None else compare(ledger, found)
    return lost if isinstance(lost, Lost) else None


def compare(ledger: Path, mark: Mark) -> Lost | bool:
    """True if the ledger has what the mark names, Lost if not; False for a mark of another ledger or old epoch."""
    if not ledger.exists():
        return Lost(ledger, 0, mark)
    with closing(read_only(ledger)) as connection:
        return _compared(connection, ledger, mark)


def _compared(connection: sqlite3.Connection, ledger: Path, mark: Mark) -> Lost | bool:
    """A ledger without tables has lost everything: even its tables were in the write-ahead log."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if not tables and application_id in (0, schema.APPLICATION_ID):
        return Lost(ledger, 0, mark)
    if not schema.is_ours(connection) or schema.get_meta(connection, "ledger_id") not in (None, mark.ledger_id):
        return False
    if connection.execute(_EVENTS).fetchone() is None:
        return True  # the check of the tables reports a missing table
    head = read_head(connection)
    if (schema.get_meta(connection, "epoch") or mark.epoch) != mark.epoch:
        came_after = schema.get_meta(connection, REPLACED) == mark.epoch or _has_left(connection, mark.epoch)
        return False if came_after else Lost(ledger, head.position, mark)
    return True if _holds(connection, mark.head) else Lost(ledger, head.position, mark)


def _has_left(connection: sqlite3.Connection, epoch: str) -> bool:
    """Whether a restore ended this epoch of the ledger."""
    return connection.execute(_EPOCHS, (epoch,)).fetchone() is not None


def _holds(connection: sqlite3.Connection, head: Head) -> bool:
    if head.position == 0:
        return True
    row = connection.execute("SELECT hash FROM events WHERE position = ?", (head.position,)).fetchone()
    return row is not None and bytes(row[0]) == head.hash


# ---- writing a mark


class Marking:
    """Writes the mark of one ledger, which must be locked."""

    def __init__(self, ledger: Path, ledger_id: str, epoch: str) -> None:
        self._ledger = ledger
        self._ledger_id, self._epoch = ledger_id, epoch
        self._fd: int | None = None
        self._complained = False

    def go_on(self) -> None:
        """Reuse the existing file, if it has no second hard link. Raises OSError."""
        fd = os.open(place_of(self._ledger), os.O_WRONLY | os.O_CLOEXEC)
        if os.fstat(fd).st_nlink == 1:
            self._fd = fd
        else:
            os.close(fd)

    def note(self, head: Head) -> None:
        """Record a committed head. A failed write is logged once, and the mark lags."""
        mark = Mark(head, self._ledger_id, self._epoch).packed()
        try:
            if self._fd is None:
                self._fd = _made(place_of(self._ledger), mark)
            else:
                os.pwrite(self._fd, mark, 0)
        except OSError as error:
            if not self._complained:
                log.warning("ledger.mark_not_written", mark=str(place_of(self._ledger)), error=str(error))
            self._complained = True

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _made(place: Path, mark: bytes) -> int:
    """Write a new mark file and rename it into place. Its read permissions are those of the ledger."""
    beside = place.with_name(place.name + ".new")
    mode = place.with_name(place.name.removesuffix(".mark")).stat().st_mode & 0o640
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, mode)
        os.pwrite(fd, mark, 0)
        sync_file(fd)
        rename(beside, place)
    except BaseException:
        os.close(fd)
        raise
    return fd
