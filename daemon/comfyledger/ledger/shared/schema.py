"""The tables of the shared log in PostgreSQL.

`head` has one row. Whoever locks it may append; so positions have no gaps, and a position is the order of the commits.
`events` only grows: triggers refuse everything else. `names_given` is the second lock on the promise that no name is
given twice; each replica has the first.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import GENESIS
from comfyledger.ledger.shared import deliverer, door_files, keys, texts
from comfyledger.ledger.shared.connection import Connection

VERSION: Final = 1
"""Of the tables. A database with a newer one is refused."""
SERVER_VERSION_MIN: Final = 150_000
"""PostgreSQL 15, as `server_version` of libpq says it."""

_TABLES: Final = """
CREATE TABLE fleet (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    ledger_id text NOT NULL,
    epoch text NOT NULL
);
CREATE TABLE head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL,
    hash bytea NOT NULL,
    generation integer NOT NULL DEFAULT 1
);
CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream text NOT NULL,
    kind text NOT NULL,
    schema integer NOT NULL,
    at bigint NOT NULL,
    data text NOT NULL,
    hash bytea NOT NULL
);
CREATE INDEX events_of_boxes ON events (position) WHERE stream LIKE 'box/%';
CREATE TABLE names_given (name text COLLATE "C" PRIMARY KEY);
CREATE TABLE webhook_progress (name text PRIMARY KEY, row text NOT NULL);
CREATE TABLE boxes (
    name text PRIMARY KEY,
    url text NOT NULL DEFAULT '',
    about text NOT NULL DEFAULT '{}',
    position bigint NOT NULL DEFAULT 0,
    beat bigint NOT NULL DEFAULT 0,
    seen timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION events_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only';
END $$;
CREATE TRIGGER events_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_only_grow();
"""
_FLEET: Final = "SELECT version, ledger_id, epoch FROM fleet"
_HAS_FLEET: Final = "SELECT to_regclass('fleet') IS NOT NULL AND to_regclass('head') IS NOT NULL"


class Identity(msgspec.Struct, frozen=True):
    """Which ledger the fleet has: what `meta` of each replica says. The ledger's secret is among the texts."""

    ledger_id: str
    epoch: str


def has_fleet(connection: Connection) -> bool:
    """Whether the database holds a fleet. Raises psycopg.Error."""
    found = connection.execute(_HAS_FLEET).fetchone()
    return bool(found and found[0])


def create(connection: Connection, identity: Identity) -> None:
    """Make the tables, for an empty log. To be called in a transaction. Raises psycopg.Error, LedgerUnusable."""
    check_server(connection)
    for tables in (_TABLES, texts.TABLES, keys.TABLES, door_files.TABLES, deliverer.TABLES):
        connection.execute(tables)
    door_files.fill(connection)
    connection.execute(
        "INSERT INTO fleet (version, ledger_id, epoch) VALUES (%s, %s, %s)",
        (VERSION, identity.ledger_id, identity.epoch),
    )
    connection.execute("INSERT INTO head (position, hash) VALUES (0, %s)", (GENESIS,))


def read_identity(connection: Connection) -> Identity:
    """Raises LedgerUnusable for tables of a newer version or a database without a fleet, psycopg.Error."""
    found = connection.execute(_FLEET).fetchone()
    if found is None:
        raise LedgerUnusable("The database holds no fleet.", hint="Run `comfyledger fleet init` once.")
    version, *named = found
    if version > VERSION:
        text = f"The shared log was made by a newer comfyledger (tables {version}, this one knows {VERSION})."
        raise LedgerUnusable(text, hint="Install that version here too.")
    return Identity(*named)


def check_same(there: Identity, own: Identity) -> None:
    """Raises LedgerUnusable if the database holds another fleet than a replica, or the same one begun again."""
    if there.ledger_id != own.ledger_id:
        hint = "Correct [ledger] shared, or choose another --state-dir."
        raise LedgerUnusable("The replica belongs to another fleet.", hint=hint)
    if there.epoch != own.epoch:
        text = f"The fleet was begun again from a backup: its epoch is {there.epoch}, this box has {own.epoch}."
        hint = "`comfyledger fleet join --anew` makes this box's replica again; --key-file brings the new key."
        raise LedgerUnusable(text, hint=hint)


def check_server(connection: Connection) -> None:
    """Raises LedgerUnusable for a server that is too old, or that does not keep what it has acknowledged."""
    if connection.info.server_version < SERVER_VERSION_MIN:
        found = connection.info.parameter_status("server_version")
        raise LedgerUnusable(f"PostgreSQL {found} is too old.", hint="A fleet needs PostgreSQL 15 or later.")
    for name, why in _NEEDED.items():
        value = connection.execute(f"SHOW {name}").fetchone()
        if value is not None and value[0] == "off":
            raise LedgerUnusable(f"PostgreSQL has {name}=off, so {why}.", hint=f"Set {name} = on in postgresql.conf.")


# `synchronous_commit` is set to `on` by each connection.
_NEEDED: Final = {
    "fsync": "it loses acknowledged events with its machine",
    "full_page_writes": "a crash of its machine may leave torn pages",
}
