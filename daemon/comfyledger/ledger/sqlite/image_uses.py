"""Which batches were made from an image: a table beside the rows, written in the transaction of `batch_requested`.

An image is the `source` of a batch if a prompt of it loads the image, and a batch is `like` the image whose recipe it
was made from. Neither changes afterwards, not even when something is forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from comfyledger.core.commands import MadeFrom
from comfyledger.core.events import BatchRequested, Event
from comfyledger.core.rows import PromptRow
from comfyledger.ledger.ports import Dependents, Descent
from comfyledger.ledger.sqlite import projections

DESCENT_MAX: Final = 100
"""How many batches of each kind one answer names as made from an image."""
PROMPTS_MAX: Final = 5_000
"""How many prompts one answer about dependents examines."""

Kind = Literal["source", "like"]
_KINDS: Final[tuple[Kind, Kind]] = ("like", "source")
Use = tuple[str, int, Kind, str, str]
"""Batch and index of the image, the kind, and the label and id of the batch that was made from it."""
Place = tuple[str, int]
"""A batch, and the index of an image or of a prompt in it."""

_USE: Final = "INSERT INTO image_uses (batch_id, image, kind, label, by_batch) VALUES (?, ?, ?, ?, ?)"
_IMAGE: Final = "SELECT min(image) FROM image_uses WHERE batch_id = ? AND image > ?"
_LABEL: Final = "SELECT min(label) FROM image_uses WHERE batch_id = ? AND image = ? AND kind = ? AND label > ?"
_MADE: Final = (
    "SELECT by_batch FROM image_uses WHERE batch_id = ? AND image = ? AND kind = ? AND label = ?"
    " ORDER BY by_batch LIMIT ?"
)
"""Each reads along the primary key, however many batches were made from one image."""
_PROMPTS: Final = (
    "SELECT p.row FROM json_each(?) j JOIN prompts p ON p.batch_id = j.value ORDER BY j.key, p.prompt LIMIT ?"
)


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
    places = [(batch_id, one) for one in (_images(connection, batch_id) if image is None else (image,))]
    like, loading = (_made(connection, places, kind, DESCENT_MAX + 1, label) for kind in _KINDS)
    return Descent(
        tuple(like[:DESCENT_MAX]), len(like) > DESCENT_MAX, tuple(loading[:DESCENT_MAX]), len(loading) > DESCENT_MAX
    )


def _images(connection: sqlite3.Connection, batch_id: str) -> Iterator[int]:
    """The images of a batch that something was made from."""
    image = 0
    while (image := connection.execute(_IMAGE, (batch_id, image)).fetchone()[0]) is not None:
        yield image


def _labels(connection: sqlite3.Connection, place: Place, kind: Kind) -> Iterator[str]:
    label = ""
    while (label := connection.execute(_LABEL, (*place, kind, label)).fetchone()[0]) is not None:
        yield label


def _made(
    connection: sqlite3.Connection, places: Iterable[Place], kind: Kind, limit: int, label: str | None = None
) -> list[str]:
    """The first batches, in their order, that were made from the images; with a label, its batches."""
    found: set[str] = set()
    for place in places:
        for one in _labels(connection, place, kind) if label is None else (label,):
            found.update(by_batch for (by_batch,) in connection.execute(_MADE, (*place, kind, one, limit)))
    return sorted(found)[:limit]


def dependents(connection: sqlite3.Connection, batch_id: str, images: Sequence[int] | None) -> Dependents:
    """See `ports.Reader.dependents`. Goes level by level: what loads the images, what loads the images of these."""
    level = {(batch_id, image) for image in (_images(connection, batch_id) if images is None else images)}
    found: dict[Place, None] = {}
    room = PROMPTS_MAX
    while level and room >= 0:
        rows = _prompts(connection, _made(connection, level, "source", room + 1), room + 1)
        room -= len(rows)
        new = [row for row in rows if _loads_one(row, level) and (row.batch_id, row.index) not in found]
        found |= dict.fromkeys((row.batch_id, row.index) for row in new)
        level = {(row.batch_id, image) for row in new for image in row.images}
    return Dependents(_by_batch(found), more=room < 0)


def _prompts(connection: sqlite3.Connection, batches: Sequence[str], limit: int) -> list[PromptRow]:
    rows = connection.execute(_PROMPTS, (msgspec.json.encode(batches).decode(), limit))
    return [projections.decode_prompt(raw) for (raw,) in rows]


def _loads_one(row: PromptRow, places: Collection[Place]) -> bool:
    return any(load.source and (load.source.batch_id, load.source.image) in places for load in row.loads)


def _by_batch(prompts: Iterable[Place]) -> tuple[MadeFrom, ...]:
    """Prompts, by batch and index, batch by batch."""
    found: dict[str, list[int]] = {}
    for batch_id, index in prompts:
        found.setdefault(batch_id, []).append(index)
    return tuple(MadeFrom(batch_id, tuple(sorted(indexes))) for batch_id, indexes in found.items())
