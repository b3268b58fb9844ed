"""The tables of the ledger, their migrations, and the checks of each opening.

Every SQLite setting that durability needs is set and read back here. A comparison finds what SQLite would allow
silently: a dropped trigger, a foreign file, a newer ledger. No event is read or written here.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import lru_cache
from typing import Final

import sqlite_utils
from sqlite_utils.migrations import Migrations

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite import facets, schema_objects

APPLICATION_ID: Final = 0x434C4447
"""`CLDG`, in the header of the file: marks it as a comfyledger ledger."""

USER_VERSION: Final = 9
"""Version of the tables. A ledger with a newer one is refused: it may hold what this code would misread."""

JOURNAL_SIZE_LIMIT_BYTES: Final = 64 * 1024 * 1024

migrations = Migrations("comfyledger")


@migrations(name="0001_birth")
def _birth(db: sqlite_utils.Database) -> None:
    """The tables as they were first made. `transform()` is never used on them: it drops triggers."""
    _run(db, _BIRTH)


@migrations(name="0002_forgetting")
def _forgetting(db: sqlite_utils.Database) -> None:
    """Indexes for deletions that stores owe, and for the batches that use a graph."""
    _run(db, _FORGETTING)


@migrations(name="0003_inputs")
def _inputs(db: sqlite_utils.Database) -> None:
    """Input files, and who is made from them or from an image."""
    _run(db, _INPUTS)


@migrations(name="0004_bound_late")
def _bound_late(db: sqlite_utils.Database) -> None:
    """Prompts that were never sent are bound to no ComfyUI."""
    _run(db, _BOUND_LATE)


@migrations(name="0005_backends")
def _backends(db: sqlite_utils.Database) -> None:
    """Backends that clients add while the daemon runs."""
    _run(db, _BACKENDS)


@migrations(name="0006_webhooks")
def _webhooks(db: sqlite_utils.Database) -> None:
    """Webhooks, and how far each has come. The latter is no projection: no event says it."""
    _run(db, _WEBHOOKS)


@migrations(name="0007_reviews")
def _reviews(db: sqlite_utils.Database) -> None:
    """The images that a person approved, rejected or rated, and no others. No older ledger has one."""
    _run(db, _REVIEWS)


@migrations(name="0008_facets")
def _facets(db: sqlite_utils.Database) -> None:
    """What images are filtered by, a row a batch; one index of images in place of three."""
    _run(db, _FACETS)
    facets.fill(db.conn)


@migrations(name="0009_boxes")
def _boxes(db: sqlite_utils.Database) -> None:
    """The boxes of a fleet. No older ledger has one."""
    _run(db, _BOXES)


def _run(db: sqlite_utils.Database, statements: Iterable[str]) -> None:
    for statement in statements:
        db.execute(statement)


_FORGETTING: Final = (
    "CREATE INDEX images_forgetting ON images (batch_id) WHERE state = 'forgetting'",
    """CREATE TABLE template_uses (template TEXT NOT NULL, batch_id TEXT NOT NULL,
        PRIMARY KEY (template, batch_id)) STRICT, WITHOUT ROWID""",
    "INSERT INTO template_uses (template, batch_id) SELECT row ->> '$.template', batch_id FROM batches",
)

_INPUTS: Final = (
    """CREATE TABLE inputs (sha256 TEXT PRIMARY KEY, here TEXT NOT NULL, added_ms INTEGER NOT NULL,
        is_usable INTEGER NOT NULL, is_ending INTEGER NOT NULL, is_going INTEGER NOT NULL, row TEXT NOT NULL)
        STRICT, WITHOUT ROWID""",
    "CREATE INDEX inputs_here ON inputs (sha256) WHERE here <> ''",
    "CREATE INDEX inputs_newest ON inputs (added_ms DESC, sha256) WHERE is_usable",
    "CREATE INDEX inputs_ending ON inputs (sha256) WHERE is_ending",
    "CREATE INDEX inputs_going ON inputs (sha256) WHERE is_going",
    """CREATE TABLE input_labels (sha256 TEXT NOT NULL, label TEXT NOT NULL, added_ms INTEGER NOT NULL,
        has INTEGER NOT NULL, PRIMARY KEY (sha256, label)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX input_labels_newest ON input_labels (label, added_ms DESC, sha256) WHERE has",
    """CREATE TABLE input_uses (sha256 TEXT NOT NULL, label TEXT NOT NULL, batch_id TEXT NOT NULL,
        ended_ms INTEGER NOT NULL, PRIMARY KEY (sha256, label, batch_id)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX input_uses_by_batch ON input_uses (batch_id)",
    "CREATE INDEX input_uses_ended ON input_uses (sha256, ended_ms)",
    """CREATE TABLE image_uses (batch_id TEXT NOT NULL, image INTEGER NOT NULL, kind TEXT NOT NULL,
        label TEXT NOT NULL, by_batch TEXT NOT NULL,
        PRIMARY KEY (batch_id, image, kind, label, by_batch)) STRICT, WITHOUT ROWID""",
    """INSERT INTO image_uses (batch_id, image, kind, label, by_batch)
        SELECT row ->> '$.origin.batch_id', row ->> '$.origin.image', 'like', row ->> '$.label', batch_id FROM batches
        WHERE row ->> '$.origin.batch_id' IS NOT NULL""",
)

_BOUND_LATE: Final = ("UPDATE prompts SET row = json_set(row, '$.backend', '') WHERE row ->> '$.attempt' = 0",)

_BACKENDS: Final = (
    """CREATE TABLE backends (name TEXT PRIMARY KEY, present INTEGER NOT NULL, row TEXT NOT NULL)
        STRICT, WITHOUT ROWID""",
    "CREATE INDEX backends_present ON backends (name) WHERE present",
)

_WEBHOOKS: Final = (
    """CREATE TABLE webhooks (name TEXT PRIMARY KEY, present INTEGER NOT NULL, row TEXT NOT NULL)
        STRICT, WITHOUT ROWID""",
    "CREATE TABLE webhook_progress (name TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID",
)

_REVIEWS: Final = (
    """CREATE TABLE reviews (batch_id TEXT NOT NULL, image INTEGER NOT NULL, verdict TEXT NOT NULL,
        rating INTEGER NOT NULL, PRIMARY KEY (batch_id, image)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX reviews_by_verdict ON reviews (verdict, batch_id DESC, image)",
)

_FACETS: Final = (
    """CREATE TABLE facets (batch_id TEXT PRIMARY KEY, user_key TEXT NOT NULL, character_key TEXT NOT NULL,
        workflow TEXT NOT NULL, label TEXT NOT NULL, medium TEXT NOT NULL, images INTEGER NOT NULL)
        STRICT, WITHOUT ROWID""",
    "CREATE INDEX facets_by_user ON facets (user_key, batch_id)",
    "CREATE INDEX facets_by_label ON facets (label, batch_id)",
    "CREATE INDEX images_unstored ON images (batch_id DESC, image, state) WHERE state <> 'stored'",
    "DROP INDEX IF EXISTS images_by_user",
    "DROP INDEX IF EXISTS images_kept",
    "DROP INDEX IF EXISTS images_forgetting",
)

_BOXES: Final = (
    """CREATE TABLE boxes (name TEXT PRIMARY KEY, present INTEGER NOT NULL, row TEXT NOT NULL)
        STRICT, WITHOUT ROWID""",
)

_BIRTH: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        stream TEXT NOT NULL, kind TEXT NOT NULL, schema INTEGER NOT NULL,
        at INTEGER NOT NULL, data TEXT NOT NULL, hash BLOB NOT NULL) STRICT""",
    "CREATE INDEX events_by_stream ON events (stream)",
    """CREATE TABLE events_by_user (user TEXT NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (user, position)) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    """CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    """CREATE TABLE blobs (digest TEXT PRIMARY KEY, salt BLOB NOT NULL, content BLOB NOT NULL,
        key TEXT NOT NULL DEFAULT '') STRICT""",
    "CREATE UNIQUE INDEX blobs_by_key ON blobs (key) WHERE key <> ''",
    """CREATE TABLE series (key TEXT PRIMARY KEY, next INTEGER NOT NULL, row TEXT NOT NULL)
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE names_given (name TEXT PRIMARY KEY, batch_id TEXT NOT NULL, image INTEGER NOT NULL)
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE requests (label TEXT NOT NULL, request_id TEXT NOT NULL, batch_id TEXT NOT NULL,
        row TEXT NOT NULL, PRIMARY KEY (label, request_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE batches (batch_id TEXT PRIMARY KEY, user_key TEXT NOT NULL, status TEXT NOT NULL,
        position INTEGER NOT NULL, row TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    "CREATE INDEX batches_by_user ON batches (user_key, batch_id)",
    "CREATE INDEX batches_open ON batches (batch_id) WHERE status IN ('open', 'held')",
    """CREATE TABLE prompts (batch_id TEXT NOT NULL, prompt INTEGER NOT NULL, state TEXT NOT NULL,
        row TEXT NOT NULL, PRIMARY KEY (batch_id, prompt)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX prompts_open ON prompts (batch_id) WHERE state <> 'done'",
    """CREATE TABLE images (batch_id TEXT NOT NULL, image INTEGER NOT NULL, prompt INTEGER NOT NULL,
        user_key TEXT NOT NULL, state TEXT NOT NULL, row TEXT NOT NULL,
        PRIMARY KEY (batch_id, image)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX images_by_user ON images (user_key, batch_id, image)",
    "CREATE INDEX images_kept ON images (batch_id) WHERE state = 'kept'",
    "CREATE TABLE lanes (name TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID",
)

_STATEMENTS: Final = {
    "0001_birth": _BIRTH,
    "0002_forgetting": _FORGETTING,
    "0003_inputs": _INPUTS,
    "0004_bound_late": _BOUND_LATE,
    "0005_backends": _BACKENDS,
    "0006_webhooks": _WEBHOOKS,
    "0007_reviews": _REVIEWS,
    "0008_facets": _FACETS,
    "0009_boxes": _BOXES,
}
"""By the names of the migrations. Their text never changes, because ledgers of older releases are compared with it."""
ALL: Final = frozenset(_STATEMENTS)
FORMER_INDEXES: Final = ("images_by_user", "images_kept", "images_forgetting")
"""Made by a migration and dropped by a later one."""

_PRAGMAS: Final = {
    "synchronous": 2,
    "foreign_keys": 1,
    "recursive_triggers": 1,
    "trusted_schema": 0,
    "journal_size_limit": JOURNAL_SIZE_LIMIT_BYTES,
    "mmap_size": 0,
    "secure_delete": 1,
}
"""synchronous=FULL: NORMAL lost acknowledged numbers in 620 of 1,636 measured crash images. recursive_triggers: without
them INSERT OR REPLACE gets past the triggers that keep events from being deleted. secure_delete: what is taken out of a
page is written over."""


def set_up(connection: sqlite3.Connection) -> None:
    """Set the write-ahead log and the settings that durability needs. Raises LedgerUnusable if SQLite refuses one."""
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerUnusable(f"SQLite cannot use a write-ahead log here (it says {mode!r}).", hint=_LOCAL_DISK)
    for name, wanted in _PRAGMAS.items():
        connection.execute(f"PRAGMA {name}={wanted}")
        row = connection.execute(f"PRAGMA {name}").fetchone()
        if name != "mmap_size" and (row is None or row[0] != wanted):
            raise LedgerUnusable(f"SQLite refused the setting {name}={wanted}.", hint=_LOCAL_DISK)


_LOCAL_DISK: Final = "Put the ledger on a local disk ([ledger] path)."


def check_owner(connection: sqlite3.Connection) -> None:
    """Raises LedgerUnusable for a file of another program, or of a newer version. An empty file is a new ledger."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not is_ours(connection) and not (is_empty and application_id == 0):
        raise LedgerUnusable("The file is an SQLite database of another program.", hint="Choose another [ledger] path.")
    if version > USER_VERSION:
        raise LedgerUnusable(
            f"The ledger was made by a newer comfyledger (tables {version}, this one knows {USER_VERSION}).",
            hint="Install that version again. If there was none, another program has changed the number: "
            f"`PRAGMA user_version={USER_VERSION}` in any SQLite tool sets it back.",
        )


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether a file is a ledger: by its application id, or by its tables, because a dump loses the id."""
    if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        return True
    here, first = schema_objects.stated(connection), expected(frozenset({"0001_birth"}))
    return all(place in here for place in first if place[0] == "table")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, after checking that no other program changed them.

    All in one transaction: an interrupted migration leaves nothing, and the next start runs it again. Raises
    LedgerUnusable.
    """
    db = sqlite_utils.Database(connection, execute_plugins=False)
    with db.atomic():
        trouble = schema_objects.trouble_of(examine(connection))
        if trouble is not None:
            raise trouble
        if migrations.pending(db):
            migrations.apply(db)
            set_meta(connection, "schema_digest", schema_digest(connection))
        _set_marks(connection)


def _set_marks(connection: sqlite3.Connection) -> None:
    """Set application id and version in the header of the file, if another program has changed them."""
    for name, wanted in (("application_id", APPLICATION_ID), ("user_version", USER_VERSION)):
        if connection.execute(f"PRAGMA {name}").fetchone()[0] != wanted:
            connection.execute(f"PRAGMA {name}={wanted}")


def examine(connection: sqlite3.Connection) -> schema_objects.Found:
    """What is missing or changed, and what other programs added, compared with the migrations that were applied."""
    return schema_objects.examine(connection, expected(_applied(connection)), expected(ALL))


def named_foreign(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The harmless objects that other programs added, in words."""
    return tuple(one.said for one in examine(connection).foreign)


def _applied(connection: sqlite3.Connection) -> frozenset[str]:
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (migrations.migrations_table,)).fetchone():
        sql = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
        return frozenset(name for (name,) in connection.execute(sql, (migrations.name,))) & ALL
    return frozenset()


@lru_cache
def expected(applied: frozenset[str]) -> dict[schema_objects.Place, schema_objects.Object]:
    """The objects in a file after these migrations, in the order of their creation."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        for name in sorted(applied):
            for statement in _STATEMENTS[name]:
                empty.execute(statement)
        return schema_objects.stated(empty)


def remake(connection: sqlite3.Connection) -> None:
    """Create missing and changed objects again, with empty tables, and complete the list of migrations.

    To be called in the transaction that fills the tables. Raises LedgerUnusable if the log cannot restore them.
    """
    for index in FORMER_INDEXES:
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    schema_objects.remake(connection, schema_objects.examine(connection, expected(ALL)), expected(ALL))
    db = sqlite_utils.Database(connection, execute_plugins=False)
    migrations.ensure_migrations_table(db)
    sql = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, datetime('now'))"
    connection.executemany(sql, [(migrations.name, one.name) for one in migrations.pending(db)])
    set_meta(connection, "schema_digest", schema_digest(connection))


def schema_digest(connection: sqlite3.Connection) -> str:
    """SHA-256 over all tables, indexes and triggers as they are in the file. Older releases compare it."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def get_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """None if the key or the table is missing. The check of the tables reports a missing table."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return row[0] if row else None


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
