"""Answers that say what a request changed, and what a store holds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.answers.batches import ImageInfo
from comfyledger.wire.answers.parts import Answer


class ChangedCount(Answer, frozen=True):
    """How many images a command changed."""

    images: Annotated[
        int,
        Meta(
            description="How many images were changed. For `retry`, with those of the same label that failed because "
            "these did. For `pause` and `resume` of a batch: how many are pending. For "
            "any other scope: 0.",
            examples=[2],
        ),
    ]
    left: Annotated[
        dict[str, int], Meta(description="How many images were left unchanged, by state.", examples=[{"stored": 1}])
    ] = {}
    tried: Annotated[
        bool,
        Meta(
            description="For `resume`: the lane does not work, and is tried now instead of later. It goes on if it "
            "works."
        ),
    ] = False


class Moved(Answer, frozen=True):
    """What left a ComfyUI, and what stays there."""

    moved: Annotated[int, Meta(description="How many prompts others get now.", examples=[2])]
    stays: Annotated[
        dict[str, int],
        Meta(
            description="How many prompts stay, by reason: `pinned` (the request names this ComfyUI), `suspect` (it "
            "was running when a ComfyUI went away), `nowhere` (no other ComfyUI that works may take it), `choice` (a "
            "person chose among its files, which are still to be fetched), `fetching` (it has finished, and its files "
            "are being fetched) and `cancelling`.",
            examples=[{"pinned": 1}],
        ),
    ] = {}
    hint: Annotated[
        str,
        Meta(
            description="What to do about those that stay, and how the ComfyUI gets work again.",
            examples=["`comfyledger resume backend:main` gives it work again."],
        ),
    ] = ""


class AddedBackend(Answer, frozen=True):
    """A ComfyUI that a client added, as the daemon uses it."""

    name: Annotated[str, Meta(description="Its name.", examples=["gpu-7"])]
    url: Annotated[str, Meta(description="Its address, in one spelling.", examples=["http://gpu-7.example:8188"])]
    tags: Annotated[list[str], Meta(description="Its tags.", examples=[["flux"]])]
    ttl_s: Annotated[
        int, Meta(description="Seconds after which it is removed unless it is added again; 0 for never.", examples=[60])
    ]
    queue_depth: Annotated[int, Meta(description="Our prompts in its queue; 0 leaves it to the daemon.", examples=[2])]
    changed: Annotated[bool, Meta(description="Whether it is new or has other values than before.")]


class RemovedBackend(Answer, frozen=True):
    """A ComfyUI that is used no more."""

    name: Annotated[str, Meta(description="Its name.", examples=["gpu-7"])]
    prompts: Annotated[
        int | None,
        Meta(
            description="How many prompts it had. Others get what they may take, the rest waits. `null` for a token "
            "that sees only its own work.",
            examples=[1],
        ),
    ]


class GivenUpBox(Answer, frozen=True):
    """A box that nobody waits for any more."""

    name: Annotated[str, Meta(description="The name of the box.", examples=["north"])]
    changed: Annotated[bool, Meta(description="Whether it was waited for until now.")]


class RecoveryStep(Answer, frozen=True):
    """What is done with some images of a page."""

    kind: Annotated[
        str,
        Meta(
            description="What is done: `upload` (the store refused it: tried again), `render` (rendered again), "
            "`missing` (the store lost it: uploaded again), `fill` (the store never had it: uploaded "
            "now), `renumber` (a new number). Only reported: `different` (the store holds other bytes) "
            "and `elsewhere` (the store is not configured, or is another place now).",
            examples=["upload"],
        ),
    ]
    images: Annotated[int, Meta(description="How many images.", examples=[2])]
    store: Annotated[str, Meta(description="The store; empty for `render`.", examples=["folder"])] = ""
    code: Annotated[str, Meta(description="Why the images were parked or failed.", examples=["collision"])] = ""
    examples: Annotated[
        list[str],
        Meta(
            description="The first few public ids, at most 5.",
            examples=[["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"]],
        ),
    ] = []


class Recovered(Answer, frozen=True):
    """How many images and batches were recovered or given up, or would be."""

    batches: Annotated[int, Meta(description="How many batches were changed, on this page.", examples=[2])]
    images: Annotated[int, Meta(description="How many images of these batches were changed.", examples=[2])]
    dry_run: Annotated[bool, Meta(description="Whether this was a dry run: nothing was changed.")] = False
    steps: Annotated[
        list[RecoveryStep], Meta(description="What was done or would be done, and what is only reported.")
    ] = []
    looked_at: Annotated[int, Meta(description="How many images this page checked, in any state.", examples=[100])] = 0
    cursor: Annotated[str, Meta(description="For the next page; empty at the end.", examples=["eyJiIjoiMDFNOCJ9"])] = ""
    inputs: Annotated[
        int, Meta(description="How many copies of input files were given up with `drop_comfyui`.", examples=[3])
    ] = 0


class Forgotten(Answer, frozen=True):
    """What was forgotten, or would be."""

    batches: Annotated[int, Meta(description="In how many batches something was forgotten.", examples=[2])]
    images: Annotated[int, Meta(description="How many images of these batches were forgotten.", examples=[2])]
    texts: Annotated[
        int, Meta(description="How many texts were erased from the ledger; not counted in a dry run.", examples=[5])
    ] = 0
    deletions: Annotated[int, Meta(description="How many files the stores are asked to delete.", examples=[16])] = 0
    left: Annotated[
        dict[str, int],
        Meta(
            description="How many images each store keeps, because it was not asked to delete them.",
            examples=[{"folder": 2}],
        ),
    ] = {}
    before: Annotated[
        str, Meta(description="For the next page of a user; empty at the end.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])
    ] = ""
    dry_run: Annotated[bool, Meta(description="Whether this was a dry run: nothing was changed.")] = False
    inputs: Annotated[
        int,
        Meta(
            description="How many input files were forgotten too, because nothing else was made from them, and copies "
            "of these images that ComfyUI loads; not counted in a dry run.",
            examples=[1],
        ),
    ] = 0


class Reviewed(Answer, frozen=True):
    """Images after a review."""

    changed: Annotated[
        int, Meta(description="How many images have another verdict or rating than before.", examples=[1])
    ]
    images: Annotated[
        list[ImageInfo], Meta(description="The images as they are now: in the order of the request, each once.")
    ]
    forgotten: Annotated[Forgotten | None, Meta(description="With `forget`: what was forgotten by this request.")] = (
        None
    )


class SeriesHeld(Answer, frozen=True):
    """A series as one page shows it. Other pages may show more files of it."""

    folder: Annotated[
        str,
        Meta(
            description="The folder, as written in the store.", examples=["Areg/premade_characters/opal-fever/images"]
        ),
    ]
    stem: Annotated[str, Meta(description="The file name before the number.", examples=["Areg_opal-fever_image_"])]
    highest: Annotated[
        int, Meta(description="The highest number. A number has 1 to 15 digits, each 0 to 9.", examples=[57])
    ]
    second: Annotated[int, Meta(description="The second highest number; 0 if there is none.", examples=[56])]
    images: Annotated[int, Meta(description="How many files of the series are on this page.", examples=[2])]
    suffix: Annotated[str, Meta(description="The file name after the number.", examples=[".final"])] = ""
    extremes: Annotated[
        tuple[int, ...],
        Meta(
            description="For each length in digits, the lowest and the highest number of that length. This is enough "
            "to find an outlier. Empty if these numbers are just `highest` and `second`.",
            examples=[[1, 9, 10, 57]],
        ),
    ] = ()


class Survey(Answer, frozen=True):
    """A page of what a store holds, by series."""

    found: Annotated[list[SeriesHeld], Meta(description="The series that the page's files belong to.")]
    files: Annotated[int, Meta(description="How many files the page has.", examples=[60])]
    others: Annotated[int, Meta(description="How many files have names that do not fit the templates.", examples=[3])]
    cursor: Annotated[str, Meta(description="For the next page; empty at the end.", examples=["eyJiIjoiMDFNOCJ9"])] = ""


class SeriesRaised(Answer, frozen=True):
    """What became of the series of a `raise_series`."""

    opened: Annotated[int, Meta(description="How many series the ledger did not know.", examples=[1])]
    raised: Annotated[
        int,
        Meta(
            description="How many known series changed: their next number was raised, or this store's answer was "
            "recorded.",
            examples=[0],
        ),
    ]
    unchanged: Annotated[int, Meta(description="How many series stayed as they were.", examples=[0])]
