"""What the daemon sends of its log, and of what runs.

An event comes with its kind and its fields as JSON. `data` reads these fields when it is asked for, so that events that
nobody looks at cost nothing. A newer daemon may send kinds, fields and values that this version does not know; none of
these is an error.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from comfyledger.core.events import KINDS, Event
from comfyledger.wire.answers.batches import BatchInfo, ImageInfo
from comfyledger.wire.answers.parts import Answer, BatchId, Epoch, Sentence, Series
from comfyledger.wire.answers.recipes import RecipeFile

SubscriptionId = Annotated[str, Meta(description="The subscription that this is for.", examples=["s1"])]
EventPosition = Annotated[int, Meta(description="The event's place in the log.", examples=[14])]
EventKind = Annotated[
    str, Meta(description="The kind of event, which says what is in `data`.", examples=["image_uploaded"])
]
EventTime = Annotated[
    int, Meta(description="When the event was written, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458])
]
EventStream = Annotated[
    str, Meta(description="The batch id, `series/…`, `lane/…` or `ledger`.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])
]
EventData = Annotated[msgspec.Raw, Meta(description="The event's fields, exactly as in the log.")]
EventTexts = Annotated[
    dict[str, str],
    Meta(
        description="The text whose digest is `words` in `data`, if it is still kept.",
        examples=[{"words": "Another file has this name."}],
    ),
]
RunningPrompt = Annotated[
    int, Meta(description="The running prompt, as its number in the batch, from 1.", examples=[1])
]
RenderedImages = Annotated[
    list[int], Meta(description="The images that it renders, as indexes in the batch.", examples=[[2]])
]


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event that this version cannot read: its kind is new, or a field has a new kind of value."""

    kind: str
    fields: dict[str, Any]

    def __bytes__(self) -> bytes:
        """The fields as JSON."""
        return msgspec.json.encode(self.fields)


@functools.cache
def _decoder(kind: str) -> msgspec.json.Decoder[Event]:
    return msgspec.json.Decoder(KINDS[kind])


def _typed(kind: str, raw: msgspec.Raw) -> Event | UnknownEvent:
    """An event of a newer daemon may have a kind or a value that this version does not know: an UnknownEvent."""
    try:
        return _decoder(kind).decode(raw)
    except (KeyError, msgspec.ValidationError):
        return UnknownEvent(kind, msgspec.json.decode(raw))


class Subscribed(Answer, frozen=True):
    """A subscription began."""

    subscription: Annotated[str, Meta(description="The id of the subscription on this connection.", examples=["s1"])]
    epoch: Epoch
    position: Annotated[
        int, Meta(description="Where the subscription begins: all events after this position follow.", examples=[14])
    ]


class Unsubscribed(Answer, frozen=True):
    """A subscription ended."""

    subscription: Annotated[str, Meta(description="The subscription that ended.", examples=["s1"])]


class LoggedEvent(Answer, frozen=True):
    """An event of the log, for one subscription."""

    subscription: SubscriptionId
    epoch: Annotated[
        str, Meta(description="The epoch that `position` belongs to.", examples=["01M82DA8V724WA3CWZEFZYJASQ"])
    ]
    position: EventPosition
    kind: EventKind
    at_ms: EventTime
    stream: EventStream
    raw: EventData = msgspec.field(name="data")
    texts: EventTexts = {}

    @property
    def data(self) -> Event | UnknownEvent:
        """The fields in the type of the kind: one of `comfyledger.core.events`."""
        return _typed(self.kind, self.raw)


class PastEvent(Answer, frozen=True):
    """An event of a page, with the fields of `event`."""

    position: EventPosition
    kind: EventKind
    at_ms: EventTime
    stream: EventStream
    raw: EventData = msgspec.field(name="data")
    texts: EventTexts = {}

    @property
    def data(self) -> Event | UnknownEvent:
        """The fields in the type of the kind: one of `comfyledger.core.events`."""
        return _typed(self.kind, self.raw)


class StreamedEvent(Answer, frozen=True):
    """An event of the log in a stream of Server-Sent Events, with the fields of `event` but `subscription`."""

    epoch: Annotated[
        str, Meta(description="The epoch that `position` belongs to.", examples=["01M82DA8V724WA3CWZEFZYJASQ"])
    ]
    position: EventPosition
    kind: EventKind
    at_ms: EventTime
    stream: EventStream
    raw: EventData = msgspec.field(name="data")
    texts: EventTexts = {}

    @property
    def data(self) -> Event | UnknownEvent:
        """The fields in the type of the kind: one of `comfyledger.core.events`."""
        return _typed(self.kind, self.raw)


class LogPage(Answer, frozen=True):
    """A page of past events."""

    epoch: Epoch
    events: Annotated[list[PastEvent], Meta(description="The events that match.")]
    position: Annotated[
        int, Meta(description="The position of the last event that was checked, matching or not.", examples=[14])
    ]
    more: Annotated[bool, Meta(description="Whether there are events beyond this position.")]


