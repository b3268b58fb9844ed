"""What images are filtered by and all images of a batch share: one small row a batch, written with its request.

Lists and counts of images read this table in place of the rows of batches and images, which are large. Images do not
change it, except one that is added to its batch.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

import msgspec

from comfyledger.core.events import BatchRequested, Event, ImageAdded
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow

NOTED: Final = frozenset((BatchRequested, ImageAdded))
"""Events that change the table."""

_GIVE: Final = (
    "INSERT INTO facets (batch_id, user_key, character_key, workflow, label, medium, images)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_GROWN: Final = "UPDATE facets SET images = ? WHERE batch_id = ?"
_BATCHES: Final = (
    "SELECT batch_id, user_key, row, (SELECT max(image) FROM images WHERE images.batch_id = batches.batch_id)"
    " FROM batches ORDER BY batch_id"
)


class Facets(NamedTuple):
    """A row. `medium`: of all its images, as their names say; empty if they differ. Images count from 1 to `images`."""

    batch_id: str
    user_key: str
    character_key: str
    workflow: str
    label: str
    medium: str
    images: int


def of(batch: BatchRow) -> Facets:
    media = {output.medium for output in batch.every_output}
    medium = media.pop() if len(media) == 1 else ""
    key = fold(batch.character)
    return Facets(batch.batch_id, batch.user_key, key, batch.workflow, batch.label, medium, batch.images)


def note(connection: sqlite3.Connection, event: Event, batch: BatchRow | None) -> None:
    """Change the table as an event says. `batch`: as it is after the event. Raises sqlite3.Error."""
    if batch is None:
        return
    match event:
        case BatchRequested():
            connection.execute(_GIVE, of(batch))
        case ImageAdded():
            connection.execute(_GROWN, (batch.images, batch.batch_id))
        case _:
            pass


# ---- ledgers of older releases


class _Output(msgspec.Struct):
    medium: str = "image"


class _Batch(msgspec.Struct):
    """The fields of a batch's row, as every release wrote them."""

    character: str = ""
    workflow: str = ""
    label: str = ""
    outputs: tuple[_Output, ...] = ()


def fill(connection: sqlite3.Connection) -> None:
    """Make the rows of all batches that are there. Raises sqlite3.Error."""
    decode = msgspec.json.Decoder(_Batch).decode
    rows = connection.execute(_BATCHES)
    connection.executemany(
        _GIVE, (_filled(batch_id, user, decode(raw), images) for batch_id, user, raw, images in rows)
    )


def _filled(batch_id: str, user_key: str, batch: _Batch, images: int | None) -> Facets:
    media = {output.medium for output in batch.outputs} or {"image"}
    medium = media.pop() if len(media) == 1 else ""
    key = fold(batch.character)
    return Facets(batch_id, user_key, key, batch.workflow, batch.label, medium, images or 0)
