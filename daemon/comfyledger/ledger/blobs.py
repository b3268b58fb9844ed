"""Text that can be forgotten, beside the log: graphs, inputs, metadata, and the words of foreign servers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from comfyledger.core.values import Blob


def put(connection: sqlite3.Connection, blobs: Iterable[Blob]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO blobs (digest, salt, content, key) VALUES (?, ?, ?, ?)",
        [(blob.digest, blob.salt, blob.content, blob.key) for blob in blobs],
    )


def get(connection: sqlite3.Connection, digest: str) -> bytes | None:
    """The content behind a digest; None if it was erased."""
    row = connection.execute("SELECT content FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return row[0] if row else None
