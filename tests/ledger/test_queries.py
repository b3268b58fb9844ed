"""Pages of past events in SQLite: by index, in bounded steps. What they hold is tested in `contract/`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.commands import CancelBatch, HoldBatch, PauseLane
from comfyledger.core.events import LanePaused, Recorded
from comfyledger.ledger.eventlog import lines_of
from comfyledger.ledger.ports import LogWanted
from comfyledger.ledger.sqlite import queries
from comfyledger.ledger.sqlite.log_table import append, read_head
from comfyledger.ledger.sqlite.queries import CLOCK_SET_BACK_MS
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import NOW_MS, raw, submission, take


@pytest.fixture
async def reader(ledger: Ledger, path: Path) -> AsyncIterator[Reader]:
    opened = Reader(path)
    yield opened
    await opened.close()


@pytest.fixture
def connection(ledger: Ledger, path: Path) -> Iterator[sqlite3.Connection]:
    opened = raw(path)
    yield opened
    opened.close()


def some_batches(ledger: Ledger) -> None:
    take(ledger, submission("r1"), submission("r2", user="Ann", quantity=2), submission("r3", character="Fox"))
    take(ledger, CancelBatch("app", "batch-app-r1"), HoldBatch("app", "batch-app-r3"), PauseLane("app", "store/x"))


def at_times(connection: sqlite3.Connection, times: list[int]) -> None:
    """Events at these times, after what there is."""
    head = read_head(connection)
    events = [
        Recorded(head.position + place, at, LanePaused("store/x", "person", "person"))
        for place, at in enumerate(times, 1)
    ]
    append(connection, lines_of(head, events, {}))


async def test_a_filter_that_lets_little_pass_is_answered_in_bounded_steps(
    ledger: Ledger, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_batches(ledger)
    monkeypatch.setattr(queries, "ROWS_MAX", 2)
    page = await reader.log_lines(LogWanted(kinds=frozenset({"lane_paused"})))
    assert (page.lines, page.position, page.more) == ([], 2, True)


async def test_a_page_ends_when_it_is_large(ledger: Ledger, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    some_batches(ledger)
    monkeypatch.setattr(queries, "PAGE_BYTES_MAX", 1)
    page = await reader.log_lines(LogWanted())
    assert ([line.position for line in page.lines], page.more) == ([1], True)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"stream": "batch-app-r1"}, "events_by_stream (stream=? AND rowid>? AND rowid<?)"),
        ({"user": "areg"}, "PRIMARY KEY (user=? AND position>? AND position<?)"),
        ({}, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_no_page_is_found_by_going_through_the_log(
    connection: sqlite3.Connection, filters: dict[str, Any], index: str, reverse: bool
) -> None:
    sql, values = queries.log_query(LogWanted(**filters, reverse=reverse), 10, 20)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert index in plan[0]
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan)


async def test_a_page_by_time_is_complete_although_the_clock_was_set_back(
    connection: sqlite3.Connection, reader: Reader
) -> None:
    """Half an hour back in the middle, and once more: the same times come again, and all of them are found."""
    half, start = CLOCK_SET_BACK_MS // 2, NOW_MS
    times = [start + place * 60_000 for place in range(300)]
    times += [times[-1] - half + place * 60_000 for place in range(300)]
    times += [times[-1] - half + place * 60_000 for place in range(300)]
    at_times(connection, times)
    for since in (None, start - 1, start + 240 * 60_000, start + 290 * 60_000, times[-1], times[-1] + 1):
        for until in (None, start - 1, start, start + 280 * 60_000, times[-1]):
            wanted = LogWanted(since_ms=since, until_ms=until, limit=2_000)
            low, high = since if since is not None else 0, until if until is not None else 10**15
            found = [line.position for line in (await reader.log_lines(wanted)).lines]
            assert found == [place for place, at in enumerate(times, 1) if low <= at <= high]


def test_a_time_is_found_without_looking_at_every_line(connection: sqlite3.Connection) -> None:
    at_times(connection, [NOW_MS + place * CLOCK_SET_BACK_MS for place in range(1_000)])
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    since = NOW_MS + 900 * CLOCK_SET_BACK_MS
    page = queries.log_lines(connection, LogWanted(since_ms=since, until_ms=since))
    connection.set_trace_callback(None)
    assert [line.position for line in page.lines] == [901]
    assert len(statements) < 30


async def test_a_page_beside_the_writer_leaves_no_transaction_open(ledger: Ledger, reader: Reader, path: Path) -> None:
    some_batches(ledger)
    await reader.log_lines(LogWanted(limit=1))
    busy, _, _ = ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
