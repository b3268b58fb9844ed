"""Small files that all doors of a fleet have in common: the named tokens, and the salt of signed addresses.

The database has the true ones, and each box a copy in its state folder, which its daemon renews every few seconds. So
a box whose database is away knows the tokens that it knew before.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from typing import Final

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.connection import Connection, connected, meaning

TOKENS: Final = "tokens.json"
SALT: Final = "file_urls.salt"
SALT_BYTES: Final = 32
CHANGE_S: Final = 10.0
TABLES: Final = "CREATE TABLE door_files (name text PRIMARY KEY, content text NOT NULL);"
READ: Final = "SELECT name, content FROM door_files"
_LOCKED: Final = "SELECT content FROM door_files WHERE name = %s FOR UPDATE"
_WRITE: Final = "UPDATE door_files SET content = %s WHERE name = %s"


def fill(connection: Connection) -> None:
    """The files of a new fleet. Raises psycopg.Error."""
    for name, content in ((TOKENS, "[]"), (SALT, new_salt())):
        connection.execute("INSERT INTO door_files (name, content) VALUES (%s, %s)", (name, content))


def new_salt() -> str:
    return secrets.token_hex(SALT_BYTES)


def read(address: str) -> dict[str, str]:
    """The files by name. Raises LogUnreachable, LedgerUnusable."""
    with closing(connected(address, CHANGE_S)) as connection, meaning():
        return {str(name): str(content) for name, content in connection.execute(READ).fetchall()}


def change(address: str, name: str, changed: Callable[[str], str]) -> None:
    """Replace a file by what `changed` makes of it, one box at a time. Raises what `changed` raises, LogUnreachable,
    LedgerUnusable.
    """
    with closing(connected(address, CHANGE_S)) as connection, meaning(), connection.transaction():
        found = connection.execute(_LOCKED, (name,)).fetchone()
        if found is None:
            raise LedgerUnusable(f"The database has no {name} of the fleet.", hint="Restore the database.")
        connection.execute(_WRITE, (changed(str(found[0])), name))
