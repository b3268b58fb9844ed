"""How a review changes the rows of images."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.events import ImageReviewed
from comfyledger.core.keys import BatchKey, ImageKey, Key
from comfyledger.core.rows import ImageRow, Row, Slice
from comfyledger.core.values import VerdictAsked


def touched_by_review(event: ImageReviewed) -> tuple[Key, ...]:
    """The keys of the rows that the event needs."""
    return (BatchKey(event.batch_id), *(ImageKey(event.batch_id, index) for index in event.images))


def image_reviewed(state: Slice, event: ImageReviewed) -> tuple[Row, ...]:
    images = (state.the_image(event.batch_id, index) for index in event.images)
    return tuple(as_reviewed(image, event.verdict, event.rating) for image in images)


def as_reviewed(image: ImageRow, verdict: VerdictAsked | None, rating: int | None) -> ImageRow:
    """The image with a verdict and a rating; None leaves what it has."""
    return replace(
        image,
        verdict=image.verdict if verdict is None else "" if verdict == "none" else verdict,
        rating=image.rating if rating is None else rating,
    )
