"""Pages of what is past, by index; and whose a name, a number or a prompt id is."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.commands import CancelBatch, HoldBatch, PauseLane
from comfyledger.core.events import LanePaused, LaneResumed, PromptSubmitting, Recorded
from comfyledger.core.values import prompt_uuid
from comfyledger.ledger.eventlog import lines_of
from comfyledger.ledger.ports import LogWanted
from comfyledger.ledger.sqlite import queries
from comfyledger.ledger.sqlite.log_table import append, read_head
from comfyledger.ledger.sqlite.queries import CLOCK_SET_BACK_MS
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import NOW_MS, log_of, raw, submission, take

SERIES = "areg/premade_characters/opal-fever/images/areg_opal-fever_image_"


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


def chosen(path: Path, wanted: LogWanted) -> list[int]:
    """The positions that fit, by looking at each line of the log; batches are known by their names."""
    owners = {"batch-app-r1": "areg", "batch-app-r2": "ann", "batch-app-r3": "areg"}
    fitting = [
        line.position
        for line in log_of(path)
        if wanted.after < line.position <= (wanted.upto or 10**9)
        and wanted.stream in {None, line.stream}
        and wanted.user in {None, owners.get(line.stream)}
        and (wanted.kinds is None or line.kind in wanted.kinds)
        and (wanted.series is None or line.stream == "batch-app-r1")
    ]
    return fitting[::-1] if wanted.reverse else fitting


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"after": 3},
        {"upto": 4},
        {"after": 2, "upto": 5},
        {"after": 99},
        {"stream": "batch-app-r1"},
        {"stream": "lane/store/x"},
        {"user": "areg"},
        {"user": "areg", "after": 3, "upto": 6},
        {"user": "ann", "stream": "batch-app-r1"},
        {"user": "areg", "stream": "batch-app-r1"},
        {"user": "areg", "series": frozenset({SERIES})},
        {"kinds": frozenset({"batch_requested", "batch_held"})},
        {"user": "areg", "kinds": frozenset({"batch_requested"})},
        {"user": "nobody"},
    ],
)
async def test_pages_hold_what_fits_and_follow_each_other_without_gap_or_double(
    ledger: Ledger, reader: Reader, path: Path, filters: dict[str, Any], reverse: bool
) -> None:
    some_batches(ledger)
    for limit in (1, 2, 99):
        wanted = LogWanted(**filters, reverse=reverse, limit=limit)
        found: list[int] = []
        while True:
            page = await reader.log_lines(wanted)
            assert len(page.lines) <= limit
            found += [line.position for line in page.lines]
            if not page.more:
                break
            onward = {"upto": page.position - 1} if reverse else {"after": page.position}
            wanted = LogWanted(**(filters | onward), reverse=reverse, limit=limit)
        assert found == chosen(path, LogWanted(**filters, reverse=reverse))


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


# ---- whose it is


async def test_a_series_is_found_by_the_end_of_its_name_alone(ledger: Ledger, reader: Reader) -> None:
    some_batches(ledger)
    assert [row.key for row in await reader.series_ending("/areg_opal-fever_image_")] == [SERIES]
    assert await reader.series_ending("areg%") == []
    assert await reader.series_ending("/areg_opal_fever_image_") == [], "`_` stands for itself alone"
    row = await reader.series(SERIES)
    assert row is not None
    assert row.next == 4
    assert await reader.series("x") is None
    assert await reader.name_place(f"{SERIES}2") == ("batch-app-r1", 2)
    assert await reader.name_place(f"{SERIES}9") is None


async def test_a_prompt_is_found_by_the_id_of_any_of_its_attempts(
    ledger: Ledger, connection: sqlite3.Connection, reader: Reader
) -> None:
    some_batches(ledger)
    head, ids = read_head(connection), [prompt_uuid("batch-app-r2", 2, attempt) for attempt in (1, 2)]
    events = [PromptSubmitting("batch-app-r2", 2, attempt, ids[attempt - 1], "main") for attempt in (1, 2)]
    recorded = [Recorded(head.position + place, NOW_MS, event) for place, event in enumerate(events, 1)]
    resumed = Recorded(head.position + 3, NOW_MS, LaneResumed("store/x", "person"))
    append(connection, lines_of(head, [*recorded, resumed], {}))
    for one in ids:
        assert await reader.prompt_place(one, 0, head.position + 3) == ("batch-app-r2", 2)
    assert await reader.prompt_place(ids[0], head.position + 1, head.position + 3) is None
    assert await reader.prompt_place(ids[1], 0, head.position + 1) is None


async def test_those_who_take_turns_are_counted(ledger: Ledger, reader: Reader) -> None:
    some_batches(ledger)
    assert await reader.turns("batch-app-r2") == queries.Turns(own=2, batches=1)
    assert await reader.turns("batch-app-r3") == queries.Turns(own=3, batches=1)
    assert [row.index for row in await reader.prompts("batch-app-r2")] == [1, 2]
