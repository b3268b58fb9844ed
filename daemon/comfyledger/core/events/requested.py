"""What was asked for: series, numbers and batches."""

from __future__ import annotations

from comfyledger.core.events.event import Event
from comfyledger.core.values import Evidence, ImageNamed, Plan, PromptFixed, StoreRef


class SeriesOpened(Event, frozen=True):
    """The stores were asked for their highest number, or the configuration trusts that there is none."""

    series: str
    folder: str
    next: int
    evidence: tuple[Evidence, ...] = ()
    asked: bool = True
    by: str = ""
    """The label of the first client that asked for a number of it."""


class SeriesRaised(Event, frozen=True):
    """The next number of a series was raised above what was found to hold numbers, before anybody asked for one.

    `reason`: import, or restore. The series is open for the stores in `evidence`; others are asked at its first batch.
    """

    series: str
    folder: str
    next: int
    evidence: tuple[Evidence, ...]
    reason: str
    by: str


class BatchRequested(Event, frozen=True):
    """A batch was accepted: its numbers are given, its prompts fixed, its stores named."""

    batch_id: str
    label: str
    request_id: str
    request_digest: str
    username: str
    user_key: str
    character: str
    premade: bool
    series: str
    workflow: str
    template: str
    plan: Plan
    images: tuple[ImageNamed, ...]
    prompts: tuple[PromptFixed, ...]
    stores: tuple[StoreRef, ...]
    priority: int = 1
    metadata: str | None = None


class BatchHeld(Event, frozen=True):
    """Nothing new of the batch goes to ComfyUI. `reason`: person, removed, interrupted or failing."""

    batch_id: str
    reason: str
    by: str = ""


class BatchResumed(Event, frozen=True):
    batch_id: str
    by: str = ""


class BatchCancelled(Event, frozen=True):
    batch_id: str
    by: str


class BatchSettled(Event, frozen=True):
    """Every image of the batch has come to an end, one way or the other."""

    batch_id: str
    stored: int
    parked: int
    failed: int
    cancelled: int
    forgotten: int = 0


class BatchReopened(Event, frozen=True):
    """`retry` took up images again under their own numbers. `render`: prompts to run; `upload`: images to store."""

    batch_id: str
    by: str
    render: tuple[int, ...] = ()
    images: tuple[int, ...] = ()
    upload: tuple[int, ...] = ()
