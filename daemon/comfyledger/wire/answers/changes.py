"""Answers that say what a request changed, and what a store holds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

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
