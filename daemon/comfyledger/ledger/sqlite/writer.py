"""Writes a ledger in SQLite: one transaction for each group, and what is written in it.

Every method runs in the writer's thread. Nothing here decides: the caller says what to load, append and save.
"""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from comfyledger import crash_points
from comfyledger.core.events import BatchRequested, BlobErased, ImageAdded, ImageForgotten, ImageRenumbered, Recorded
from comfyledger.core.keys import Key, ManyKey, OneKey, RequestKey, SeriesKey, gathered
from comfyledger.core.rows import Row, RowId, Slice
from comfyledger.core.values import Blob
from comfyledger.core.webhooks import WebhookProgress
from comfyledger.errors import ComfyledgerError, LedgerUnusable
from comfyledger.ledger import ports
from comfyledger.ledger.eventlog import Head, Line, lines_of
from comfyledger.ledger.file_lock import Hold
from comfyledger.ledger.ports import LedgerLocked, Noted, RowRefused, StorageFull, Taken, noted
from comfyledger.ledger.sqlite import (
    blobs,
    facets,
    image_uses,
    input_uses,
    mark,
    projections,
    reviews,
    row_memory,
    schema,
    schema_objects,
)
from comfyledger.ledger.sqlite.locking import OPEN_WAIT_S, hold, holder_of, is_lock, patiently
from comfyledger.ledger.sqlite.log_table import append, read_head
from comfyledger.ledger.sqlite.mark import Marking
from comfyledger.ledger.sqlite.opening import (
    BUSY_TIMEOUT_S,
    CHECK_PLACE,
    MAKE_ROOM,
    check_place,
    connect,
    primary_code,
    unopened,
)
from comfyledger.ledger.sqlite.replica import absent
from comfyledger.ledger.sqlite.row_memory import RowMemory

LOCK_TRY_S: Final = 1.0
"""How long one statement of a group waits for a lock of another program. Short, because the engine tries again."""

