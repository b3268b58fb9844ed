"""Requests that change nothing: batches, images, events, the daemon."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.core.values import RATING_MAX, VerdictAsked
from comfyledger.wire.requests.parts import BatchId, Limit, Message, Moment, Position, Typed, Word

ImageName = Annotated[str, Meta(max_length=600)]
"""A public id, or an image id, `<batch_id>/<index>`."""
Kinds = Annotated[list[Word], Meta(max_length=200)]
ImageState = Literal["pending", "kept", "stored", "parked", "failed", "cancelled", "forgetting", "forgotten"]
CountBy = Literal["username", "character", "workflow", "state", "code", "verdict", "medium"]
PageSize = Annotated[Limit, Meta(description="Size of one page.", examples=[50])]
OnlyBatch = Annotated[BatchId | None, Meta(description="Only this batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
OnlyUser = Annotated[
    Typed | None, Meta(description="Only what belongs to this user, ignoring case.", examples=["Areg"])
]
OnlyKinds = Annotated[
    Kinds | None, Meta(description="Only these kinds of event.", examples=[["image_uploaded", "batch_settled"]])
]


class GetBatch(Message, frozen=True):
    """One batch with all its images."""

    batch_id: Annotated[
        str, Meta(description="From the answer to `submit_batch`.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])
    ]


class ListBatches(Message, frozen=True):
    """Batches, newest first, page by page."""

    username: OnlyUser = None
    open_only: Annotated[bool, Meta(description="Only batches that are open or held.")] = False
    before: Annotated[
        BatchId | None,
        Meta(description="Continue after this batch of an earlier page.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"]),
    ] = None
    limit: PageSize = 50


class GetImage(Message, frozen=True):
    """One image with its uploads."""

    image: Annotated[
        str,
        Meta(
            description="The whole public id, folder included, ignoring case; or `<batch_id>/<index>`.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ]


class GetRecipe(Message, frozen=True):
    """What made an image: workflow, inputs, seed, the images of its run, ComfyUI and its version, and times; with
    `graph` also the graph that was sent."""

    image: Annotated[
        str,
        Meta(
            description="As for `get_image`.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ]
    graph: Annotated[bool, Meta(description="Also answer with the graph that was sent, secrets masked.")] = False


OnlyState = Annotated[ImageState | None, Meta(description="Only images in this state.")]
OnlyCharacter = Annotated[
    Typed | None, Meta(description="Only images of this character, ignoring case.", examples=["Opal Fever"])
]
OnlyWorkflow = Annotated[
    Word | None,
    Meta(
        description="Only images of this configured workflow; an empty text for graphs of requests.",
        examples=["text-to-image"],
    ),
]
OnlyCode = Annotated[
    Word | None,
    Meta(description="Only images that failed, were parked or were cancelled with this code.", examples=["collision"]),
]
OnlyVerdict = Annotated[
    VerdictAsked | None, Meta(description="Only images with this verdict; `none` for those without one.")
]
OnlyRated = Annotated[
    Annotated[int, Meta(ge=1, le=RATING_MAX)] | None,
    Meta(description="Only images that are rated so high or higher.", examples=[4]),
]
OnlyMedium = Annotated[Medium | None, Meta(description="Only images that are expected to be of this medium.")]
AskedSince = Annotated[
    Moment | None,
    Meta(
        description="Only images that were asked for at or after this time, in milliseconds since 1970, UTC.",
        examples=[1_795_377_407_458],
    ),
]
AskedUntil = Annotated[
    Moment | None,
    Meta(
        description="Only images that were asked for at or before this time, in milliseconds since 1970, UTC.",
        examples=[1_795_463_807_458],
    ),
]


class ListImages(Message, frozen=True):
    """Images, newest batch first, page by page."""

    batch_id: OnlyBatch = None
    username: OnlyUser = None
    state: OnlyState = None
    before: Annotated[
        ImageName | None,
        Meta(
            description="Continue after this image of an earlier page: `<batch_id>/<index>`.",
            examples=["01M82DA9EJBQZAAZJR4D2RM95D/2"],
        ),
    ] = None
    limit: PageSize = 50
    character: OnlyCharacter = None
    workflow: OnlyWorkflow = None
    code: OnlyCode = None
    verdict: OnlyVerdict = None
    rating_min: OnlyRated = None
    medium: OnlyMedium = None
    since_ms: AskedSince = None
    until_ms: AskedUntil = None


class CountImages(Message, frozen=True):
    """How many images fit, on request also in groups. Cursors let a client read any page without those before it."""

    batch_id: OnlyBatch = None
    username: OnlyUser = None
    character: OnlyCharacter = None
    workflow: OnlyWorkflow = None
    state: OnlyState = None
    code: OnlyCode = None
    verdict: OnlyVerdict = None
    rating_min: OnlyRated = None
    medium: OnlyMedium = None
    since_ms: AskedSince = None
    until_ms: AskedUntil = None
    by: Annotated[
        CountBy | None,
        Meta(description="Also count the images that are alike in this."),
    ] = None
    cursors_every: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Also find the cursor of each page, if a page has so many images. 0 for no cursors.",
            examples=[100],
        ),
    ] = 0


class ListCharacters(Message, frozen=True):
    """The characters that have defaults, by name, page by page, and what each ComfyUI lacks for them."""

    before: Annotated[
        Typed | None,
        Meta(description="Continue after this character of an earlier page.", examples=["opal-fever"]),
    ] = None
    limit: PageSize = 50


class ListChecks(Message, frozen=True):
    """What `comfyledger audit` and `comfyledger doctor` found when they ran last on this machine."""


class GetActivity(Message, frozen=True):
    """What happened in each step of a span: images requested, rendered by each ComfyUI, stored, parked and failed, and
    how long prompts waited. Without `since_ms`, the last day."""

    since_ms: Annotated[
        Moment | None,
        Meta(description="From this time on, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458]),
    ] = None
    until_ms: Annotated[
        Moment | None,
        Meta(
            description="Up to this time, in milliseconds since 1970, UTC; now if omitted.",
            examples=[1_795_463_807_458],
        ),
    ] = None
    step_s: Annotated[
        int, Meta(ge=300, le=86_400, multiple_of=300, description="The length of a step, in seconds.", examples=[3_600])
    ] = 3_600


class Subscribe(Message, frozen=True):
    """Events of the log: first all after a position, then new ones as they come, without gap or duplicate."""

    after: Annotated[
        int,
        Meta(
            ge=-1,
            description="The last position that the client has seen. 0 is the beginning of the log, -1 is now.",
            examples=[2],
        ),
    ] = 0
    epoch: Annotated[
        Word | None,
        Meta(
            description="The epoch that `after` belongs to; required if `after` is above 0.",
            examples=["01M82DA8V724WA3CWZEFZYJASQ"],
        ),
    ] = None
    batch_id: OnlyBatch = None
    username: OnlyUser = None
    kinds: OnlyKinds = None
    progress: Annotated[bool, Meta(description="Also send steps of running prompts, as `progress`.")] = False
    previews: Annotated[
        bool,
        Meta(
            description="Also send previews, as `preview`. This sends `progress` as well. A prompt that was sent to "
            "ComfyUI before the subscription began has no previews, unless ComfyUI runs with `--preview-method`."
        ),
    ] = False


class ReadLog(Message, frozen=True):
    """A page of past events: of one batch, of one user, or all. With `reverse` the newest events come first."""

    after: Annotated[Position, Meta(description="Only positions above this.", examples=[2])] = 0
    upto: Annotated[
        Position | None, Meta(description="Only positions up to this. Default: the end of the log.", examples=[1200])
    ] = None
    epoch: Annotated[
        Word | None,
        Meta(
            description="The epoch that the positions belong to; required if `after` is above 0.",
            examples=["01M82DA8V724WA3CWZEFZYJASQ"],
        ),
    ] = None
    batch_id: OnlyBatch = None
    username: OnlyUser = None
    character: Annotated[
        Typed | None, Meta(description="Only batches of this character. Requires `username`.", examples=["Opal Fever"])
    ] = None
    kinds: OnlyKinds = None
    since_ms: Annotated[
        Moment | None,
        Meta(
            description="Only events at or after this time, in milliseconds since 1970, UTC.",
            examples=[1_795_377_407_458],
        ),
    ] = None
    until_ms: Annotated[
        Moment | None,
        Meta(
            description="Only events at or before this time, in milliseconds since 1970, UTC.",
            examples=[1_795_463_807_458],
        ),
    ] = None
    reverse: Annotated[bool, Meta(description="Newest first, from `upto` downwards.")] = False
    limit: PageSize = 200


class Explain(Message, frozen=True):
    """The history of an image, a batch, or a number without an image: its events in order, lane events in between,
    what is still owed, and why it waits."""

    what: Annotated[
        str, Meta(min_length=1, max_length=600, description="Name, id or number.", examples=["Areg_opal-fever_image_1"])
    ]
    username: Annotated[
        Typed | None, Meta(description="Together with `character`: whose number `what` is.", examples=["Areg"])
    ] = None
    character: Annotated[Typed | None, Meta(description="Together with `username`.", examples=["Opal Fever"])] = None


class Unsubscribe(Message, frozen=True):
    """Ends a subscription of this connection."""

    subscription: Annotated[Word, Meta(description="From the answer to `subscribe`.", examples=["s1"])]


class ServerInfo(Message, frozen=True):
    """The state of the daemon, its lanes, backends and stores."""

    fits: Annotated[
        bool, Meta(description="Also say of each ComfyUI which configured workflows it can run: `fits` and `lacks`.")
    ] = False
