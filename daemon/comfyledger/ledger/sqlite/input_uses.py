"""Which batches use an input: a table beside the rows, changed in the transaction of the event that changes it.

A batch uses an input from its request on, and the bytes of a source from when they are fixed, until the whole batch is
forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from comfyledger.core.events import BatchRequested, BatchSettled, Event, ImageForgotten, SourcesFixed
from comfyledger.core.rows import BatchRow, InputRow, InputUse, Row
from comfyledger.core.values import LoadedFile

NOTED: Final = frozenset((BatchRequested, BatchSettled, ImageForgotten, SourcesFixed))
"""Events that change the table."""
_USE: Final = "INSERT OR IGNORE INTO input_uses (sha256, label, batch_id, ended_ms) VALUES (?, ?, ?, 0)"
_WHO: Final = (
    "SELECT coalesce(sum(b.status IN ('open', 'held')), 0),"
    " coalesce(max(u.ended_ms) FILTER (WHERE b.status NOT IN ('open', 'held')), 0)"
    " FROM input_uses u JOIN batches b ON b.batch_id = u.batch_id WHERE u.sha256 = ?"
)
_ELSEWHERE: Final = "SELECT DISTINCT label FROM input_uses WHERE sha256 = ? AND batch_id <> ? ORDER BY label"
_OF_BATCH: Final = (
    "SELECT row FROM inputs WHERE sha256 IN (SELECT sha256 FROM input_uses WHERE batch_id = ?1"
    " UNION SELECT row ->> '$.sha256' FROM images WHERE batch_id = ?1)"
)
_input: Final = msgspec.json.Decoder(InputRow)


def note(connection: sqlite3.Connection, event: Event, batch: BatchRow | None, at_ms: int) -> None:
    """Record what an event says about uses. `batch`: that of the event, as it is after the message."""
    match event:
        case BatchRequested(prompts=prompts) if batch is not None:
            _use(connection, batch, (load for prompt in prompts for load in prompt.loads))
        case SourcesFixed(loads=loads) if batch is not None:
            _use(connection, batch, loads)
        case BatchSettled(batch_id=batch_id):
            connection.execute("UPDATE input_uses SET ended_ms = ? WHERE batch_id = ?", (at_ms, batch_id))
        case ImageForgotten(batch_id=batch_id) if batch is not None and batch.forgotten == batch.images:
            connection.execute("DELETE FROM input_uses WHERE batch_id = ?", (batch_id,))
        case _:
            pass


def _use(connection: sqlite3.Connection, batch: BatchRow, loads: Iterable[LoadedFile]) -> None:
    named = dict.fromkeys(load.sha256 for load in loads if load.sha256)
    if named:
        connection.executemany(_USE, [(sha256, batch.label, batch.batch_id) for sha256 in named])


def use_of(connection: sqlite3.Connection, sha256: str, but: str = "") -> InputUse:
    """Who uses an input; `elsewhere` leaves out the batch `but`."""
    open_batches, ended_ms = connection.execute(_WHO, (sha256,)).fetchone()
    labels = connection.execute(_ELSEWHERE, (sha256, but))
    return InputUse(sha256, open_batches, ended_ms, tuple(label for (label,) in labels))


def of_batch(connection: sqlite3.Connection, batch_id: str) -> Iterator[Row]:
    """The inputs that a batch uses and the copies of its images, each with who uses it."""
    if connection.execute("SELECT 1 FROM inputs LIMIT 1").fetchone() is None:
        return
    for (raw,) in connection.execute(_OF_BATCH, (batch_id,)).fetchall():
        row = _input.decode(raw)
        yield row
        yield use_of(connection, row.sha256, batch_id)