_NAMING: Final = frozenset((BatchRequested, ImageAdded, ImageRenumbered, ImageForgotten, BlobErased))
_NOTED: Final = _NAMING | input_uses.NOTED | reviews.NOTED
"""Events that change tables beside the rows."""
_OF_ONE_MESSAGE: Final = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class Ledger(ports.Ledger):
    """An open ledger, made by `open`. `close` gives up its lock. `ports.Ledger` documents the other methods."""

    is_shared = False
    is_current = True
    taken = Taken()

    def __init__(self, connection: sqlite3.Connection, held: Hold | None = None) -> None:
        """`held` is closed with the ledger; if None, the caller closes its lock later."""
        self._connection = connection
        self._held = held
        self._marking: Marking | None = None
        self.head: Head = read_head(connection)
        self.ledger_id: str = _identity(connection, "ledger_id")
        self.epoch: str = _identity(connection, "epoch")
        self.secret: bytes = bytes.fromhex(_identity(connection, "secret"))
        (file,) = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
        self.path = Path(file)
        self.foreign = schema.named_foreign(connection)
        self._lines: list[Line] = []
        self._memory = RowMemory()
        self._version: int | None = None
        self._failed = False
        self._busy_timeout_ms = int(BUSY_TIMEOUT_S * 1000)
        self.scrub_owed = True
        """True at the start, because an earlier process may have left erased texts in the write-ahead log."""

    @classmethod
    def open(cls, path: Path, *, replica: bool = False) -> Ledger:
        """Open the ledger at a path; make one if there is none and never was. Raises LedgerUnusable.

        `replica`: open the replica that is there; see `replica.py`.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_place(path)
            if not path.exists():
                if replica:
                    raise absent()  # a file that is made here would be no replica, and in the way of one
                mark.check(path)  # where one was, none is born
            held = hold(path)
        except OSError as error:
            raise LedgerUnusable(f"The ledger cannot be opened: {error}.", hint=CHECK_PLACE) from error
        try:
            opened = cls(patiently(path, lambda: connect(held, replica=replica), OPEN_WAIT_S), held)
            opened.wait_for_locks(LOCK_TRY_S)
        except BaseException as error:
            held.close()
            if isinstance(error, OSError | sqlite3.Error):
                raise unopened(error) from error
            raise
        try:
            if not replica:
                opened._begin_marking(held.path)
        except BaseException:
            opened.close()
            raise
        return opened

    def _begin_marking(self, path: Path) -> None:
        """Reuse the mark of this ledger, or write a new one.

        A mark may name only what is on stable storage, and what an opening finds need not be. So an existing mark is
        left as it is until the first commit, and for a new one a commit syncs the log. If that commit fails because
        the disk is full or locked, the first group writes the mark. Raises LedgerUnusable, OSError.
        """
        self._marking = Marking(path, self.ledger_id, self.epoch)
        found = mark.read_whole(path)
        if found is not None and (found.ledger_id, found.epoch) == (self.ledger_id, self.epoch):
            self._marking.go_on()
            return
        try:
            with self.group():
                schema.set_meta(self._connection, "epoch", self.epoch)
        except LedgerUnusable:
            raise
        except (ComfyledgerError, sqlite3.OperationalError):
            return
        self._marking.note(self.head)

    def wait_for_locks(self, seconds: float) -> None:
        """Set how long each statement waits for a lock of another program."""
        self._busy_timeout_ms = int(seconds * 1000)
        self._connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")

    def close(self) -> None:
        """Give up the lock. After a disk failure the connection stays open until the process ends.

        Closing it, as Python does with an unreferenced object, would write and sync once more.
        """
        if self._failed:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        else:
            self._connection.close()
        if self._marking is not None:
            self._marking.close()
        if self._held is not None:
            (self._held.let_go if self._failed else self._held.close)()

    @contextmanager
    def group(self) -> Iterator[list[Line]]:
        """One transaction, one fsync.

        After a failed write or sync (LedgerUnusable) the process must end, because the same file handle may report
        success for lost data. Other errors of SQLite are raised as they are.
        """
        head = self.head
        self._lines = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._see_others()
            yield self._lines
            crash_points.at("group.written")
            self._connection.execute("COMMIT")
            crash_points.at("group.committed")
        except BaseException as error:
            self.head = head
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                meant = _translated(error)
                self._failed = isinstance(meant, LedgerUnusable)
                raise meant from error
            raise
        if self._lines and self._marking is not None:
            self._marking.note(self.head)

    def check_lock(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._roll_back()
            raise _translated(error) from error

    def lock_holder(self) -> str:
        return holder_of(self.path)

    def _see_others(self) -> None:
        """Rely on nothing that is known of the file if another program has written to it since the last group."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._memory.forget()
            self._see_schema()
            self._version = version

    def _see_schema(self) -> None:
        """Trust the schema if SQLite refuses it: another program may have changed it since the last group."""
        try:
            self._connection.execute("SELECT 1 FROM meta WHERE 0")
        except sqlite3.DatabaseError as error:
            if not schema_objects.must_trust(error):
                raise
            schema_objects.trust(self._connection)

    def _roll_back(self) -> None:
        """On a full disk SQLite has rolled back already; then there is no transaction to end."""
        self._memory.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def message(self) -> Iterator[None]:
        self._connection.execute("SAVEPOINT message")
        try:
            with self.following():
                yield
        except BaseException:
            self._memory.forget()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO message")
                self._connection.execute("RELEASE message")
            raise
        self._connection.execute("RELEASE message")

    @contextmanager
    def following(self) -> Iterator[None]:
        head, written = self.head, len(self._lines)
        try:
            yield
        except BaseException:
            self.head = head
            del self._lines[written:]
            raise

    def ends_group(self, error: Exception) -> bool:
        """True if SQLite has ended the transaction or cannot go on."""
        if not self._connection.in_transaction:
            return True
        return isinstance(error, sqlite3.Error) and not isinstance(error, _OF_ONE_MESSAGE)

    def load(self, keys: Iterable[Key]) -> Slice:
        return gathered(keys, self.load_one, self.load_many)

    def load_one(self, key: OneKey) -> Row | None:
        if type(key) not in row_memory.OF_OPEN_WORK:
            return projections.load_one(self._connection, key)
        try:
            return self._memory.known(key.row_id)
        except KeyError:
            row = projections.load_one(self._connection, key)
        self._memory.loaded(key, row)
        return row

    def load_these(self, keys: Iterable[SeriesKey | RequestKey]) -> dict[RowId, Row | None]:
        return projections.load_these(self._connection, keys)

    def load_many(self, key: ManyKey) -> Iterable[Row]:
        return projections.load_many(self._connection, key)

    def write(self, recorded: tuple[Recorded, ...], state: Slice, texts: Iterable[Blob]) -> None:
        self.put(self.follow(recorded, state), noted(recorded, state), state.changed.values(), texts)

    def follow(self, recorded: tuple[Recorded, ...], state: Slice) -> list[Line]:
        lines = lines_of(self.head, recorded, _users_of(recorded, state))
        self.adopt(lines)
        return lines

    def adopt(self, lines: Sequence[Line]) -> None:
        if lines:
            self.head = Head(lines[-1].position, lines[-1].hash)
            self._lines.extend(lines)

    def catch_up(self) -> Taken:
        return Taken()

    def put(self, lines: Sequence[Line], noted: Iterable[Noted], rows: Iterable[Row], texts: Iterable[Blob]) -> None:
        if not lines:
            projections.save(self._connection, (row for row in rows if isinstance(row, WebhookProgress)))
            return
        blobs.put(self._connection, texts)
        append(self._connection, lines)
        told = [one for one in noted if type(one[0]) in _NOTED]
        projections.give_names(self._connection, (event for event, _, _ in told))
        blobs.note_templates(self._connection, ((event, batch) for event, batch, _ in told))
        for event, batch, at_ms in told:
            input_uses.note(self._connection, event, batch, at_ms)
            image_uses.note(self._connection, event)
            reviews.note(self._connection, event)
            facets.note(self._connection, event, batch)
            if isinstance(event, BlobErased):
                blobs.erase(self._connection, event.digests)
                self.scrub_owed = True
        changed = list(rows)
        projections.save(self._connection, changed)
        self._memory.written(changed)

    def scrub(self) -> bool:
        """Empty the write-ahead log. False while a reader has an older snapshot open, and while the disk is full.

        It waits for no lock, because the whole ledger would wait with it.
        """
        if not self.scrub_owed:
            return True
        self._connection.execute("PRAGMA busy_timeout=0")
        try:
            self.scrub_owed = bool(self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        except sqlite3.Error as error:
            meant = _translated(error)
            self._failed = isinstance(meant, LedgerUnusable)
            if not isinstance(meant, StorageFull | LedgerLocked):
                raise meant from error
        finally:
            self._connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        return not self.scrub_owed

    def open_rows(self) -> list[Row]:
        try:
            return list(projections.open_rows(self._connection))
        except sqlite3.Error as error:
            raise LedgerUnusable(f"The ledger cannot be read: {error}.", hint=schema_objects.RESTORE) from error


def _users_of(recorded: tuple[Recorded, ...], state: Slice) -> dict[str, str]:
    """The users of the batches that events belong to, by batch id."""
    found: dict[str, str] = {}
    for entry in recorded:
        batch_id = getattr(entry.event, "batch_id", None)
        if batch_id is not None and batch_id not in found:
            batch = state.batch(batch_id)
            if batch is not None:
                found[batch_id] = batch.user_key
    return found


def _identity(connection: sqlite3.Connection, key: str) -> str:
    value = schema.get_meta(connection, key)
    if value is None:
        raise LedgerUnusable(f"The ledger has lost its {key}.", hint=schema_objects.RESTORE)
    return value


def _translated(error: sqlite3.Error) -> Exception:
    """The error to raise for an error of SQLite in a group; the same one if it means nothing special.

    If the disk has no space for the index of the write-ahead log, SQLite fails after it has written the log. Only
    reading the log again shows whether it holds the group, so the ledger is unusable until the next start.
    """
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return LedgerUnusable("The disk that holds the ledger is full, and SQLite cannot go on.", hint=MAKE_ROOM)
    if is_lock(error):
        return LedgerLocked("Another program holds a lock of the ledger.")
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("The disk that holds the ledger is full.")
    if code == sqlite3.SQLITE_IOERR:
        return LedgerUnusable(f"The disk failed the ledger ({error}).", hint="Check the disk; then start again.")
    if isinstance(error, _OF_ONE_MESSAGE):
        return RowRefused(str(error))
    return error
