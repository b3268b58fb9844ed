"""The objects of the stand-in, and every version that ever was: records in one SQLite file, bytes in files beside it.

Nothing is ever removed: a version that was overwritten or deleted has an end. So tests can ask what became of each
object, and a listing or an answer can be given as it was earlier, as a slow index or a cache gives it. Both survive a
restart.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS version (
  generation INTEGER PRIMARY KEY, bucket TEXT, key TEXT, size INTEGER, etag TEXT, sha256 TEXT, md5 TEXT, file TEXT,
  headers TEXT, created_at_s REAL, request INTEGER, ended INTEGER, how TEXT
);
CREATE INDEX IF NOT EXISTS version_by_key ON version (bucket, key);
CREATE TABLE IF NOT EXISTS upload (id TEXT PRIMARY KEY, bucket TEXT, key TEXT, headers TEXT, state TEXT);
CREATE TABLE IF NOT EXISTS part (
  upload TEXT, number INTEGER, size INTEGER, etag TEXT, file TEXT, PRIMARY KEY (upload, number)
);
CREATE TABLE IF NOT EXISTS request (number INTEGER PRIMARY KEY, key TEXT, entry TEXT);
CREATE INDEX IF NOT EXISTS request_by_key ON request (key);
"""
_COLUMNS: Final = "generation, bucket, key, size, etag, sha256, md5, file, headers, created_at_s, request, ended, how"
_LIVE_AT: Final = "generation <= ? AND (ended IS NULL OR ended > ?)"
_LAST: Final = "\U0010ffff"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object, its fields in the order of the table's columns."""

    generation: int
    """Grows with every change of any object."""
    bucket: str
    key: str
    size: int
    etag: str
    sha256: str
    md5: str
    file: str
    """The path of its bytes below `files`; empty for a seeded version."""
    headers: dict[str, str]
    """Metadata and whatever else of the request is answered with the object."""
    created_at_s: float
    request: int
    """The number of the request that stored it; 0 if a test has seeded it."""
    ended: int | None = None
    """The generation at which it was overwritten or deleted."""
    how: str = ""
    """`overwritten`, `deleted`, or empty for what is there."""


class Upload(msgspec.Struct, frozen=True):
    """An upload in parts. `state`: `open`, `completed` or `aborted`."""

    id: str
    bucket: str
    key: str
    headers: dict[str, str]
    state: str


class Part(msgspec.Struct, frozen=True):
    """One part that has arrived."""

    upload: str
    number: int
    size: int
    etag: str
    file: str


def open_database(root: Path) -> sqlite3.Connection:
    """The SQLite file of a root folder, created if missing. It is not synced: a power cut may lose what it has."""
    root.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(root / "objects.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.executescript(_SCHEMA)
    return database


class Contents:
    """All versions of all objects, and the uploads in parts."""

    def __init__(self, database: sqlite3.Connection, files: Path) -> None:
        self._database = database
        self.files = files
        files.mkdir(parents=True, exist_ok=True)

    def now(self) -> int:
        """The generation of the last change."""
        sql = "SELECT max(coalesce(max(generation), 0), coalesce(max(ended), 0)) FROM version"
        return int(self._database.execute(sql).fetchone()[0])

    def find(self, bucket: str, key: str, at: int | None = None) -> Version | None:
        """The version that is there, or was there at an earlier generation."""
        when = self.now() if at is None else at
        sql = f"SELECT {_COLUMNS} FROM version WHERE bucket = ? AND key = ? AND {_LIVE_AT}"  # noqa: S608
        row = self._database.execute(sql, (bucket, key, when, when)).fetchone()
        return _version(row) if row else None

    def put(self, version: Version) -> Version:
        """Store a version in place of the one that is there; it gets the next generation."""
        with self.one_transaction():
            made = msgspec.structs.replace(version, generation=self.now() + 1)
            self._end(made.bucket, made.key, made.generation, "overwritten")
            *plain, headers, at_s, request, ended, how = msgspec.structs.astuple(made)
            row = (*plain, msgspec.json.encode(headers).decode(), at_s, request, ended, how)
            self._database.execute(f"INSERT INTO version VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
        return made

    def delete(self, bucket: str, key: str) -> bool:
        """End the version that is there. True if there was one."""
        with self.one_transaction():
            return self._end(bucket, key, self.now() + 1, "deleted")

    def _end(self, bucket: str, key: str, at: int, how: str) -> bool:
        sql = "UPDATE version SET ended = ?, how = ? WHERE bucket = ? AND key = ? AND ended IS NULL"
        return self._database.execute(sql, (at, how, bucket, key)).rowcount > 0

    def listed(self, bucket: str, prefix: str, after: str, at: int | None) -> Iterator[Version]:
        """Objects of a bucket in the order of their keys' bytes, as they are or were at an earlier generation."""
        when = self.now() if at is None else at
        sql = (
            f"SELECT {_COLUMNS} FROM version WHERE bucket = ? AND key >= ? AND key < ? AND key > ? AND {_LIVE_AT} "  # noqa: S608
            "ORDER BY key"
        )
        for row in self._database.execute(sql, (bucket, prefix, prefix + _LAST, after, when, when)):
            yield _version(row)

    def versions(self, prefix: str) -> list[Version]:
        """Every version that ever was, in the order of their generations."""
        sql = f"SELECT {_COLUMNS} FROM version WHERE key >= ? AND key < ? ORDER BY generation"  # noqa: S608
        return [_version(row) for row in self._database.execute(sql, (prefix, prefix + _LAST))]

    def begin_upload(self, upload: Upload) -> None:
        """Record an upload in parts."""
        row = (upload.id, upload.bucket, upload.key, msgspec.json.encode(upload.headers).decode(), upload.state)
        self._database.execute("INSERT INTO upload VALUES (?, ?, ?, ?, ?)", row)

    def upload(self, upload_id: str) -> Upload | None:
        """An upload in parts, in any state."""
        return next((one for one in self.uploads() if one.id == upload_id), None)

    def uploads(self) -> list[Upload]:
        """All uploads in parts."""
        rows = self._database.execute("SELECT id, bucket, key, headers, state FROM upload ORDER BY rowid")
        return [Upload(one, bucket, key, msgspec.json.decode(said), state) for one, bucket, key, said, state in rows]

    def end_upload(self, upload_id: str, state: str) -> None:
        """Complete or abort an upload."""
        self._database.execute("UPDATE upload SET state = ? WHERE id = ?", (state, upload_id))

    def put_part(self, part: Part) -> None:
        """Record a part, in place of one with the same number."""
        self._database.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(part))

    def parts(self, upload_id: str) -> dict[int, Part]:
        """The parts of an upload that have arrived, by number."""
        rows = self._database.execute("SELECT * FROM part WHERE upload = ? ORDER BY number", (upload_id,))
        return {row[1]: Part(*row) for row in rows}

    @contextlib.contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Run the writes within as one transaction."""
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _version(row: Any) -> Version:
    values = dict(zip(Version.__struct_fields__, row, strict=True))
    return Version(**{**values, "headers": msgspec.json.decode(values["headers"])})
