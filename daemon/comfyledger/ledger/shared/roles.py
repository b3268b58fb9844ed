"""What the role of a box may do in the database, if another role owns the tables: append, and never change the log.

An owner can switch triggers off. So a box whose role owns nothing cannot rewrite history, whatever happens to it.
"""

from __future__ import annotations

from typing import Final

import msgspec
from psycopg import sql

from comfyledger.ledger.shared.connection import Connection

GRANTS: Final = {
    "fleet": ("SELECT",),
    "head": ("SELECT", "UPDATE"),
    "events": ("SELECT", "INSERT"),
    "names_given": ("SELECT", "INSERT"),
    "blobs": ("SELECT", "INSERT", "DELETE"),
    "blob_keys": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "wrapping_keys": ("SELECT", "INSERT", "UPDATE"),
    "box_keys": ("SELECT", "INSERT", "UPDATE"),
    "boxes": ("SELECT", "INSERT", "UPDATE"),
    "webhook_progress": ("SELECT", "INSERT", "UPDATE"),
    "door_files": ("SELECT", "UPDATE"),
    "deliverer": ("SELECT", "INSERT", "UPDATE"),
}
"""By table."""
_MAY: Final = "SELECT has_table_privilege(%s, %s)"
_ROLE: Final = """
SELECT current_user, rolsuper, pg_has_role(current_user, relowner, 'USAGE'), has_table_privilege('events', 'UPDATE')
    OR has_table_privilege('events', 'DELETE') OR has_table_privilege('events', 'TRUNCATE')
FROM pg_roles, pg_class WHERE rolname = current_user AND pg_class.oid = to_regclass('events')"""


class Role(msgspec.Struct, frozen=True):
    """`owns`: it may switch the triggers of the log off. `changes`: it may change lines of the log. `lacks`: what a box
    needs and this role may not do, "TABLE: PRIVILEGE".
    """

    name: str
    is_superuser: bool
    owns: bool
    changes: bool
    lacks: tuple[str, ...]

    @property
    def can_rewrite(self) -> bool:
        return self.is_superuser or self.owns or self.changes


def role_of(connection: Connection) -> Role | None:
    """The role of a connection; None without a fleet. Raises psycopg.Error."""
    row = connection.execute(_ROLE).fetchone()
    if row is None:
        return None
    wanted = [(table, one) for table, privileges in GRANTS.items() for one in privileges]
    lacks = tuple(f"{table}: {one}" for table, one in wanted if not _may(connection, table, one))
    name, is_superuser, owns, changes = row
    return Role(name, is_superuser, owns, changes, lacks)


def _may(connection: Connection, table: str, privilege: str) -> bool:
    row = connection.execute(_MAY, (table, privilege)).fetchone()
    return bool(row and row[0])


def grant(connection: Connection, role: str) -> None:
    """Let a role do what a box needs, and nothing else. Raises psycopg.Error, for a role that does not exist too."""
    for table, privileges in GRANTS.items():
        words = sql.SQL(", ").join(map(sql.SQL, privileges))
        connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(words, sql.Identifier(table), sql.Identifier(role)))
