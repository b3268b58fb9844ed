"""Requests about webhooks: those that are added while the daemon runs, and the deliveries of all."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.requests.backends import NAME_PATTERN
from comfyledger.wire.requests.parts import Message, Moment, Position

WebhookName = Annotated[str, Meta(pattern=NAME_PATTERN, description="The name of the webhook.", examples=["shop"])]


class AddWebhook(Message, frozen=True):
    """Adds a webhook that the configuration does not name, or gives one that was added another address or other kinds.
    It delivers the events that follow. Its address must fit `webhooks_allowed` (`webhook_not_allowed`). The answer has
    its secret; a repeat with equal values has the same one and writes no event."""

    name: WebhookName
    url: Annotated[
        str,
        Meta(
            max_length=300,
            description="Its address: https://, a host, perhaps a port and a path; no user and no query. http:// if "
            "`webhooks_allowed` says so.",
            examples=["https://shop.example/hooks/images"],
        ),
    ]
    kinds: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(
            max_length=64,
            description="Kinds of events. Empty: `image_uploaded`, `image_failed`, `image_parked` and `batch_settled`.",
            examples=[["image_uploaded", "batch_settled"]],
        ),
    ] = []


class RemoveWebhook(Message, frozen=True):
    """Removes a webhook that was added. What it has not delivered is not delivered. One that nobody added is
    `unknown_webhook`."""

    name: WebhookName


class ListWebhooks(Message, frozen=True):
    """Asks for all webhooks, those of the configuration and those that were added, and how their deliveries are."""


class TestWebhook(Message, frozen=True):
    """Sends one signed request of the type `webhook.test` to a webhook now, and answers with what came of it. Its
    deliveries do not change, and it may be paused."""

    name: WebhookName


class ReplayWebhook(Message, frozen=True):
    """Delivers again what a webhook has delivered since a position or a time. Receivers know repeats by `webhook-id`.
    Refused with `unknown_position` if that is not in the log."""

    name: WebhookName
    since_position: Annotated[
        Position | None,
        Meta(description="The first event to be delivered again. Either this or `since_ms`.", examples=[1200]),
    ] = None
    since_ms: Annotated[
        Moment | None,
        Meta(description="Events from this time on, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458]),
    ] = None
    dry_run: Annotated[bool, Meta(description="Only count; change nothing.")] = False
