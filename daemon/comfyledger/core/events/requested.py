"""What was asked for: series, numbers and batches."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.core.events.event import BatchId, By, CausedBy, Event, Folder, Series, Words
from comfyledger.core.values import Evidence, ImageAt, ImageNamed, Origin, OutputNamed, Plan, PromptFixed, StoreRef


class SeriesOpened(Event, frozen=True):
    """A series begins. Before its first number was given, the stores were asked for the highest number of the series
    that they hold, unless `asked` is false."""

    series: Series
    folder: Folder
    next: Annotated[int, Meta(description="The first number that will be given.", examples=[58])]
    evidence: Annotated[tuple[Evidence, ...], Meta(description="What each store answered.")] = ()
    asked: Annotated[
        bool, Meta(description='Whether the stores were asked; false if `first_use = "trust"` skipped the question.')
    ] = True
    by: CausedBy = ""


class SeriesRaised(Event, frozen=True):
    """An import found that a store holds higher numbers of a series, or a restore raised the series above all numbers
    that may have been given after the backup."""

    series: Series
    folder: Folder
    next: Annotated[
        int,
        Meta(
            description="The number that will be given next. Lower numbers without a batch in this log were skipped.",
            examples=[58],
        ),
    ]
    evidence: Annotated[tuple[Evidence, ...], Meta(description="What was found in each place.")]
    reason: Annotated[str, Meta(description="Why: `import` or `restore`.", examples=["import"])]
    by: By


class BatchRequested(Event, frozen=True):
    """A batch was accepted: its numbers are given, its prompts are fixed and its stores are named. The app gets its
    answer after this event is on stable storage."""

    batch_id: BatchId
    label: By
    request_id: Annotated[str, Meta(description="The request id of the batch.", examples=["order-1001"])]
    request_digest: Annotated[
        str,
        Meta(
            description="Keyed digest of the request as sent, to detect another body under the same id.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ]
    username: Annotated[str, Meta(description="The user, as the client wrote it.", examples=["Areg"])]
    user_key: Annotated[str, Meta(description="The user with case folded; filters compare this.", examples=["areg"])]
    character: Annotated[str, Meta(description="The character, as the client wrote it.", examples=["Opal Fever"])]
    premade: Annotated[bool, Meta(description="Whether the character existed already, as in the request.")]
    series: Annotated[
        str,
        Meta(
            description="The series of the numbers of its first output.",
            examples=["areg/premade_characters/opal-fever/images/areg_opal-fever_image_"],
        ),
    ]
    workflow: Annotated[
        str, Meta(description="The configured name of the workflow, or empty.", examples=["text-to-image"])
    ]
    template: Annotated[
        str,
        Meta(
            description="Digest of the graph before seeds, batch size and prefix are filled in.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ]
    plan: Annotated[
        Plan,
        Meta(
            description="Where prefix, seeds, batch size and inputs go in the graph.",
            examples=[{"prefix": "9.filename_prefix", "seeds": ["3.seed"]}],
        ),
    ]
    images: Annotated[tuple[ImageNamed, ...], Meta(description="Every image with its number and name.")]
    prompts: Annotated[tuple[PromptFixed, ...], Meta(description="Every prompt with its images, seed and inputs.")]
    stores: Annotated[tuple[StoreRef, ...], Meta(description="Every store that the images go to.")]
    priority: Annotated[int, Meta(description="How urgent it is: 0 high, 1 normal, 2 low.", examples=[1])] = 1
    metadata: Annotated[
        str | None,
        Meta(
            description="Digest of tags and metadata.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = None
    outputs: Annotated[
        tuple[OutputNamed, ...],
        Meta(
            description="Every output with its series; empty in events of older releases, whose batches have "
            "one output. Images take turns: the first image belongs to the first output, the "
            "second image to the next output."
        ),
    ] = ()
    unchecked: Annotated[
        bool,
        Meta(
            description="True if ComfyUI could not be asked, so that the workflow was not checked against "
            "ComfyUI's node classes. The workflow is then checked before a prompt is sent."
        ),
    ] = False
    origin: Annotated[
        Origin | None,
        Meta(
            description="The image that the request named in `like`, so that its recipe is used again; null "
            "if it named none."
        ),
    ] = None
    needs: Annotated[
        tuple[str, ...],
        Meta(description="Tags that a ComfyUI must have to render it.", examples=[["flux"]]),
    ] = ()
    backend: Annotated[
        str,
        Meta(description="The only ComfyUI that may render it; empty if any may.", examples=["big"]),
    ] = ""
    webhook: Annotated[
        str, Meta(description="The webhook that the request names; empty if it names none.", examples=["apps"])
    ] = ""
    webhook_url: Annotated[
        str,
        Meta(
            description="The address that the request gives for this webhook; empty for the webhook's own.",
            examples=["https://app.example/hooks/order-1001"],
        ),
    ] = ""


class BatchHeld(Event, frozen=True):
    """Nothing new of the batch goes to ComfyUI until a person runs `resume batch:ID` or `retry`."""

    batch_id: BatchId
    reason: Annotated[
        str,
        Meta(
            description="Why: `person` (`pause`), `removed` or `interrupted` (somebody removed or interrupted "
            "a prompt at ComfyUI's own page), `failing` (the first three prompts all failed "
            "alike), or `unfit` (ComfyUI would refuse the workflow, for example because ComfyUI "
            "lacks a node class or a model).",
            examples=["removed"],
        ),
    ]
    by: CausedBy = ""
    images: Annotated[
        tuple[int, ...],
        Meta(description="For `unfit`: indexes of the images whose prompt was checked.", examples=[[1, 2]]),
    ] = ()
    words: Words = None


class BatchResumed(Event, frozen=True):
    """A held batch continues."""

    batch_id: BatchId
    by: CausedBy = ""


class BatchPrioritized(Event, frozen=True):
    """A client made a batch more or less urgent. Prompts that wait change their place; prompts that are at ComfyUI
    already stay there."""

    batch_id: BatchId
    priority: Annotated[int, Meta(description="How urgent it is now: 0 high, 1 normal, 2 low.", examples=[0])]
    by: By


class BatchCancelled(Event, frozen=True):
    """A whole batch was given up; `image_cancelled` names the images."""

    batch_id: BatchId
    by: By


class BatchSettled(Event, frozen=True):
    """No image of the batch is pending or kept any more. After `batch_reopened` this event comes again."""

    batch_id: BatchId
    stored: Annotated[int, Meta(description="Images in every store.", examples=[1])]
    parked: Annotated[int, Meta(description="Images that a store refused, or that wait for a person.", examples=[0])]
    failed: Annotated[int, Meta(description="Images that could not be rendered.", examples=[0])]
    cancelled: Annotated[int, Meta(description="Images that were given up.", examples=[0])]
    forgotten: Annotated[int, Meta(description="Images that were forgotten.", examples=[0])] = 0


class BatchReopened(Event, frozen=True):
    """`retry` or `recover` tries images again, under their own numbers. The prompts of images that failed as
    `input_failed` look for their sources anew."""

    batch_id: BatchId
    by: By
    render: Annotated[tuple[int, ...], Meta(description="Prompts to run again.", examples=[[1]])] = ()
    images: Annotated[tuple[int, ...], Meta(description="Images that wait for these prompts.", examples=[[1, 2]])] = ()
    upload: Annotated[tuple[int, ...], Meta(description="Images to be stored again.", examples=[[2]])] = ()
    source: Annotated[
        ImageAt | None,
        Meta(
            description="The image that these are made from and that is tried again, so they are too; null if they were"
            " asked for themselves. A held batch stays held then."
        ),
    ] = None
