"""The ledger of the stand-in for Cloudinary: every request in the order of its arrival, and what became of it.

An entry is written when a request has come and rewritten when it is stored and answered, in the same SQLite file as
the assets and in one transaction with them: what a test reads here is what happened, also after a kill.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

_SECRET: Final = frozenset({"signature", "api_key", "api_secret"})


class Entry(msgspec.Struct, kw_only=True):
    """One request. `status` 0 means that no answer left; `received_bytes` counts the file alone."""

    number: int
    at_s: float
    method: str
    path: str
    is_admin: bool
    public_id: str | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    received_bytes: int = 0
    md5: str | None = None
    fault: str | None = None
    status: int = 0
    answer: str = ""
    """`new`, `existing`, `overwritten`, `ok`, `not found`; the text of an error; `cut`; empty while it is open."""
    is_stored: bool = False
    is_replaced: bool = False
    """Whether bytes that were there before are gone."""


class Ledger:
    """The requests of all runs on one root."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def begin(self, at_s: float, method: str, path: str, is_admin: bool) -> Entry:
        """Give a request its number and write it down."""
        number = self._database.execute("SELECT coalesce(max(number), 0) + 1 FROM request").fetchone()[0]
        entry = Entry(number=number, at_s=at_s, method=method, path=path, is_admin=is_admin)
        self.save(entry)
        return entry

    def save(self, entry: Entry) -> None:
        """Write down what is known by now."""
        row = (entry.number, entry.public_id, msgspec.json.encode(entry).decode())
        self._database.execute("INSERT OR REPLACE INTO request VALUES (?, ?, ?)", row)

    def text(self, after: int, public_id: str | None) -> str:
        """The entries with a higher number than `after`, of one public id or of all, as a JSON list."""
        sql = "SELECT entry FROM request WHERE number > ? AND (? IS NULL OR public_id = ?) ORDER BY number"
        rows = self._database.execute(sql, (after, public_id, public_id))
        return f"[{','.join(row[0] for row in rows)}]"


def without_secrets(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as they may be shown."""
    return {key: value for key, value in parameters.items() if key not in _SECRET}
