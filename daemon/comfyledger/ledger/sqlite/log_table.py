"""The log in its table: appending lines, the end of the log, pages of lines, and reading all of it for a check.

A page is read by index from a position on, so a cursor costs what it reads and no more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from comfyledger.ledger import log_reader
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.ledger.log_reader import Link, LogEnd, LogUnreadable

COLUMNS: Final = "e.position, e.stream, e.kind, e.schema, e.at, e.data, e.hash"
"""Those of `events e`, in the order of the fields of `Line`."""
_HEAD: Final = "SELECT position, hash FROM events ORDER BY position DESC LIMIT 1"
_HEAD_AT: Final = "SELECT position, hash FROM events WHERE position = ?"
_GIVEN: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
_LINKS: Final = (
    "SELECT position, stream, kind, schema, at, data, hash FROM events"
    " WHERE position > ? AND position <= ? ORDER BY position"
)


def read_head(connection: sqlite3.Connection) -> Head:
    """The last event; position 0 for an empty log. Raises sqlite3.Error."""
    row = connection.execute(_HEAD).fetchone()
    return Head(*row) if row else Head()


def append(connection: sqlite3.Connection, lines: Sequence[Line]) -> None:
    """Add lines, which must follow the head of the log. Raises sqlite3.Error."""
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
    """The next lines after a position, oldest first, of one stream or one user if given. Raises sqlite3.Error.

    `Line.user` is set only if a user was given, because the table itself does not have it.
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


class LogTable(log_reader.LogReader):
    """The log of an open connection, which may be read-only. It must not be used by two threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def end(self) -> LogEnd:
        with _unreadable(), one_moment(self._connection):
            given = self._connection.execute(_GIVEN).fetchone()
            return LogEnd(read_head(self._connection), given[0] if given else 0)

    def head_at(self, position: int) -> Head | None:
        if position == 0:
            return Head()
        with _unreadable():
            row = self._connection.execute(_HEAD_AT, (position,)).fetchone()
        return Head(*row) if row else None

    def page(self, *, after: int, limit: int, upto: int | None = None) -> list[Line]:
        with _unreadable():
            try:
                return read_page(self._connection, after=after, limit=limit, upto=upto)
            except sqlite3.OperationalError as error:
                if "UTF-8" not in str(error):
                    raise
            self._connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
            try:
                return read_page(self._connection, after=after, limit=limit, upto=upto)
            finally:
                self._connection.text_factory = str

    def links(self, *, after: int, upto: int) -> Iterator[Link]:
        self._connection.text_factory = bytes
        try:
            with _unreadable():
                yield from self._connection.execute(_LINKS, (after, upto))
        finally:
            self._connection.text_factory = str


@contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """One read transaction. Keep it short: the write-ahead log cannot be checkpointed meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def _unreadable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnreadable(str(error)) from error
