"""Which images a client lists or counts: the filters of both, once."""

from __future__ import annotations

from typing import TypedDict

from comfyledger.core.media import Medium
from comfyledger.core.values import VerdictAsked


class ImageFilters(TypedDict, total=False):
    """Filters of images; what is given must fit. Times in milliseconds since 1970, UTC."""

    batch_id: str | None
    username: str | None
    character: str | None
    workflow: str | None
    state: str | None
    code: str | None
    verdict: VerdictAsked | None
    rating_min: int | None
    medium: Medium | None
    since_ms: int | None
    until_ms: int | None
