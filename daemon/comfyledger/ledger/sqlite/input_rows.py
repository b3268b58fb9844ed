"""Queries for inputs on a read-only connection: those of a label, those that are kept, and those that nothing needs.

Each reads along an index. A list for a label reads what that label has, so its time does not show what others have.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from comfyledger.core.inputs import InputRow
from comfyledger.ledger.ports import InputFilter
from comfyledger.ledger.sqlite import projections

IDLE_PAGE: Final = 2_000
"""How many kept inputs one read examines, whether something needs them or not."""
LATEST_MS: Final = 2**63 - 1

Idle = tuple[int, InputRow]
"""When an input was needed last, and the input."""

_OF_LABEL: Final = (
    " i.row, l.label, l.added_ms, l.has FROM input_labels l CROSS JOIN inputs i ON i.sha256 = l.sha256"
    " WHERE l.label = ?1"
)
_PAGE: Final = (
    " AND ({0}.added_ms < ?2 OR {0}.added_ms = ?2 AND {0}.sha256 > ?3) ORDER BY {0}.added_ms DESC, {0}.sha256 LIMIT ?4"
)
_OWN_THESE: Final = "SELECT" + _OF_LABEL + " AND l.sha256 IN (SELECT value FROM json_each(?2))"  # noqa: S608
_OWN_PAGE: Final = "SELECT" + _OF_LABEL + " AND l.has" + _PAGE.format("l")
_THESE: Final = "SELECT i.row FROM json_each(?) j JOIN inputs i ON i.sha256 = j.value"
_ALL_PAGE: Final = "SELECT i.row FROM inputs i WHERE i.is_usable" + _PAGE.format("i")  # noqa: S608
_KEPT: Final = "SELECT row FROM inputs WHERE here <> '' AND sha256 > ? ORDER BY sha256 LIMIT ?"
_IDLE: Final = (
    "SELECT i.sha256, i.is_usable AND NOT EXISTS"
    " (SELECT 1 FROM input_uses u WHERE u.sha256 = i.sha256 AND u.ended_ms = 0),"
    " max(i.added_ms, coalesce((SELECT max(u.ended_ms) FROM input_uses u WHERE u.sha256 = i.sha256), 0)), i.row"
    " FROM inputs i WHERE i.here <> '' AND i.sha256 > ? ORDER BY i.sha256 LIMIT ?"
)
_ENDING: Final = (
    "SELECT i.row FROM inputs i WHERE i.is_ending AND NOT EXISTS"
    " (SELECT 1 FROM input_uses u WHERE u.sha256 = i.sha256 AND u.ended_ms = 0) ORDER BY i.sha256 LIMIT ?"
)


def _rows(found: Iterable[tuple[Any, ...]]) -> list[InputRow]:
    return [projections.decode_input(raw) for raw, *_ in found]


def _own(found: Iterable[tuple[Any, ...]]) -> list[InputRow]:
    return [_seen(projections.decode_input(raw), *own) for raw, *own in found]


def _seen(row: InputRow, label: str, added_ms: int, has: int) -> InputRow:
    """As if no other label had the same bytes, nor had them sent anywhere."""
    own = replace(row, labels=(label,), labels_before=(), copies=(), added_ms=added_ms)
    own = replace(own, extension=row.extension_for(label), also_named={})
    return own if has else replace(own, labels=(), labels_before=(label,), here="")


def one(connection: sqlite3.Connection, sha256: str, label: str | None = None) -> InputRow | None:
    return next(iter(these(connection, (sha256,), label)), None)


def these(connection: sqlite3.Connection, sha256s: Sequence[str], label: str | None = None) -> list[InputRow]:
    named = msgspec.json.encode(sha256s).decode()
    if label is not None:
        return _own(connection.execute(_OWN_THESE, (label, named)))
    return _rows(connection.execute(_THESE, (named,)))


def usable(connection: sqlite3.Connection, wanted: InputFilter) -> list[InputRow]:
    """A page of the inputs that may be used, newest first."""
    values = (wanted.label, *(wanted.before or (LATEST_MS, "")), wanted.limit)
    if wanted.label is None:
        return _rows(connection.execute(_ALL_PAGE, values))
    return _own(connection.execute(_OWN_PAGE, values))


def kept(connection: sqlite3.Connection, after: str, limit: int) -> list[InputRow]:
    return _rows(connection.execute(_KEPT, (after, limit)))


def copies_at(connection: sqlite3.Connection, backend: str) -> dict[str, int]:
    sql = (
        "SELECT i.sha256, count(*) FROM inputs i, json_each(i.row, '$.copies') c"
        " WHERE c.value ->> '$.backend' = ? AND c.value ->> '$.state' <> 'removed' GROUP BY i.sha256"
    )
    return dict(connection.execute(sql, (backend,)).fetchall())


def ending(connection: sqlite3.Connection, limit: int) -> list[InputRow]:
    """Forgotten ones that no open batch needs and of which something is left."""
    return _rows(connection.execute(_ENDING, (limit,)))


def idle(
    connection: sqlite3.Connection, before_ms: int, after: str, found: list[Idle], limit: int
) -> tuple[list[Idle], str]:
    """Add to those found the next kept inputs by sha256 that no open batch needs, and none has needed since a time.

    Returns at most `limit` of all these, needed longest ago first; and the last sha256 that was examined, empty after
    the last input.
    """
    rows = connection.execute(_IDLE, (after, IDLE_PAGE)).fetchall()
    old = ((last_ms, raw) for _, is_idle, last_ms, raw in rows if is_idle and last_ms < before_ms)
    every = [*found, *((last_ms, projections.decode_input(raw)) for last_ms, raw in old)]
    return heapq.nsmallest(limit, every, key=itemgetter(0)), rows[-1][0] if len(rows) == IDLE_PAGE else ""
