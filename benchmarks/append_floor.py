"""The layers below an append, each measured alone: SQLite with the same rows, and decisions without a ledger.

SQLite gets every row ready-made, in the same tables, pragmas and groups, with one statement for each table and group.
It reads nothing, and no Python runs between.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.decide.decide import decide
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import KIND_OF, stream_of
from comfyledger.core.rows import Row, Slice
from comfyledger.ledger.eventlog import Head, Line, chained, encode
from comfyledger.ledger.sqlite.locking import hold
from comfyledger.ledger.sqlite.opening import connect
from comfyledger.ledger.sqlite.projections import stored

TABLES: Final[dict[str, str]] = {
    "events": "stream",
    "events_by_user": "(SELECT stream FROM events e WHERE e.position = events_by_user.position)",
    "names_given": "batch_id",
    "requests": "batch_id",
    "batches": "batch_id",
    "prompts": "batch_id",
    "images": "batch_id",
    "template_uses": "batch_id",
    "facets": "batch_id",
    "blobs": "digest",
}
"""The tables to which a submit adds a row, each with what names the batch: of a text, the prompt that has its digest.
A submit also changes the row of its series; the graph is there already."""
SERIES: Final = 50
"""As many series take turns. In a group the row of each is written once."""

Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(ledger: Path, callers: int) -> list[Rows]:
    """The rows of a ledger's batches, in the order in which they came. A group has those of `callers` batches."""
    with closing(sqlite3.connect(ledger)) as connection:
        order = [batch_id for (batch_id,) in connection.execute("SELECT batch_id FROM batches ORDER BY position")]
        place = {batch_id: number // callers for number, batch_id in enumerate(order)}
        groups: list[Rows] = [{table: [] for table in TABLES} for _ in range(max(place.values()) + 1)]
        of_text = dict(connection.execute("SELECT row ->> '$.inputs', batch_id FROM prompts"))
        for table, whose in TABLES.items():
            for name, *row in connection.execute(f"SELECT {whose}, * FROM {table}"):  # noqa: S608
                batch_id = of_text.get(name, name)
                if batch_id in place:
                    groups[place[batch_id]][table].append(tuple(row))
        return groups


def submits_per_second(folder: Path, groups: list[Rows]) -> float:
    """Submits a second, in these groups."""
    with _opened(folder) as connection:
        inserts = dict(_inserts(connection))
        series = (
            "INSERT INTO series (key, next, row) VALUES (?, 1, '{}') ON CONFLICT (key) DO UPDATE SET next = next + 1"
        )
        start = time.perf_counter()
        for group in groups:
            connection.execute("BEGIN IMMEDIATE")
            for table, sql in inserts.items():
                connection.executemany(sql, group[table])
            used = min(SERIES, len(group["batches"]))
            connection.executemany(series, [(f"series {number}",) for number in range(used)])
            connection.execute("COMMIT")
        took = time.perf_counter() - start
    return sum(len(group["batches"]) for group in groups) / took


def decided_per_second(submits: Sequence[SubmitBatch]) -> float:
    """Submits decided, folded, encoded and chained in memory. Nothing is looked up and nothing is written."""
    rows: dict[str, Row] = {}
    head, start = Head(), time.perf_counter()
    for command in submits:
        state = Slice(rows.values())
        decision = decide(state, command, 1_700_000_000_000, head.position, Policy())
        for recorded in decision.recorded:
            event = recorded.event
            line = Line(
                recorded.position, stream_of(event), KIND_OF[type(event)], 1, recorded.at_ms, encode(event), b""
            )
            head = Head(line.position, chained(head.hash, line))
        for row in state.changed.values():
            stored(row)
        known = (state.series(series.key) for series in command.series)
        rows = {row.key: row for row in known if row is not None}
    return len(submits) / (time.perf_counter() - start)


def changes_per_second(folder: Path, changes: int) -> float:
    """Events a second. Each changes its batch, and is durable before the next."""
    row = "x" * 500
    with _opened(folder) as connection:
        connection.execute("INSERT INTO batches VALUES ('batch', 'areg', 'open', 1, ?)", (row,))
        start = time.perf_counter()
        for number in range(1, changes + 1):
            event = (number, "batch", "batch_held", 1, 1_700_000_000_000, '{"batch_id":"batch"}', b"h" * 32)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", event)
            connection.execute("INSERT INTO events_by_user VALUES ('areg', ?)", (number,))
            connection.execute("UPDATE batches SET status = 'held', row = ? WHERE batch_id = 'batch'", (row,))
            connection.execute("COMMIT")
        return changes / (time.perf_counter() - start)


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """A new ledger, as the daemon opens it."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        closing(hold(Path(place) / "ledger.db")) as held,
        closing(connect(held)) as connection,
    ):
        yield connection


def _inserts(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table in TABLES:
        columns = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
        yield table, f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"  # noqa: S608
