"""Opens the file of a ledger for its writer, after checking the place and the file.

A new ledger is synced and gets its ids here, before the first number is given.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ulid import ULID

from comfyledger import crash_points
from comfyledger.durable import sync_folder
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger import filesystem
from comfyledger.ledger.file_lock import Hold
from comfyledger.ledger.sqlite import mark, schema, schema_objects
from comfyledger.ledger.sqlite.replica import check_kind

STATEMENTS_CACHED: Final = 256
BUSY_TIMEOUT_S: Final = 5.0
"""How long one statement waits for a lock of another program while the ledger is opened."""

CHECK_PLACE: Final = "Check folder, permissions and disk of [ledger] path."
MAKE_ROOM: Final = "Make room on the disk of [ledger] path; then start again."
_OF_THE_PLACE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""Errors after which the ledger may be whole and only its disk full or out of reach, so no backup is suggested."""
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


def check_place(path: Path) -> None:
    """Raises LedgerUnusable for a network disk: other machines may open a ledger there, and no lock prevents it."""
    name = filesystem.network_of(filesystem.type_of(path.parent))
    if name is not None:
        raise LedgerUnusable(
            f"The ledger {path} is on a network file system ({name}), where SQLite's write-ahead log is not safe.",
            hint="Put the ledger on a local disk ([ledger] path); images and backups may be anywhere.",
        )


def connect(held: Hold, *, remaking: bool = False, replica: bool = False) -> sqlite3.Connection:
    """The writer's connection. A new ledger gets its tables and ids, an old one is migrated.

    `remaking`: the caller makes the tables anew, so they may be in any state. `replica`: see `replica.py`. Raises
    LedgerUnusable, also for a ledger that has lost its end; sqlite3.Error, OSError.
    """
    path = held.path
    if not replica:
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
        check_kind(connection, replica=replica)
        if replica:
            connection.execute("PRAGMA synchronous=NORMAL")
        elif schema.get_meta(connection, "ledger_id") is None:
            _sync(held)
            _be_born(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _be_born(connection: sqlite3.Connection) -> None:
    """Give a new ledger its id, its epoch, and the secret key of the digests of requests."""
    connection.execute("BEGIN IMMEDIATE")
    schema.set_meta(connection, "ledger_id", str(ULID()))
    schema.set_meta(connection, "epoch", str(ULID()))
    schema.set_meta(connection, "secret", secrets.token_hex(32))
    crash_points.at("ledger.named")
    connection.execute("COMMIT")
    crash_points.at("ledger.born")


def _sync(held: Hold) -> None:
    """Sync file and folders before the ledger gets its id, and so before the first number is given."""
    held.sync()
    for folder in folders_above(held.path):
        sync_folder(folder)


def folders_above(path: Path) -> Iterator[Path]:
    """The folders to sync: the first start may have made any of them, and each holds the name of the one below.

    They end at the mount point, or at a folder that this user cannot read and so made nothing in.
    """
    folder = path.absolute().parent
    yield folder
    for above in folder.parents:
        if above.stat().st_dev != folder.stat().st_dev or not os.access(above, os.R_OK):
            return
        yield above


def unopened(error: OSError | sqlite3.Error) -> LedgerUnusable:
    """Why a ledger cannot be opened. Opening needs some disk space, even if nothing is written afterwards."""
    if getattr(error, "sqlite_errorcode", None) in _NO_ROOM or getattr(error, "errno", None) == errno.ENOSPC:
        return LedgerUnusable("The ledger cannot be opened: its disk is full.", hint=MAKE_ROOM)
    of_the_place = isinstance(error, OSError) or primary_code(error) in _OF_THE_PLACE
    hint = CHECK_PLACE if of_the_place else schema_objects.RESTORE
    return LedgerUnusable(f"The ledger cannot be opened: {error}.", hint=hint)


def primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary error code, without the extended bits; None for an error that Python's module raised itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
