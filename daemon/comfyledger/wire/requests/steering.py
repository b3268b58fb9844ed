"""Requests that change what goes on: cancel, retry, recover, forget, pause, and what a store holds already."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.values import RATING_MAX, VerdictAsked
from comfyledger.wire.requests.parts import BatchId, Limit, Message, Moment, Position, Priority, Typed, Word

Take = Literal["first", "last", "all"]
Index = Annotated[int, Meta(ge=1, le=2**31 - 1)]
NamePart = Annotated[str, Meta(max_length=255)]
Indexes = Annotated[list[Index], Meta(max_length=10_000)]
Scope = Annotated[str, Meta(max_length=1_100)]
ImagesAsked = Annotated[Indexes, Meta(description="Indexes in the batch, from 1. Empty means all.", examples=[[2]])]
StoreAsked = Annotated[Word, Meta(description="Its name in the configuration.", examples=["folder"])]


class Cancel(Message, frozen=True):
    """Gives up what is not rendered yet: a whole batch, or some of its images. Kept images still go to their stores,
    and stored images stay. Numbers stay used."""

    batch_id: Annotated[str, Meta(description="The batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
    images: ImagesAsked = []


class Retry(Message, frozen=True):
    """Tries again what failed, was parked or is held, under the same numbers. Refused with `nothing_to_do` if there is
    nothing to try, and with `take_missing` if a person must first choose files with `take`."""

    batch_id: Annotated[str, Meta(description="The batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
    images: ImagesAsked = []
    take: Annotated[Take | None, Meta(description="Which files to use, if a run gave more files than images.")] = None


class SetPriority(Message, frozen=True):
    """Makes a batch more or less urgent. Its prompts that wait change their place; prompts that are at ComfyUI already
    stay there. The same priority again changes nothing. Refused with `nothing_to_do` if the batch is settled."""

    batch_id: Annotated[str, Meta(description="The batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
    priority: Annotated[
        Priority, Meta(description="How urgent it is from now on, compared with other batches.", examples=["high"])
    ]


class Recover(Message, frozen=True):
    """Tries again what is parked, failed or missing, a page of images at a time, newest batch first. Send the request
    again with the `cursor` of the answer, until `cursor` is empty."""

    drop_store: Annotated[
        Word | None,
        Meta(description="The store to give up, whether it is still configured or not.", examples=["old-disk"]),
    ] = None
    dry_run: Annotated[bool, Meta(description="Say what would be done, and change nothing.")] = False
    batch_id: Annotated[
        BatchId | None, Meta(description="Only images of this batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])
    ] = None
    username: Annotated[Typed | None, Meta(description="Only images of this user's batches.", examples=["Areg"])] = None
    store: Annotated[
        Word | None,
        Meta(
            description="Only what is owed to this store. The store must be configured. With `store`, nothing is "
            "rendered again.",
            examples=["folder"],
        ),
    ] = None
    code: Annotated[
        Word | None, Meta(description="Only what was parked or failed with this code.", examples=["collision"])
    ] = None
    since_position: Annotated[
        Position | None,
        Meta(
            description="Only batches that were requested at this position or later. With `store`, images that were "
            "never meant for this store are uploaded to it, too.",
            examples=[1200],
        ),
    ] = None
    since_ms: Annotated[
        Moment | None,
        Meta(
            description="Only batches that were requested at this time or later, in milliseconds since 1970, UTC. "
            "With `store`, the same as for `since_position`.",
            examples=[1_795_377_407_458],
        ),
    ] = None
    missing: Annotated[
        bool,
        Meta(
            description="Ask the stores what they hold. Missing files are uploaded again; files with other bytes are "
            "only reported."
        ),
    ] = False
    new_number: Annotated[
        bool,
        Meta(
            description="Give images parked with `collision` the next numbers of their series, instead of trying the "
            "same numbers again."
        ),
    ] = False
    cursor: Annotated[
        str, Meta(max_length=100, description="From the previous answer.", examples=["eyJiIjoiMDFNOCJ9"])
    ] = ""
    limit: Annotated[Limit, Meta(description="How many images one request checks.", examples=[50])] = 100
    drop_comfyui: Annotated[
        Word | None,
        Meta(
            description="A ComfyUI that is not configured any more, to give up: the input files that it has are not "
            "removed there.",
            examples=["old"],
        ),
    ] = None


class Forget(Message, frozen=True):
    """Erases texts and files: of a batch, of some of its images, or of all batches of a user."""

    batch_id: Annotated[
        BatchId | None,
        Meta(description="The batch. Either this or `username`.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"]),
    ] = None
    images: ImagesAsked = []
    username: Annotated[Typed | None, Meta(description="The user, ignoring case.", examples=["Areg"])] = None
    before: Annotated[
        BatchId | None,
        Meta(
            description="With `username`: continue after this batch. Give the `before` of the last answer.",
            examples=["01M82DA9EJBQZAAZJR4D2RM95D"],
        ),
    ] = None
    stores: Annotated[bool, Meta(description="Also ask the stores to delete their files.")] = False
    dry_run: Annotated[bool, Meta(description="Only count; change nothing.")] = False


class Review(Message, frozen=True):
    """Approves, rejects or rates images, or takes that back. Give `verdict`, `rating` or both; what is missing stays as
    it is. Either all images are reviewed or none: if one has no file, the request is refused with `no_file`. What has
    these values already is left as it is, so a repeat changes nothing."""

    images: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=1_024)]],
        Meta(
            min_length=1,
            max_length=500,
            description="The images: each by its public id or as `<batch_id>/<index>`.",
            examples=[["01M82DA9EJBQZAAZJR4D2RM95D/1"]],
        ),
    ]
    verdict: Annotated[
        VerdictAsked | None, Meta(description="The verdict; `none` takes one back.", examples=["approved"])
    ] = None
    rating: Annotated[
        Annotated[int, Meta(ge=0, le=RATING_MAX)] | None,
        Meta(description="From 1 to 5; 0 takes a rating back.", examples=[4]),
    ] = None
    forget: Annotated[
        bool,
        Meta(
            description="With the verdict `rejected`: also forget the images, as `forget` does. Needs the right "
            "`admin`. First all images are rejected, then they are forgotten, batch by batch. After an interruption, "
            "repeat the request: it goes on where it stopped."
        ),
    ] = False
    stores: Annotated[bool, Meta(description="With `forget`: also ask the stores to delete their files.")] = False


class Pause(Message, frozen=True):
    """Stops new work. Prompts that are already at ComfyUI run to their end. Pausing twice is not an error."""

    scope: Annotated[
        Scope,
        Meta(
            description="What to pause: `everything`, `backend:NAME`, `store:NAME`, `user:NAME`, `batch:ID` or "
            "`webhook:NAME`.",
            examples=["user:Areg"],
        ),
    ] = "everything"


class Resume(Message, frozen=True):
    """Undoes a pause, or lets a held batch continue. Refused with `nothing_to_do` if the scope is neither paused nor
    held. A lane in trouble resumes by itself when it works; `resume` has it tried now."""

    scope: Annotated[
        Scope,
        Meta(
            description="What to resume: `everything`, `backend:NAME`, `store:NAME`, `user:NAME`, `batch:ID` or "
            "`webhook:NAME`.",
            examples=["user:Areg"],
        ),
    ] = "everything"


class Move(Message, frozen=True):
    """Pauses a ComfyUI, and gives the prompts that it has to others. What it is rendering is cancelled there, also
    later if it does not answer now. A repeat moves what has stayed, if it may go elsewhere now."""

    scope: Annotated[Scope, Meta(description="Which ComfyUI: `backend:NAME`.", examples=["backend:main"])]


class SurveyStore(Message, frozen=True):
    """One page of the files that a store holds already, grouped into series by the naming templates. The request makes
    one call to the store and changes nothing there."""

    store: StoreAsked
    prefix: Annotated[
        str,
        Meta(max_length=1_024, description="Only files in this folder or below. Empty means all.", examples=["Areg"]),
    ] = ""
    cursor: Annotated[
        str,
        Meta(
            max_length=4_096,
            description="From the previous page; empty for the first. Still valid after a restart.",
            examples=["eyJiIjoiMDFNOCJ9"],
        ),
    ] = ""


class SeriesFound(Message, frozen=True):
    """A series that a store holds, in `raise_series`. An entry that is not a series under the naming templates is
    refused with `invalid_field`."""

    folder: Annotated[
        NamePart, Meta(description="The folder of its images.", examples=["Areg/premade_characters/opal-fever/images"])
    ]
    stem: Annotated[NamePart, Meta(description="The file name before the number.", examples=["Areg_opal-fever_image_"])]
    highest: Annotated[int, Meta(ge=1, le=10**15 - 1, description="The highest number found.", examples=[57])]
    suffix: Annotated[NamePart, Meta(description="The file name after the number.", examples=[".final"])] = ""
    counts: Annotated[
        bool,
        Meta(
            description="`false` if all numbers that were found are ignored as outliers. Then `highest` is ignored, "
            "too."
        ),
    ] = True


class RaiseSeries(Message, frozen=True):
    """Makes series continue above the numbers that a store holds, so that their first batch need not ask this store.
    Numbers are never lowered, and a repeat changes nothing."""

    store: StoreAsked
    found: Annotated[
        list[SeriesFound],
        Meta(min_length=1, max_length=500, description="The series that the store holds, at least one."),
    ]
