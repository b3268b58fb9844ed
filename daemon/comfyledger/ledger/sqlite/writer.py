"""The ledger as its one writer holds it: birth, lock, transactions of groups, what is written in them.

Every method runs in the writer's thread. Nothing here decides: the engine says what to load, append and save. A commit
that fails drops everything of its group, the head included.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ulid import ULID

from comfyledger import crash_points
from comfyledger.core.events import BlobErased, Recorded
from comfyledger.core.keys import Key, ManyKey, OneKey
from comfyledger.core.rows import BatchRow, Row, Slice
from comfyledger.core.values import Blob
from comfyledger.durable import sync_folder
from comfyledger.errors import ComfyledgerError, LedgerUnusable
from comfyledger.ledger import ports
from comfyledger.ledger.eventlog import Head, Line, append, lines_of, read_head
from comfyledger.ledger.locked import OPEN_WAIT_S, holder_of, is_lock, patiently
from comfyledger.ledger.ports import LedgerLocked, Noted, RowRefused, StorageFull, noted
from comfyledger.ledger.sqlite import blobs, filesystem, mark, projections, schema, schema_objects
from comfyledger.ledger.sqlite.locking import Hold, hold
from comfyledger.ledger.sqlite.mark import Marking

STATEMENTS_CACHED: Final = 256
BUSY_TIMEOUT_S: Final = 5.0
"""For a lock of another program, while the ledger is opened."""
LOCK_TRY_S: Final = 1.0
"""The same for one attempt to write a group. Short, so that clients get an answer soon; the engine tries again."""

_CHECK_PLACE: Final = "Check folder, permissions and disk of [ledger] path."
_MAKE_ROOM: Final = "Make room on the disk of [ledger] path; then start again."
_RESTORE: Final = "Restore a backup."
_OF_THE_PLACE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""Where the ledger may be whole and its disk full or out of reach: a backup would put an older one in its place."""
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_OF_ONE_MESSAGE: Final = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class Ledger(ports.Ledger):
    """An open ledger. Use `open`, then `group` with `message` inside it; `close` gives the lock back."""

    def __init__(self, connection: sqlite3.Connection, held: Hold | None = None) -> None:
        """`held` is closed with the ledger. Without it, the caller closes the lock later."""
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
        self._failed = False
        self._busy_timeout_ms = int(BUSY_TIMEOUT_S * 1000)
        self.scrub_owed = True
        """Whether the write-ahead log may hold what was erased; at the start an earlier process may have left it."""

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open the ledger, or make one. Raises LedgerUnusable with what an operator can do."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_place(path)
            if not path.exists():
                mark.check(path)  # where one was, none is born
            held = hold(path)
        except OSError as error:
            raise LedgerUnusable(f"The ledger cannot be opened: {error}.", hint=_CHECK_PLACE) from error
        try:
            opened = cls(patiently(path, lambda: connect(held), OPEN_WAIT_S), held)
            opened.wait_for_locks(LOCK_TRY_S)
        except BaseException as error:
            held.close()
            if isinstance(error, OSError | sqlite3.Error):
                raise _unopened(error) from error
            raise
        try:
            opened._begin_marking(held.path)
        except BaseException:
            opened.close()
            raise
        return opened

    def _begin_marking(self, path: Path) -> None:
        """What a mark names must be on stable storage, and what was found at an opening need not be.

        So one that is there stays as it is until something is committed; for a new one a commit syncs the log. While
        the disk is full, or another program writes, there is none before the first commit. Raises LedgerUnusable,
        OSError.
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
        """How long each statement waits for a lock that another program holds."""
        self._busy_timeout_ms = int(seconds * 1000)
        self._connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")

    def close(self) -> None:
        """Give the lock back. A connection that the disk has failed is left to the end of the process.

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
        """One transaction, one fsync. Gives the list that holds the appended lines once the block has committed.

        Raises StorageFull if the disk is full, LedgerLocked if another program holds a lock, LedgerUnusable if a write
        or sync failed: then the process must end, since the same handle may report success for lost data.
        """
        head = self.head
        self._lines = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._see_schema()
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
        """Whether a group could be written now. Raises LedgerLocked, LedgerUnusable."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._roll_back()
            raise _translated(error) from error

    def lock_holder(self) -> str:
        return holder_of(self.path)

    def _see_schema(self) -> None:
        """Another program may have changed it since the last group."""
        try:
            self._connection.execute("SELECT 1 FROM meta WHERE 0")
        except sqlite3.DatabaseError as error:
            if not schema_objects.must_trust(error):
                raise
            schema_objects.trust(self._connection)

    def _roll_back(self) -> None:
        """SQLite rolls back a full disk by itself; then there is no transaction left to end."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def message(self) -> Iterator[None]:
        """What one message writes: undone alone if the block raises, so that it never poisons its group."""
        self._connection.execute("SAVEPOINT message")
        try:
            with self.following():
                yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO message")
                self._connection.execute("RELEASE message")
            raise
        self._connection.execute("RELEASE message")

    @contextmanager
    def following(self) -> Iterator[None]:
        """Lines that follow the head: if the block raises, the head is where it was, and the lines are forgotten."""
        head, written = self.head, len(self._lines)
        try:
            yield
        except BaseException:
            self.head = head
            del self._lines[written:]
            raise

    def ends_group(self, error: Exception) -> bool:
        """Whether what one message raised is the whole group's: SQLite ended the transaction, or cannot go on."""
        if not self._connection.in_transaction:
            return True
        return isinstance(error, sqlite3.Error) and not isinstance(error, _OF_ONE_MESSAGE)

    def load(self, keys: Iterable[Key]) -> Slice:
        return projections.load(self._connection, keys)

    def load_one(self, key: OneKey) -> Row | None:
        return projections.load_one(self._connection, key)

    def load_many(self, key: ManyKey) -> Iterable[Row]:
        return projections.load_many(self._connection, key)

    def write(self, recorded: tuple[Recorded, ...], state: Slice, texts: Iterable[Blob]) -> None:
        """Append the events of one message, with the rows that they changed and the texts that they name."""
        self.put(self.follow(recorded, state), noted(recorded, state), state.changed.values(), texts)

    def follow(self, recorded: tuple[Recorded, ...], state: Slice) -> list[Line]:
        """The lines of one message's events; the head is behind them from now on. They are still to be put."""
        users = {row.batch_id: row.user_key for row in state.changed.values() if isinstance(row, BatchRow)}
        lines = lines_of(self.head, recorded, users | self._users_of(recorded, state, users))
        if lines:
            self.head = Head(lines[-1].position, lines[-1].hash)
            self._lines.extend(lines)
        return lines

    def put(self, lines: Sequence[Line], noted: Iterable[Noted], rows: Iterable[Row], texts: Iterable[Blob]) -> None:
        """Write lines, with what their events change in the tables and the texts that they name."""
        if not lines:
            return
        blobs.put(self._connection, texts)
        append(self._connection, lines)
        for event, batch in noted:
            projections.give_names(self._connection, event)
            blobs.note_templates(self._connection, event, batch)
            if isinstance(event, BlobErased):
                blobs.erase(self._connection, event.digests)
                self.scrub_owed = True
        projections.save(self._connection, rows)

    def _users_of(self, recorded: tuple[Recorded, ...], state: Slice, known: dict[str, str]) -> dict[str, str]:
        """The users of batches whose row was loaded and not changed."""
        found: dict[str, str] = {}
        for entry in recorded:
            batch_id = getattr(entry.event, "batch_id", None)
            if batch_id is not None and batch_id not in known:
                batch = state.batch(batch_id)
                if batch is not None:
                    found[batch_id] = batch.user_key
        return found

    def scrub(self) -> bool:
        """Empty the write-ahead log, so that no file holds what was erased. False if it has to be tried again.

        That is while a reader reads an older snapshot, and while the disk is full. It waits for no lock, since the
        whole ledger would wait with it. Raises LedgerUnusable if the disk failed.
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
        """What is open. Raises LedgerUnusable if it cannot be read."""
        try:
            return list(projections.open_rows(self._connection))
        except sqlite3.Error as error:
            raise LedgerUnusable(f"The ledger cannot be read: {error}.", hint=_RESTORE) from error


def check_place(path: Path) -> None:
    """Raises LedgerUnusable for a ledger that other machines may open as well, where no lock can make one writer."""
    name = filesystem.network_of(filesystem.type_of(path.parent))
    if name is not None:
        raise LedgerUnusable(
            f"The ledger {path} is on a network file system ({name}), where SQLite's write-ahead log is not safe.",
            hint="Put the ledger on a local disk ([ledger] path); images and backups may be anywhere.",
        )


def connect(held: Hold, *, remaking: bool = False) -> sqlite3.Connection:
    """The writer's connection. What is new is born, what is old brought up to date, what has lost its end refused.

    `remaking`: the caller makes the tables anew, so they may be in any state.
    """
    path = held.path
    mark.check(path)
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED, timeout=BUSY_TIMEOUT_S
    )
    try:
        schema.check_owner(connection)
        schema.set_up(connection)
        if remaking:
            return connection
        schema.migrate(connection)
        if schema.get_meta(connection, "ledger_id") is None:
            _sync(held)
            _be_born(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _be_born(connection: sqlite3.Connection) -> None:
    """An id that never changes, an epoch that a restore changes, and the secret that request digests are keyed with."""
    connection.execute("BEGIN IMMEDIATE")
    schema.set_meta(connection, "ledger_id", str(ULID()))
    schema.set_meta(connection, "epoch", str(ULID()))
    schema.set_meta(connection, "secret", secrets.token_hex(32))
    crash_points.at("ledger.named")
    connection.execute("COMMIT")
    crash_points.at("ledger.born")


def _identity(connection: sqlite3.Connection, key: str) -> str:
    value = schema.get_meta(connection, key)
    if value is None:
        raise LedgerUnusable(f"The ledger has lost its {key}.", hint=_RESTORE)
    return value


def _sync(held: Hold) -> None:
    """Sync file and folders before the ledger gets its id, and so before the first number is given."""
    held.sync()
    for folder in folders_above(held.path):
        sync_folder(folder)


def folders_above(path: Path) -> Iterator[Path]:
    """The folders to sync. Each holds the name of the one below, which the first start may have made.

    Up to the mount point, or to a folder that is closed to this user, who then made nothing in it.
    """
    folder = path.absolute().parent
    yield folder
    for above in folder.parents:
        if above.stat().st_dev != folder.stat().st_dev or not os.access(above, os.R_OK):
            return
        yield above


def _unopened(error: OSError | sqlite3.Error) -> LedgerUnusable:
    """Why a ledger cannot be opened. Opening needs some disk space, even if nothing is written afterwards."""
    if getattr(error, "sqlite_errorcode", None) in _NO_ROOM or getattr(error, "errno", None) == errno.ENOSPC:
        return LedgerUnusable("The ledger cannot be opened: its disk is full.", hint=_MAKE_ROOM)
    of_the_place = isinstance(error, OSError) or _primary_code(error) in _OF_THE_PLACE
    return LedgerUnusable(f"The ledger cannot be opened: {error}.", hint=_CHECK_PLACE if of_the_place else _RESTORE)


def _translated(error: sqlite3.Error) -> Exception:
    """What a failed group means.

    If the disk has no space for the index of the write-ahead log, SQLite fails after it has written the log. Only
    reading the log again shows whether it holds the group.
    """
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return LedgerUnusable("The disk that holds the ledger is full, and SQLite cannot go on.", hint=_MAKE_ROOM)
    if is_lock(error):
        return LedgerLocked("Another program holds a lock of the ledger.")
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("The disk that holds the ledger is full.")
    if code == sqlite3.SQLITE_IOERR:
        return LedgerUnusable(f"The disk failed the ledger ({error}).", hint="Check the disk; then start again.")
    if isinstance(error, _OF_ONE_MESSAGE):
        return RowRefused(str(error))
    return error


def _primary_code(error: sqlite3.Error) -> int | None:
    """Without what SQLite adds in higher bits; None for an error of Python's own module."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
