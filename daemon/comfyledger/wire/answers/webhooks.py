"""What the daemon says about webhooks, and what a webhook sends."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.wire.answers.batches import BatchInfo, ImageInfo
from comfyledger.wire.answers.events import StreamedEvent
from comfyledger.wire.answers.parts import Answer, Sentence

Name = Annotated[str, Meta(description="The name of the webhook.", examples=["shop"])]
Url = Annotated[
    str,
    Meta(
        description="Its address, without a query, which may hold a secret.",
        examples=["https://shop.example/hooks/images"],
    ),
]
Kinds = Annotated[
    list[str],
    Meta(description="The kinds of events that it delivers.", examples=[["image_uploaded", "batch_settled"]]),
]
WebhookState = Literal["working", "failing", "paused", "gone", "dead", "not_allowed"]


class OwedDelivery(Answer, frozen=True):
    """An event that was put aside: its endpoint did not take it, though it took others."""

    position: Annotated[int, Meta(description="The event's place in the log.", examples=[14])]
    stream: Annotated[
        str, Meta(description="Its stream, mostly the batch id.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])
    ]
    tries: Annotated[
        int,
        Meta(description="How often it was tried; 0 for one that waits behind another of its stream.", examples=[3]),
    ]
    next_ms: Annotated[
        int,
        Meta(
            description="When it is tried again, in milliseconds since 1970, UTC; 0 for one that waits behind another.",
            examples=[1_795_377_407_458],
        ),
    ]
    code: Annotated[str, Meta(description="Why it was not taken the last time.", examples=["http_422"])]


class WebhookInfo(Answer, frozen=True):
    """A webhook and how its deliveries are."""

    name: Name
    url: Url
    kinds: Kinds
    origin: Annotated[
        Literal["configured", "added"],
        Meta(description="Where it comes from: `configured`, or `added` while the daemon runs."),
    ]
    state: Annotated[
        WebhookState,
        Meta(
            description="`working`; `failing` (its endpoint takes nothing now, and is tried again); `paused` (by a "
            "person); `gone` (paused, because its endpoint answered 410); `dead` (paused, because nothing was taken "
            "for five days); or `not_allowed` (`webhooks_allowed` does not name its address any more)."
        ),
    ]
    position: Annotated[
        int, Meta(description="Everything up to this position is delivered or put aside.", examples=[14])
    ]
    behind: Annotated[int, Meta(description="How many positions the log is ahead of `position`.", examples=[0])] = 0
    behind_s: Annotated[
        float,
        Meta(description="For how many seconds the oldest event has waited that is not delivered.", examples=[0.0]),
    ] = 0.0
    delivered_ms: Annotated[
        int,
        Meta(
            description="When an event was taken last, in milliseconds since 1970, UTC; 0 for never.",
            examples=[1_795_377_407_458],
        ),
    ] = 0
    failing_ms: Annotated[
        int,
        Meta(
            description="Since when nothing was taken, in milliseconds since 1970, UTC; 0 if the last event was.",
            examples=[1_795_377_407_458],
        ),
    ] = 0
    next_ms: Annotated[
        int,
        Meta(
            description="When the next try is due, in milliseconds since 1970, UTC; 0 if nothing has failed.",
            examples=[1_795_377_407_458],
        ),
    ] = 0
    code: Annotated[
        str,
        Meta(
            description="Why the last event was not taken: `http_503` and the like, `timeout`, `not_reached`, or "
            "`address_not_allowed`; empty if it was.",
            examples=["http_503"],
        ),
    ] = ""
    text: Sentence = ""
    owed: Annotated[int, Meta(description="How many events are put aside.", examples=[0])] = 0
    owed_first: Annotated[list[OwedDelivery], Meta(description="The first of them, at most 20.")] = []
    per_batch: Annotated[
        bool, Meta(description="Whether it delivers the events of those batches only whose request names it.")
    ] = False


class Webhooks(Answer, frozen=True):
    """All webhooks."""

    webhooks: Annotated[list[WebhookInfo], Meta(description="The webhooks, by name.")]


class AddedWebhook(Answer, frozen=True):
    """A webhook that was added."""

    name: Name
    url: Url
    kinds: Kinds
    secret: Annotated[
        str,
        Meta(
            description="The secret that signs its requests, for the receiver. It is in no other answer.",
            examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        ),
    ]
    changed: Annotated[bool, Meta(description="Whether it is new or has other values than before.")] = True


class RemovedWebhook(Answer, frozen=True):
    """A webhook that was removed."""

    name: Name


class WebhookTested(Answer, frozen=True):
    """What came of one test request."""

    taken: Annotated[bool, Meta(description="Whether the endpoint answered with a status from 200 to 299.")]
    took_s: Annotated[float, Meta(description="For how many seconds it took.", examples=[0.05])]
    code: Annotated[str, Meta(description="Why it was not taken; empty if it was.", examples=["timeout"])] = ""
    text: Sentence = ""


class WebhookReplayed(Answer, frozen=True):
    """What is delivered again, or would be."""

    position: Annotated[int, Meta(description="Events after this position are delivered again.", examples=[1199])]
    events: Annotated[
        int, Meta(description="How many events of its kinds these are, up to where it had come.", examples=[36])
    ]
    more: Annotated[bool, Meta(description="Whether there are more than were counted: at most 100,000 are.")] = False
    dry_run: Annotated[bool, Meta(description="Whether this was a dry run: nothing was changed.")] = False


# ---- what is sent


class WebhookData(Answer, frozen=True):
    """What a webhook says about one event. Image and batch are as they are when it is sent."""

    event: Annotated[StreamedEvent, Meta(description="The event.")]
    image: Annotated[ImageInfo | None, Meta(description="The image, if the event is about one image.")] = None
    images: Annotated[
        list[ImageInfo], Meta(description="The images, if the event is about several images: at most 100.")
    ] = []
    batch: Annotated[
        BatchInfo | None, Meta(description="The batch, without its images, if the event is about a batch.")
    ] = None
    recipe: Annotated[
        str,
        Meta(
            description="The path of the recipe of `image`.",
            examples=["/v1/images/01M82DA9EJBQZAAZJR4D2RM95D/1/recipe"],
        ),
    ] = ""


class WebhookPayload(Answer, frozen=True):
    """The body of a request that a webhook sends."""

    type: Annotated[str, Meta(description="The kind of the event, or `webhook.test`.", examples=["image_uploaded"])]
    timestamp: Annotated[
        str, Meta(description="When the event happened (RFC 3339).", examples=["2026-11-22T17:16:47.458Z"])
    ]
    data: Annotated[WebhookData, Meta(description="What happened, and to what.")]
