"""The log in its table: appending lines, the end of the log, and pages of lines.

A page is read by index from a position on, so a cursor costs what it reads and no more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from comfyledger.ledger.eventlog import Head, Line

COLUMNS: Final = "e.position, e.stream, e.kind, e.schema, e.at, e.data, e.hash"
"""Those of `events e`, in the order of the fields of `Line`."""


def read_head(connection: sqlite3.Connection) -> Head:
    row = connection.execute("SELECT position, hash FROM events ORDER BY position DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head()


def append(connection: sqlite3.Connection, lines: Sequence[Line]) -> None:
    """Add lines that follow the head of the log."""
    connection.executemany(
        "INSERT INTO events (position, stream, kind, schema, at, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(x.position, x.stream, x.kind, x.schema, x.at_ms, x.data, x.hash) for x in lines],
    )
    connection.executemany(
        "INSERT INTO events_by_user (user, position) VALUES (?, ?)", [(x.user, x.position) for x in lines if x.user]
    )


def read_page(
    connection: sqlite3.Connection,
    *,
    after: int,
    limit: int,
    stream: str | None = None,
    user: str | None = None,
    upto: int | None = None,
) -> list[Line]:
    """The next lines after a position, of one stream or one user if so asked, oldest first.

    The lines know their user only if one was asked for: the log itself does not say it.
    """
    where, values = ["e.position > ?"], [after]
    source = "events e"
    parameters: list[str | int] = []
    if user is not None:
        source = "events_by_user u JOIN events e ON e.position = u.position"
        where = ["u.user = ?", "u.position > ?"]
        parameters.append(user)
    if stream is not None:
        where.append("e.stream = ?")
    parameters += values
    if stream is not None:
        parameters.append(stream)
    if upto is not None:
        where.append("e.position <= ?")
        parameters.append(upto)
    order, whose = ("u.position", "u.user") if user is not None else ("e.position", "''")
    sql = f"SELECT {COLUMNS}, {whose} FROM {source} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"  # noqa: S608
    return [Line(*row) for row in connection.execute(sql, (*parameters, limit))]
