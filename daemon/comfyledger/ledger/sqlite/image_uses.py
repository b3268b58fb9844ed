"""Which batches were made from an image: a table beside the rows, written in the transaction of `batch_requested`.

An image is the `source` of a batch if a prompt of it loads the image, and a batch is `like` the image whose recipe it
was made from. Neither changes afterwards, not even when something is forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from comfyledger.core.commands import MadeFrom
from comfyledger.core.events import BatchRequested, Event
from comfyledger.core.rows import PromptRow
from comfyledger.ledger.ports import Dependents, Descent
from comfyledger.ledger.sqlite import queries

DESCENT_MAX: Final = 100
"""How many batches of each kind one answer names as made from an image."""
PROMPTS_MAX: Final = 5_000
"""How many prompts one answer about dependents examines."""

Kind = Literal["source", "like"]
Use = tuple[str, int, Kind, str, str]
"""Batch and index of the image, the kind, and the label and id of the batch that was made from it."""
Place = tuple[str, int]
"""Batch and index of an image."""

_USE: Final = "INSERT INTO image_uses (batch_id, image, kind, label, by_batch) VALUES (?, ?, ?, ?, ?)"
_MADE: Final = (
    "SELECT DISTINCT by_batch FROM image_uses WHERE batch_id = ?1 AND image BETWEEN ?2 AND ?3 AND kind = ?4"
    " AND (?5 IS NULL OR label = ?5) ORDER BY by_batch LIMIT ?6"
)
_MADE_FROM: Final = (
    "SELECT DISTINCT u.by_batch FROM json_each(?) j JOIN image_uses u ON u.batch_id = j.value ->> 0"
    " AND u.image = j.value ->> 1 AND u.kind = 'source' ORDER BY u.by_batch LIMIT ?"
)
_LOADED: Final = "SELECT DISTINCT image FROM image_uses WHERE batch_id = ? AND kind = 'source'"


def uses(event: Event) -> list[Use]:
    """What an event says, each use once."""
    if not isinstance(event, BatchRequested):
        return []
    sources = (load.source for prompt in event.prompts for load in prompt.loads if load.source is not None)
    found: list[Use] = [(one.batch_id, one.image, "source", event.label, event.batch_id) for one in sources]
    if event.origin is not None:
        found.append((event.origin.batch_id, event.origin.image, "like", event.label, event.batch_id))
    return list(dict.fromkeys(found))


def note(connection: sqlite3.Connection, event: Event) -> None:
    if rows := uses(event):
        connection.executemany(_USE, rows)


def descent(connection: sqlite3.Connection, batch_id: str, image: int | None, label: str | None = None) -> Descent:
    """See `ports.Reader.descent`."""
    like, loading = (_made(connection, batch_id, image, kind, label) for kind in ("like", "source"))
    return Descent(like[:DESCENT_MAX], len(like) > DESCENT_MAX, loading[:DESCENT_MAX], len(loading) > DESCENT_MAX)


def _made(
    connection: sqlite3.Connection, batch_id: str, image: int | None, kind: Kind, label: str | None
) -> tuple[str, ...]:
    first, last = (0, 2**63 - 1) if image is None else (image, image)
    rows = connection.execute(_MADE, (batch_id, first, last, kind, label, DESCENT_MAX + 1))
    return tuple(by_batch for (by_batch,) in rows)


def dependents(connection: sqlite3.Connection, batch_id: str, images: Sequence[int] | None) -> Dependents:
    """See `ports.Reader.dependents`. Goes level by level: what loads the images, what loads the images of these."""
    if images is None:
        images = [image for (image,) in connection.execute(_LOADED, (batch_id,))]
    level = {(batch_id, image) for image in images}
    found: dict[str, dict[int, None]] = {}
    room = PROMPTS_MAX
    while level:
        following: set[Place] = set()
        named = msgspec.json.encode(sorted(level)).decode()
        for (by_batch,) in connection.execute(_MADE_FROM, (named, max(room, 0) + 1)).fetchall():
            if room <= 0:
                return _named(found, more=True)
            rows = queries.prompts(connection, by_batch)
            room -= len(rows)
            known = found.setdefault(by_batch, {})
            for row in _loading(rows, level):
                following |= {(by_batch, image) for image in row.images} if row.index not in known else set()
                known[row.index] = None
        level = following
    return _named(found, more=False)


def _loading(rows: Iterable[PromptRow], places: set[Place]) -> list[PromptRow]:
    return [
        row
        for row in rows
        if any(load.source and (load.source.batch_id, load.source.image) in places for load in row.loads)
    ]


def _named(found: dict[str, dict[int, None]], *, more: bool) -> Dependents:
    return Dependents(tuple(MadeFrom(batch_id, tuple(sorted(prompts))) for batch_id, prompts in found.items()), more)
