"""Opening a ledger read-only, while a daemon runs or without one. Nothing is created, locked or changed.

SQLite may leave an empty write-ahead log next to a closed ledger. If the folder is not writable, not even that is
allowed, and the file is opened as immutable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite import schema, schema_objects
from comfyledger.ledger.sqlite.locking import is_lock, naming, unusable

TIMEOUT_S: Final = 5.0
"""For a lock that another program holds."""
_OTHER_PATH = "Choose another --config or --state-dir; `comfyledger config check` shows what is used."


class Identity(msgspec.Struct, frozen=True):
    """Which ledger it is, and which restore it follows."""

    ledger_id: str
    epoch: str


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read. Raises LedgerUnusable if the file is missing or is no ledger of ours."""
    if not path.is_file():
        raise LedgerUnusable(f"There is no ledger {path}.", hint=_OTHER_PATH)
    try:
        connection = _opened(path)
    except sqlite3.Error as error:
        if is_lock(error):
            raise unusable(path) from error
        raise LedgerUnusable(f"{path} cannot be read as a ledger: {error}.", hint=_OTHER_PATH) from error
    with closing(connection), naming(path):
        if not schema.is_ours(connection):
            raise LedgerUnusable(f"{path} is not a ledger of comfyledger.", hint=_OTHER_PATH)
        schema.check_owner(connection)
        yield connection


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if is_lock(error):  # The holder may be writing.
            raise
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        return _connected(path, "mode=ro&immutable=1")


def _connected(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{how}", uri=True, isolation_level=None, check_same_thread=False, timeout=TIMEOUT_S
    )
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        _read_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_schema(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as error:
        if not schema_objects.must_trust(error):
            raise
        schema_objects.trust(connection)


def identity_of(connection: sqlite3.Connection) -> Identity:
    """The identity of a ledger, with empty strings for missing values."""
    return Identity(*(schema.get_meta(connection, key) or "" for key in ("ledger_id", "epoch")))
