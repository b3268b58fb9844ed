"""The ledger of the stand-in for Cloudinary: every request in the order of its arrival, with its outcome.

An entry is written when a request arrives and rewritten when its file is stored and when it is answered. Entries are
in the SQLite file of the assets, in one transaction with them: after a kill they still say what happened.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

_SECRET: Final = frozenset({"signature", "api_key", "api_secret"})


class Entry(msgspec.Struct, kw_only=True):
    """One request. `status` 0 means that no answer was sent; `received_bytes` counts the file alone."""

    number: int
    at_s: float
    method: str
    path: str
    is_admin: bool
    public_id: str | None = None
    resource_type: str = ""
    """`image`, `video` (audio too) or `raw`, as the path says it; of an upload as `auto`, what the file is."""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    received_bytes: int = 0
    md5: str | None = None
    fault: str | None = None
    status: int = 0
    answer: str = ""
    """`new`, `existing`, `overwritten`, `ok`, `not found`; the text of an error; `cut`; empty while it is open."""
    is_stored: bool = False
    is_replaced: bool = False
    """Whether earlier bytes were overwritten or deleted."""


class Ledger:
    """The requests of all runs on one root folder."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def begin(self, at_s: float, method: str, path: str, is_admin: bool) -> Entry:
        """Give a request its number and store its entry."""
        number = self._database.execute("SELECT coalesce(max(number), 0) + 1 FROM request").fetchone()[0]
        entry = Entry(number=number, at_s=at_s, method=method, path=path, is_admin=is_admin)
        self.save(entry)
        return entry

    def save(self, entry: Entry) -> None:
        """Store the entry as it is now."""
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
