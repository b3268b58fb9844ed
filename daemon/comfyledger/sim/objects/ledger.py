"""The ledger of the stand-in for object stores: every request in the order of its arrival, with its outcome.

An entry is written when a request arrives and rewritten when it is answered. Entries are in the SQLite file of the
objects: after a kill they still say what happened.
"""

from __future__ import annotations

import sqlite3

import msgspec


class Entry(msgspec.Struct, kw_only=True):
    """One request. `status` 0 means that no answer was sent."""

    number: int
    at_s: float
    method: str
    bucket: str
    key: str
    query: dict[str, str] = msgspec.field(default_factory=dict)
    """Without signatures."""
    condition: str = ""
    """What the client asks to hold, as `If-None-Match: *`."""
    received_bytes: int = 0
    sha256: str = ""
    fault: str | None = None
    status: int = 0
    answer: str = ""
    """`ok`, the code of an error, `withheld` by a fault, `cut`; empty while it is open."""
    did: str = ""
    """`created`, `overwrote`, `deleted`, `began`, `part`, `aborted`; empty if nothing was changed."""


class Ledger:
    """The requests of all runs on one root folder."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def next_number(self) -> int:
        """The number of the next request."""
        return int(self._database.execute("SELECT coalesce(max(number), 0) + 1 FROM request").fetchone()[0])

    def save(self, entry: Entry) -> None:
        """Store the entry as it is now."""
        row = (entry.number, entry.key, msgspec.json.encode(entry).decode())
        self._database.execute("INSERT OR REPLACE INTO request VALUES (?, ?, ?)", row)

    def text(self, after: int, key: str | None) -> str:
        """The entries with a higher number than `after`, about one key or all, as a JSON list."""
        sql = "SELECT entry FROM request WHERE number > ? AND (? IS NULL OR key = ?) ORDER BY number"
        return f"[{','.join(row[0] for row in self._database.execute(sql, (after, key, key)))}]"
