"""Who has an input and which batches use it: tables beside the rows, changed in the transaction of the event.

A label has an input from its upload until the bytes are erased here, and then it had it, until it forgets it. A batch
uses an input from its request on, and the bytes of a source from when they are fixed, until the whole batch is
forgotten. While the batch is open, the use has not ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from comfyledger.core.events import (
    BatchReopened,
    BatchRequested,
    BatchSettled,
    Event,
    FilesTaken,
    ImageForgotten,
    ImageLost,
    ImageRenumbered,
    InputAdded,
    InputErased,
    InputForgotten,
    SourcesFixed,
    StoreOwed,
)
from comfyledger.core.inputs import InputRow, InputUse
from comfyledger.core.rows import BatchRow, Row
from comfyledger.core.values import LoadedFile

_OPENING: Final = (BatchReopened, FilesTaken, ImageLost, ImageRenumbered, StoreOwed)
"""Events that may open a settled batch again."""
_OF_BATCH: Final = frozenset((BatchRequested, SourcesFixed, BatchSettled, ImageForgotten, *_OPENING))
OF_LABELS: Final = frozenset((InputAdded, InputForgotten, InputErased))
NOTED: Final = _OF_BATCH | OF_LABELS
"""Events that change the tables."""
OPEN_MAX: Final = 1_000
"""Open batches that use an input are counted up to this."""

_USE: Final = "INSERT OR IGNORE INTO input_uses (sha256, label, batch_id, ended_ms) VALUES (?, ?, ?, 0)"
_END: Final = "UPDATE input_uses SET ended_ms = ? WHERE batch_id = ?"
_HAVE: Final = (
    "INSERT INTO input_labels (sha256, label, added_ms, has) VALUES (?, ?, ?, 1)"
    " ON CONFLICT (sha256, label) DO UPDATE SET added_ms = excluded.added_ms, has = 1"
)
_WHO: Final = (
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM input_uses WHERE sha256 = ?1 AND ended_ms = 0 LIMIT ?2)),"
    " coalesce((SELECT max(ended_ms) FROM input_uses WHERE sha256 = ?1), 0)"
)
_ELSEWHERE: Final = (
    "WITH RECURSIVE users (label) AS (SELECT min(label) FROM input_uses WHERE sha256 = ?1 UNION ALL"
    " SELECT (SELECT min(label) FROM input_uses WHERE sha256 = ?1 AND label > users.label) FROM users"
    " WHERE users.label IS NOT NULL)"
    " SELECT label FROM users WHERE EXISTS"
    " (SELECT 1 FROM input_uses u WHERE u.sha256 = ?1 AND u.label = users.label AND u.batch_id <> ?2)"
)
"""The labels one after the other along the index, so that it costs the labels and not the batches."""
_INPUTS_OF_BATCH: Final = (
    "SELECT row FROM inputs WHERE sha256 IN (SELECT sha256 FROM input_uses WHERE batch_id = ?1"
    " UNION SELECT row ->> '$.sha256' FROM images WHERE batch_id = ?1)"
)
_input: Final = msgspec.json.Decoder(InputRow)


def note(connection: sqlite3.Connection, event: Event, batch: BatchRow | None, at_ms: int) -> None:
    """Record what an event says. `batch`: that of the event, as it is after the message or only after the event."""
    if batch is not None and batch.loads_files and type(event) in _OF_BATCH:
        _note_batch(connection, event, batch, at_ms)
    elif type(event) in OF_LABELS:
        note_labels(connection, event, at_ms)


def _note_batch(connection: sqlite3.Connection, event: Event, batch: BatchRow, at_ms: int) -> None:
    match event:
        case BatchRequested(prompts=prompts):
            _use(connection, batch, (load for prompt in prompts for load in prompt.loads))
        case SourcesFixed(loads=loads):
            _use(connection, batch, loads)
        case BatchSettled():
            connection.execute(_END, (at_ms, batch.batch_id))
        case ImageForgotten():
            if batch.forgotten == batch.images:
                connection.execute("DELETE FROM input_uses WHERE batch_id = ?", (batch.batch_id,))
        case _:
            if not batch.settled:
                connection.execute(_END, (0, batch.batch_id))


def _use(connection: sqlite3.Connection, batch: BatchRow, loads: Iterable[LoadedFile]) -> None:
    named = dict.fromkeys(load.sha256 for load in loads if load.sha256)
    if named:
        connection.executemany(_USE, [(sha256, batch.label, batch.batch_id) for sha256 in named])


def note_labels(connection: sqlite3.Connection, event: Event, at_ms: int) -> None:
    """Record which labels have or had an input after an event of OF_LABELS."""
    match event:
        case InputAdded(sha256=sha256, by=label):
            connection.execute(_HAVE, (sha256, label, at_ms))
        case InputForgotten(sha256=sha256, labels=labels):
            of_each = [(sha256, label) for label in labels]
            connection.executemany("DELETE FROM input_labels WHERE sha256 = ? AND label = ?", of_each)
        case InputErased(sha256=sha256):
            connection.execute("UPDATE input_labels SET has = 0 WHERE sha256 = ?", (sha256,))
        case _:
            pass


def use_of(connection: sqlite3.Connection, sha256: str, but: str = "") -> InputUse:
    """Who uses an input; `elsewhere` leaves out the batch `but`."""
    open_batches, ended_ms = connection.execute(_WHO, (sha256, OPEN_MAX)).fetchone()
    labels = connection.execute(_ELSEWHERE, (sha256, but))
    return InputUse(sha256, open_batches, ended_ms, tuple(label for (label,) in labels))


def of_batch(connection: sqlite3.Connection, batch_id: str) -> Iterator[Row]:
    """The inputs that a batch uses and the copies of its images, each with who uses it."""
    if connection.execute("SELECT 1 FROM inputs LIMIT 1").fetchone() is None:
        return
    for (raw,) in connection.execute(_INPUTS_OF_BATCH, (batch_id,)).fetchall():
        row = _input.decode(raw)
        yield row
        yield use_of(connection, row.sha256, batch_id)