class OwedInfo(Answer, frozen=True):
    """Something that is still to be done, and why it is not done yet."""

    what: Annotated[
        str,
        Meta(
            description="What is to be done: `number`, `render`, `fetch`, `upload`, `delete`, `deliver` (an event "
            "to a webhook), or `decide` (a person must decide).",
            examples=["upload"],
        ),
    ]
    code: Annotated[
        str,
        Meta(
            description="Why it waits: `held`, `paused`, `turn` (others go first), `alone` (a prompt with a strike "
            "runs alone), `source` (an image that it is made from has no bytes yet), `submitting`, `at_comfyui`, "
            "`under_way`, `asking` (the stores are asked for numbers), `unfit` (not every ComfyUI takes it), "
            "`no_backend` (no ComfyUI is configured that may render it), `stray` (an earlier attempt was left behind), "
            "`box_away` (only a box has a file that has left the fleet), the state of a webhook that delivers nothing, "
            "the code of the trouble of a lane or a webhook, or the code of a failure.",
            examples=["not_reached"],
        ),
    ]
    text: Sentence
    command: Annotated[
        str,
        Meta(
            description="The command that helps; empty if it continues by itself.",
            examples=["comfyledger resume batch:01M82DA9EJBQZAAZJR4D2RM95D"],
        ),
    ] = ""
    lane: Annotated[str, Meta(description="The lane that it waits for, if any.", examples=["backend/main"])] = ""
    since_ms: Annotated[
        int,
        Meta(
            description="Since when the lane is paused or the webhook fails, in milliseconds since 1970, UTC.",
            examples=[1_795_377_407_458],
        ),
    ] = 0
    images: Annotated[list[int], Meta(description="Indexes of its images in the batch.", examples=[[2]])] = []


class Explanation(Answer, frozen=True):
    """The whole history of an image, a batch or a number."""

    subject: Annotated[
        Literal["image", "batch", "gap", "never"],
        Meta(
            description="What `what` is: an `image`, a `batch`, a skipped number (`gap`), or a number that was not "
            "given so far (`never`)."
        ),
    ]
    epoch: Epoch
    events: Annotated[list[PastEvent], Meta(description="What happened, oldest first.")]
    owed: Annotated[list[OwedInfo], Meta(description="What is still to be done and why it waits; empty if nothing is.")]
    batch: Annotated[BatchInfo | None, Meta(description="The batch, without its images.")] = None
    image: Annotated[ImageInfo | None, Meta(description="The image, if there is one.")] = None
    series: Series = ""
    number: Annotated[int, Meta(description="The number in the series, if there is one.", examples=[17])] = 0
    next: Annotated[int, Meta(description="The number that the series will give next.", examples=[58])] = 0
    code: Annotated[
        str,
        Meta(
            description="Why a number was skipped: `held` (a store held higher ones when the series was opened), "
            "`raised` (an import or a restore raised the series above it), or `unknown` (no event that the token sees "
            "explains it).",
            examples=["held"],
        ),
    ] = ""
    left_out: Annotated[
        dict[str, int],
        Meta(
            description="For a large batch: how many events of each frequent kind are not among `events`.",
            examples=[{"prompt_submitting": 400}],
        ),
    ] = {}
    made_like: Annotated[
        list[str],
        Meta(
            description="The batches that were made like the image, or like any image of the batch "
            "(`like` of `submit_batch`), oldest first.",
            examples=[["01M82DA9EJBQZAAZJR4D2RM95D"]],
        ),
    ] = []
    made_like_more: Annotated[
        bool,
        Meta(description="Whether there are more such batches: at most 100 are named."),
    ] = False
    loads: Annotated[
        list[RecipeFile],
        Meta(
            description="The files that the image, or any image of the batch, is made from: input files and earlier "
            "images, each once for each input of the workflow; `file` is empty."
        ),
    ] = []
    loads_more: Annotated[bool, Meta(description="Whether there are more such files: at most 100 are named.")] = False
    loaded_by: Annotated[
        list[str],
        Meta(
            description="The batches that load the image, or any image of the batch, as a source, oldest first.",
            examples=[["01M82DA9EJBQZAAZJR4D2RM95D"]],
        ),
    ] = []
    loaded_by_more: Annotated[
        bool,
        Meta(description="Whether there are more such batches: at most 100 are named."),
    ] = False


class Progress(Answer, frozen=True):
    """Steps of a running prompt. They are never logged, and dropped for a slow client."""

    subscription: SubscriptionId
    batch_id: BatchId
    prompt: RunningPrompt
    images: RenderedImages
    node: Annotated[str, Meta(description="The id of the node that runs, in the graph.", examples=["3"])]
    value: Annotated[float, Meta(description="How many steps are done.", examples=[7.0])]
    max: Annotated[float, Meta(description="How many steps there are in all.", examples=[20.0])]


class Preview(Answer, frozen=True):
    """A preview of a running prompt. It is never logged, and dropped for a slow client."""

    subscription: SubscriptionId
    batch_id: BatchId
    prompt: RunningPrompt
    images: RenderedImages
    mime: Annotated[
        str, Meta(description="The type of the picture: `image/jpeg` or `image/png`.", examples=["image/jpeg"])
    ]
    data: Annotated[str, Meta(description="The picture, in Base64.", examples=["/9j/4AAQSkZJRgABAQ=="])]


class SubscriptionEnded(Answer, frozen=True):
    """The daemon ended a subscription. Subscribe again after the last position that you saw."""

    subscription: Annotated[str, Meta(description="The subscription that ended.", examples=["s1"])]
    code: Annotated[str, Meta(description="Why it ended: one of the error codes.", examples=["internal"])]
    message: Sentence
