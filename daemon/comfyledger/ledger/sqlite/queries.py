"""Queries on a read-only connection: pages of past events, and what a name or a prompt id belongs to.

A page reads a limited number of rows along an index. So a filter that few lines fit costs several short reads instead
of a long one.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Final

import msgspec

from comfyledger.core.rows import PromptRow, SeriesRow
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import LogLines, LogWanted, Turns
from comfyledger.ledger.sqlite import projections
from comfyledger.ledger.sqlite.log_table import COLUMNS, read_head

ROWS_MAX: Final = 5_000
"""How many rows one page examines, whether they fit or not."""
PAGE_BYTES_MAX: Final = 512 * 1024
"""The size of a page; a larger line is a page by itself."""
CLOCK_SET_BACK_MS: Final = 3_600_000
"""By how much a clock may have been set back, so that a page by time still misses nothing. Otherwise times rise with
the positions. The range of positions is wider by this on both sides, and then each line's own time decides."""
CANDIDATES_MAX: Final = 20
WAITING_COUNT_MAX: Final = 10_000
OF_LABEL: Final = "batch_id IN (SELECT batch_id FROM requests WHERE label = ?)"
"""The batches of a label: every batch has the request that asked for it. Costs what this label has, not all."""
EVERY_SERIES: Final = (
    "CASE WHEN coalesce(json_array_length(batches.row, '$.outputs'), 0) = 0 THEN json_array(batches.row ->> '$.series')"
    " ELSE (SELECT json_group_array(value ->> '$.series') FROM json_each(batches.row, '$.outputs')) END"
)
"""The series of a batch, as a JSON list. Rows of one output of images name no outputs."""


def log_lines(connection: sqlite3.Connection, wanted: LogWanted) -> LogLines:
    """The next lines of the log that fit, oldest first, or newest first with `reverse`."""
    low, high = _range(connection, wanted)
    last = low + 1 if wanted.reverse else max(low, high)
    takes = _filter(connection, wanted)
    lines: list[Line] = []
    room = PAGE_BYTES_MAX
    with closing(connection.execute(*log_query(wanted, low, high))) as rows:  # left open it would hold the log
        for looked, row in enumerate(rows, 1):
            line = Line(*row)
            if takes(line):
                lines.append(line)
                room -= len(line.data)
            if len(lines) == wanted.limit or room <= 0 or looked == ROWS_MAX:
                return LogLines(lines, line.position, line.position != last)
    return LogLines(lines, last, False)


def log_query(wanted: LogWanted, low: int, high: int) -> tuple[str, tuple[str | int, ...]]:
    """The statement for the lines of one stream, of one user, or all, along the narrowest index; and its values."""
    order = "DESC" if wanted.reverse else "ASC"
    if wanted.stream is not None:
        source, key, place = "events e INDEXED BY events_by_stream", "e.stream = ? AND", "e.position"
    elif wanted.user is not None:
        source, key = "events_by_user u CROSS JOIN events e ON e.position = u.position", "u.user = ? AND"
        place = "u.position"
    else:
        source, key, place = "events e", "", "e.position"
    whose = [value for value in (wanted.stream, wanted.user) if value is not None][:1]
    sql = f"SELECT {COLUMNS} FROM {source} WHERE {key} {place} > ? AND {place} <= ? ORDER BY {place} {order}"  # noqa: S608
    return sql, (*whose, low, high)


def _range(connection: sqlite3.Connection, wanted: LogWanted) -> tuple[int, int]:
    """The range that has all lines that can fit: positions above the first and up to the second."""
    head = read_head(connection).position
    low, high = wanted.after, head if wanted.upto is None else min(wanted.upto, head)
    if wanted.since_ms is not None:
        low = _first_at(connection, wanted.since_ms - CLOCK_SET_BACK_MS, low, high) - 1
    if wanted.until_ms is not None:
        high = _first_at(connection, wanted.until_ms + CLOCK_SET_BACK_MS + 1, low, high) - 1
    return low, high


def _first_at(connection: sqlite3.Connection, at_ms: int, low: int, high: int) -> int:
    """Find by bisection a position in (low, high] whose time is not before `at_ms`, unlike that of the one before."""

    def at(position: int) -> int:
        found: int = connection.execute("SELECT at FROM events WHERE position = ?", (position,)).fetchone()[0]
        return found

    return low + 1 + bisect_left(range(low + 1, high + 1), at_ms, key=at)


