"""What must be so of reviews, told from the log alone and without the code that folds it."""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger.core.events import ImageForgotten, ImageKept, ImageLost, ImageReviewed, Recorded
from comfyledger.core.rows import ImageRow, Row

Reviews = dict[tuple[str, int], tuple[str, int]]
"""By batch and index of the image: the verdict and the rating."""


def reviews_told(log: Iterable[Recorded]) -> Reviews:
    """What people think of images at the end of a log.

    Raises AssertionError for an event that changes nothing, or is about an image without a file.
    """
    told: Reviews = {}
    kept: set[tuple[str, int]] = set()
    for entry in log:
        match entry.event:
            case ImageKept(batch_id=batch_id, image=image):
                kept.add((batch_id, image))
            case ImageForgotten(batch_id=batch_id, images=images):
                kept -= {(batch_id, image) for image in images}
            case ImageLost(batch_id=batch_id, images=images):
                for image in images:
                    kept.discard((batch_id, image))
                    told.pop((batch_id, image), None)
            case ImageReviewed() as event:
                for image in event.images:
                    _review(told, kept, event, (event.batch_id, image))
            case _:
                pass
    return {place: said for place, said in told.items() if said != ("", 0)}


def _review(told: Reviews, kept: set[tuple[str, int]], event: ImageReviewed, place: tuple[str, int]) -> None:
    before = told.get(place, ("", 0))
    verdict = before[0] if event.verdict is None else event.verdict.replace("none", "")
    told[place] = (verdict, before[1] if event.rating is None else event.rating)
    assert told[place] != before, f"changes nothing: {event}"
    assert place in kept, f"of no file: {event}"


def check_reviews(log: Iterable[Recorded], rows: Iterable[Row]) -> None:
    """The rows say of each image what the log says of it."""
    images = (row for row in rows if isinstance(row, ImageRow) and (row.verdict or row.rating))
    assert {(row.batch_id, row.index): (row.verdict, row.rating) for row in images} == reviews_told(log)
