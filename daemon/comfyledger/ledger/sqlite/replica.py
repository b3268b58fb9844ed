"""A replica: the tables of a box whose log is in PostgreSQL, shared with other boxes.

What it lacks after a crash comes from the shared log, so it runs with `synchronous=NORMAL` and has no mark. It is never
opened as a ledger of its own, which would give numbers that other boxes give too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from comfyledger.core.values import Blob
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite import blobs, schema

_REPLICA: Final = "replica"
"""In `meta`: this file is a replica."""


def check_kind(connection: sqlite3.Connection, *, replica: bool) -> None:
    """Raises LedgerUnusable for a ledger where a replica is wanted, and the other way round; sqlite3.Error."""
    has_log = schema.get_meta(connection, "ledger_id") is not None
    is_replica = schema.get_meta(connection, _REPLICA) is not None
    if replica and not is_replica:
        raise _no_replica("is a ledger of its own") if has_log else absent()
    if is_replica and not replica:
        hint = "Set [ledger] shared again. A ledger of its own is made from a backup of it, by `comfyledger restore`."
        raise LedgerUnusable("The ledger is the replica of a box in a fleet.", hint=hint)


def absent() -> LedgerUnusable:
    """The error for a box whose replica was never made, or is lost."""
    return _no_replica("is not there")


def _no_replica(why: str) -> LedgerUnusable:
    hint = "Run `comfyledger fleet join` on this box, or `comfyledger fleet init` to share this ledger."
    return LedgerUnusable(f"The configuration names a shared log, and the replica {why}.", hint=hint)


def is_replica(connection: sqlite3.Connection) -> bool:
    """Raises sqlite3.Error."""
    return schema.get_meta(connection, _REPLICA) is not None


def bear(path: Path, ledger_id: str, epoch: str, secret: str) -> None:
    """Make an empty replica of a fleet's log. There must be no file. Raises LedgerUnusable, OSError, sqlite3.Error."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=False)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.set_up(connection)
        schema.migrate(connection)
        connection.execute("BEGIN IMMEDIATE")
        for key, value in (("ledger_id", ledger_id), ("epoch", epoch), ("secret", secret), (_REPLICA, "1")):
            schema.set_meta(connection, key, value)
        connection.execute("COMMIT")


def keep_texts(connection: sqlite3.Connection, texts: Iterable[Blob]) -> None:
    """Add texts from before the fleet began, in a transaction of their own. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    blobs.put(connection, texts)
    connection.execute("COMMIT")


def end(connection: sqlite3.Connection) -> None:
    """Make a copy of a replica a ledger of its own, which must begin another epoch. Raises sqlite3.Error."""
    connection.execute("DELETE FROM meta WHERE key = ?", (_REPLICA,))


def become(connection: sqlite3.Connection) -> None:
    """Make an open ledger a replica, once its log is shared. Raises sqlite3.Error."""
    schema.set_meta(connection, _REPLICA, "1")
