"""Which images have a verdict or a rating: a table beside the rows, written in the transaction of the event.

Few images have one, so lists of them need not read every image. An image without verdict and rating has no row.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from comfyledger.core.events import Event, ImageLost, ImageReviewed
from comfyledger.core.values import VerdictAsked

NOTED: Final = frozenset((ImageReviewed, ImageLost))
"""Events that change the table."""

_GIVE: Final = (
    "INSERT INTO reviews (batch_id, image, verdict, rating) VALUES (?1, ?2, coalesce(?3, ''), coalesce(?4, 0))"
    " ON CONFLICT (batch_id, image) DO UPDATE SET verdict = coalesce(?3, verdict), rating = coalesce(?4, rating)"
)
_DROP_EMPTY: Final = "DELETE FROM reviews WHERE batch_id = ? AND image = ? AND verdict = '' AND rating = 0"
_DROP: Final = "DELETE FROM reviews WHERE batch_id = ? AND image = ?"


def note(connection: sqlite3.Connection, event: Event) -> None:
    """Change the table as an event says. Raises sqlite3.Error."""
    match event:
        case ImageReviewed(batch_id=batch_id, images=images, verdict=verdict, rating=rating):
            given = _stored(verdict)
            connection.executemany(_GIVE, [(batch_id, index, given, rating) for index in images])
            connection.executemany(_DROP_EMPTY, [(batch_id, index) for index in images])
        case ImageLost(batch_id=batch_id, images=images):
            connection.executemany(_DROP, [(batch_id, index) for index in images])
        case _:
            pass


def _stored(verdict: VerdictAsked | None) -> str | None:
    return "" if verdict == "none" else verdict
