"""What people thought of images."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.core.events.event import BatchId, By, Event, ImageIndexes
from comfyledger.core.values import RATING_MAX, VerdictAsked


class ImageReviewed(Event, frozen=True):
    """A person approved, rejected or rated images, or took that back. The event names the images that it changed. If an
    image is lost and rendered again, its review ends, because the new file is another picture."""

    batch_id: BatchId
    images: ImageIndexes
    by: By
    verdict: Annotated[
        VerdictAsked | None,
        Meta(description="The verdict; `none` if it was taken back. Missing if the verdicts stayed as they were."),
    ] = None
    rating: Annotated[
        Annotated[int, Meta(ge=0, le=RATING_MAX)] | None,
        Meta(
            description="The rating from 1 to 5; 0 if it was taken back. Missing if the ratings stayed as they were.",
            examples=[4],
        ),
    ] = None
