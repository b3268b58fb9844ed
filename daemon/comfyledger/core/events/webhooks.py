"""What became of webhooks: those that clients add at run time, and the pauses of all."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.events.event import By, CausedBy, Event

WebhookName = Annotated[str, Meta(description="The name of the webhook.", examples=["shop"])]


class WebhookAdded(Event, frozen=True):
    """A client added a webhook, or gave one that was added another address or other kinds. It delivers the events that
    follow. Its secret is not in the log."""

    name: WebhookName
    url: Annotated[str, Meta(description="Its address.", examples=["https://shop.example/hooks/images"])]
    kinds: Annotated[
        tuple[str, ...],
        Meta(description="The kinds of events that it delivers.", examples=[["image_uploaded", "batch_settled"]]),
    ]
    generation: Annotated[
        int, Meta(description="Counts the addresses that it had. Each has its own secret.", examples=[1])
    ]
    by: By


class WebhookRemoved(Event, frozen=True):
    """A client removed a webhook that was added at run time. What it had not delivered is not delivered."""

    name: WebhookName
    by: By


class WebhookPaused(Event, frozen=True):
    """A webhook delivers nothing until it is resumed. It then goes on where it was."""

    name: WebhookName
    reason: Annotated[
        Literal["person", "gone", "dead"],
        Meta(
            description="Why: `person`, `gone` (its endpoint answered 410), or `dead` (its endpoint took nothing for "
            "five days)."
        ),
    ]
    by: CausedBy = ""


class WebhookResumed(Event, frozen=True):
    """A webhook delivers again what it owes, and what follows."""

    name: WebhookName
    by: By