def _filter(connection: sqlite3.Connection, wanted: LogWanted) -> Callable[[Line], bool]:
    """Checks what the index does not: kind, time, user, series and label. Each batch is read once."""
    sql = f"SELECT user_key, {EVERY_SERIES}, row ->> '$.label' FROM batches WHERE batch_id = ?"  # noqa: S608
    owner = cache(lambda stream: connection.execute(sql, (stream,)).fetchone() or ("", "[]", ""))

    def takes(line: Line) -> bool:
        return (
            (wanted.kinds is None or line.kind in wanted.kinds)
            and (wanted.since_ms is None or line.at_ms >= wanted.since_ms)
            and (wanted.until_ms is None or line.at_ms <= wanted.until_ms)
            and (wanted.user is None or wanted.stream is None or owner(line.stream)[0] == wanted.user)
            and (wanted.series is None or not wanted.series.isdisjoint(msgspec.json.decode(owner(line.stream)[1])))
            and (wanted.label is None or owner(line.stream)[2] == wanted.label)
        )

    return takes


# ---- what a name, series or prompt id belongs to


def name_place(connection: sqlite3.Connection, key: str) -> tuple[str, int] | None:
    """See `ports.Reader.name_place`."""
    found: tuple[str, int] | None
    found = connection.execute("SELECT batch_id, image FROM names_given WHERE name = ?", (key,)).fetchone()
    return found


def series_row(connection: sqlite3.Connection, key: str) -> SeriesRow | None:
    row = connection.execute("SELECT row FROM series WHERE key = ?", (key,)).fetchone()
    return msgspec.json.decode(row[0], type=SeriesRow) if row else None


def series_ending(connection: sqlite3.Connection, end: str, label: str | None = None) -> list[SeriesRow]:
    """At most CANDIDATES_MAX series whose keys end so. Reads every series: one for each user and character."""
    sql = (
        "SELECT row FROM series WHERE substr(key, -length(?1)) = ?1 AND (?2 IS NULL OR key IN"  # noqa: S608
        " (SELECT j.value FROM requests r JOIN batches ON batches.batch_id = r.batch_id,"
        f" json_each({EVERY_SERIES}) j WHERE r.label = ?2))"
        " LIMIT ?3"
    )
    rows = connection.execute(sql, (end, label, CANDIDATES_MAX))
    return [msgspec.json.decode(raw, type=SeriesRow) for (raw,) in rows]


def prompt_place(connection: sqlite3.Connection, prompt_id: str, after: int, upto: int) -> tuple[str, int] | None:
    """See `ports.Reader.prompt_place`. There is no index of these ids, so every line of the range is read."""
    sql = (
        "SELECT stream, data ->> '$.prompt' FROM events WHERE position > ? AND position <= ?"
        " AND kind = 'prompt_submitting' AND data ->> '$.prompt_id' = ? LIMIT 1"
    )
    found: tuple[str, int] | None = connection.execute(sql, (after, upto, prompt_id)).fetchone()
    return found


def prompts(connection: sqlite3.Connection, batch_id: str) -> list[PromptRow]:
    sql = "SELECT row FROM prompts WHERE batch_id = ? ORDER BY prompt"
    return [projections.decode_prompt(raw) for (raw,) in connection.execute(sql, (batch_id,))]


def turns(connection: sqlite3.Connection, batch_id: str, label: str | None = None) -> Turns:
    """See `ports.Reader.turns`. Other batches are counted up to WAITING_COUNT_MAX."""
    own = connection.execute(
        "SELECT count(*) FROM prompts INDEXED BY prompts_open"
        " WHERE batch_id = ? AND state <> 'done' AND state <> 'strays'",
        (batch_id,),
    )
    others = (
        "SELECT count(*) FROM (SELECT 1 FROM batches INDEXED BY batches_open"
        " WHERE status IN ('open', 'held') AND batch_id <> ?1 AND (?2 IS NULL OR row ->> '$.label' = ?2) LIMIT ?3)"
    )
    count = connection.execute(others, (batch_id, label, WAITING_COUNT_MAX)).fetchone()[0]
    return Turns(own.fetchone()[0], count)
