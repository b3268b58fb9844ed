"""The store of the stand-in for Cloudinary: records in one SQLite file, bytes in files next to it.

Both survive a restart. Records are read by page, so that 162,000 of them need no memory. `answers` says how a client
sees a record, `upload` says what may be stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import msgspec

from comfyledger.sim.cloudinary.names import extension_of, folder_of, leaf_of

Key = tuple[str, str, str]
"""Public id, resource type, delivery type: together they identify an asset."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS asset (
  public_id TEXT, resource_type TEXT, type TEXT, asset_id TEXT, version INTEGER, format TEXT, width INTEGER,
  height INTEGER, bytes INTEGER, etag TEXT, created_at REAL, asset_folder TEXT, display_name TEXT,
  original_filename TEXT, context TEXT, tags TEXT, file TEXT,
  PRIMARY KEY (public_id, resource_type, type)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS asset_by_folder ON asset (asset_folder);
CREATE TABLE IF NOT EXISTS folder (path TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS budget (hour INTEGER PRIMARY KEY, used INTEGER);
CREATE TABLE IF NOT EXISTS request (number INTEGER PRIMARY KEY, public_id TEXT, entry TEXT);
CREATE INDEX IF NOT EXISTS request_by_public_id ON request (public_id);
"""
_COLUMNS: Final = 17
_PUT: Final = f"INSERT OR REPLACE INTO asset VALUES ({','.join('?' * _COLUMNS)})"  # noqa: S608
_LAST: Final = "\U0010ffff"


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One stored record, its fields in the order of the table's columns. `created_at` in seconds since 1970."""

    public_id: str
    resource_type: str
    type: str
    asset_id: str
    version: int
    format: str
    width: int
    height: int
    bytes: int
    etag: str
    created_at: float
    asset_folder: str
    display_name: str
    original_filename: str
    context: dict[str, str]
    tags: list[str]
    file: str
    """The path of its bytes below `files`; empty for a seeded record, which has none."""

    @property
    def key(self) -> Key:
        """What identifies it."""
        return self.public_id, self.resource_type, self.type


class Seed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records without bytes: one by its `public_id`, or `count` of them, `prefix` + number from `start` on."""

    public_id: str = ""
    prefix: str = ""
    count: int = 0
    start: int = 1
    etag: str = ""
    """If empty, the MD5 of the public id."""
    resource_type: Literal["image", "video", "raw"] = "image"
    format: str = ""
    """If empty, png or mp4; raw records have what their public id ends with."""
    bytes: int = 1_500_000
    context: dict[str, str] = {}
    tags: list[str] = []

    def names(self) -> Iterator[str]:
        """The public ids."""
        if self.public_id:
            yield self.public_id
        for number in range(self.start, self.start + self.count):
            yield f"{self.prefix}{number}"


class Condition(msgspec.Struct, frozen=True):
    """An SQL condition on one asset, with its values."""

    sql: str
    values: tuple[str, ...] = ()


def starts_with(column: str, prefix: str) -> Condition:
    """The column begins with the prefix; an index serves this."""
    return Condition(f"{column} >= ? AND {column} < ?", (prefix, prefix + _LAST))


def open_database(root: Path) -> sqlite3.Connection:
    """The SQLite file of a root folder, created if missing. It is not synced: a power cut may lose what it has."""
    root.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(root / "cloudinary.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.executescript(_SCHEMA)
    return database


@contextlib.contextmanager
def one_transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Run the writes within as one transaction."""
    database.execute("BEGIN")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


class Assets:
    """The assets of the account."""

    def __init__(self, database: sqlite3.Connection, files: Path) -> None:
        self._database = database
        self.files = files
        files.mkdir(parents=True, exist_ok=True)

    def find(self, key: Key) -> Asset | None:
        """One record."""
        found, _ = self.page([Condition("public_id = ? AND resource_type = ? AND type = ?", key)], None, 1)
        return found[0] if found else None

    def put(self, asset: Asset) -> None:
        """Store a record, in place of one with the same key."""
        self._database.execute(_PUT, _row(asset))

    def remove(self, key: Key) -> bool:
        """Delete a record and, if no other has the same bytes, its file. True if there was one."""
        asset = self.find(key)
        if asset is None:
            return False
        self._database.execute("DELETE FROM asset WHERE public_id = ? AND resource_type = ? AND type = ?", key)
        if asset.file and not self.page([Condition("file = ?", (asset.file,))], None, 1)[0]:
            (self.files / asset.file).unlink(missing_ok=True)
        return True

    def page(self, conditions: Sequence[Condition], after: Key | None, count: int) -> tuple[list[Asset], Key | None]:
        """At most `count` records in the order of their keys, and the last key when there are more."""
        wanted = (
            [*conditions, Condition("(public_id, resource_type, type) > (?, ?, ?)", after)] if after else conditions
        )
        where, values = _where(wanted)
        order = "ORDER BY public_id, resource_type, type LIMIT ?"
        rows = self._database.execute(f"SELECT * FROM asset {where} {order}", (*values, count + 1)).fetchall()  # noqa: S608
        assets = [_asset(row) for row in rows[:count]]
        return assets, assets[-1].key if len(rows) > count else None

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        """How many records, and the sum of their bytes."""
        where, values = _where(conditions)
        sql = f"SELECT count(*), coalesce(sum(bytes), 0) FROM asset {where}"  # noqa: S608
        found = self._database.execute(sql, values).fetchone()
        return int(found[0]), int(found[1])

    def folders(self) -> set[str]:
        """Every folder that was created or contains an asset, and all folders above them."""
        sql = "SELECT path FROM folder UNION SELECT DISTINCT asset_folder FROM asset"
        found: set[str] = set()
        for (path,) in self._database.execute(sql):
            while path and path not in found:
                found.add(path)
                path = folder_of(path)  # noqa: PLW2901 - up to the root
        return found

    def add_folder(self, path: str) -> None:
        """Create a folder, which may stay empty."""
        self._database.execute("INSERT OR IGNORE INTO folder VALUES (?)", (path,))

    def seed(self, seeds: Iterable[Seed], now_s: float, random: Random) -> int:
        """Store many records without bytes; returns their number."""
        rows = (_row(_seeded(seed, name, now_s, random)) for seed in seeds for name in seed.names())
        with one_transaction(self._database):
            return self._database.executemany(_PUT, rows).rowcount


def _seeded(seed: Seed, public_id: str, now_s: float, random: Random) -> Asset:
    return Asset(
        public_id=public_id,
        resource_type=seed.resource_type,
        type="upload",
        asset_id=f"{random.getrandbits(128):032x}",
        version=int(now_s),
        format=seed.format or {"image": "png", "video": "mp4"}.get(seed.resource_type, extension_of(public_id)),
        width=1024 if seed.resource_type == "image" else 0,
        height=1024 if seed.resource_type == "image" else 0,
        bytes=seed.bytes,
        etag=seed.etag or hashlib.md5(public_id.encode(), usedforsecurity=False).hexdigest(),
        created_at=now_s,
        asset_folder=folder_of(public_id),
        display_name=leaf_of(public_id),
        original_filename=leaf_of(public_id),
        context=seed.context,
        tags=seed.tags,
        file="",
    )


def _where(conditions: Sequence[Condition]) -> tuple[str, list[str]]:
    values = [value for condition in conditions for value in condition.values]
    joined = " AND ".join(f"({condition.sql})" for condition in conditions)
    return (f"WHERE {joined}" if joined else ""), values


def _row(asset: Asset) -> tuple[Any, ...]:
    *plain, context, tags, file = msgspec.structs.astuple(asset)
    return (*plain, msgspec.json.encode(context).decode(), msgspec.json.encode(tags).decode(), file)


def _asset(row: Sequence[Any]) -> Asset:
    *plain, context, tags, file = row
    values = (*plain, msgspec.json.decode(context), msgspec.json.decode(tags), file)
    return Asset(**dict(zip(Asset.__struct_fields__, values, strict=True)))
