"""The small values that commands, reports, events and rows are made of. Plain data; no rules live here."""

from __future__ import annotations

import hashlib
import uuid
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from comfyledger.core.media import Medium

NUMBER_MAX = 10**15 - 1
SEED_MAX = 2**53 - 1
"""The largest seed that a request may give: what every JSON reader keeps exactly (RFC 8259, section 6)."""
SEED_MADE_UP_MAX = 2**31 - 1
"""The largest seed that is made up: 104 seed inputs of ComfyUI 0.29.0 and those of many custom nodes take no larger."""

Checked = Literal["whole", "structure", "length"]
"""How far a file was proved: all of its pixels, or only what holds them, where they would take too much memory."""

Verdict = Literal["approved", "rejected"]
"""What a person thinks of an image. An image without a verdict has an empty one."""
VerdictAsked = Literal["approved", "rejected", "none"]
"""A verdict to give; `none` takes it back."""
RATING_MAX = 5

PROMPT_NAMESPACE = uuid.UUID("9a3a9f62-6f0c-5c4e-9d0e-1d1f6c3b7e55")
IDS_KEPT = 4_096
"""The prompt_ids that were asked for last are kept: an attempt's is asked for three times."""


class Blob(msgspec.Struct, frozen=True, gc=False):
    """Text that can be forgotten. Events hold `digest` alone; content and salt lie beside the log and can be erased."""

    digest: str
    salt: bytes
    content: bytes
    key: str = ""
    """By which an equal content is found again instead of being kept twice; erased together with the content."""


def blob_of(content: bytes, salt: bytes, key: str = "") -> Blob:
    """The blob of a content. Without the salt, a short text could be guessed from its digest."""
    return Blob(hashlib.sha256(salt + content).hexdigest(), salt, content, key)


class StoreRef(msgspec.Struct, frozen=True, gc=False):
    """A store of the batch."""

    name: Annotated[str, Meta(description="Its name in the configuration.", examples=["folder"])]
    identity: Annotated[
        str, Meta(description="The identity of the store: which place it was.", examples=["folder:/srv/images"])
    ]


OutputPlace = Annotated[
    int,
    Meta(
        description="The output that it comes from: its place among the outputs of the batch, from 1.",
        examples=[1],
    ),
]


class ImageNamed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An image with its number and name."""

    index: Annotated[int, Meta(description="Its index in the batch, from 1.", examples=[1])]
    number: Annotated[int, Meta(description="Its number in the series.", examples=[1])]
    folder: Annotated[
        str,
        Meta(
            description="The folder, as written, case not folded.",
            examples=["Areg/premade_characters/opal-fever/images"],
        ),
    ]
    file: Annotated[
        str, Meta(description="The file name as written, without extension.", examples=["Areg_opal-fever_image_1"])
    ]
    prompt: Annotated[int, Meta(description="The prompt that renders it, from 1.", examples=[1])]
    output: OutputPlace = 1

    @property
    def public_id(self) -> str:
        return f"{self.folder}/{self.file}"


class OutputNamed(msgspec.Struct, frozen=True, gc=False):
    """An output of a batch: a node of the graph whose files become images."""

    node: Annotated[str, Meta(description="The id of the node in the graph.", examples=["9"])]
    medium: Annotated[
        Medium, Meta(description="The medium that its files are expected to have, as it stands in their names.")
    ]
    series: Annotated[
        str,
        Meta(
            description="The series of the numbers of its images.",
            examples=["areg/premade_characters/opal-fever/images/areg_opal-fever_image_"],
        ),
    ]


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The image whose recipe a batch was made from."""

    batch_id: Annotated[str, Meta(description="The batch of the image.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
    image: Annotated[int, Meta(description="Index of the image in its batch, from 1.", examples=[1])]


class ImageAt(msgspec.Struct, frozen=True, gc=False):
    """An image of the ledger. Its number and name may change, this does not."""

    batch_id: Annotated[str, Meta(description="Its batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
    image: Annotated[int, Meta(description="Its index in the batch, from 1.", examples=[1])]


class LoadedFile(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A file that a prompt loads: an input, or an earlier image as its source. Of a source the bytes are not known
    until they are used."""

    at: Annotated[str, Meta(description="The input of the graph that gets its name.", examples=["5.image"])]
    source: Annotated[ImageAt | None, Meta(description="The image that it is; null for an input.")] = None
    sha256: Annotated[
        str,
        Meta(
            description="SHA-256 of its bytes, in hexadecimal; empty for a source that was not used yet.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = ""
    extension: Annotated[str, Meta(description="What the bytes are.", examples=["png"])] = ""
    size_bytes: Annotated[int, Meta(description="How many bytes they are.", examples=[165_514])] = 0


class PromptFixed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A prompt: what ComfyUI renders in one run. It never changes."""

    index: Annotated[int, Meta(description="The prompt, from 1.", examples=[1])]
    images: Annotated[
        tuple[int, ...], Meta(description="Indexes of its images, in the order of ComfyUI's files.", examples=[[1, 2]])
    ]
    seed: Annotated[int, Meta(description="The seed of the run, 0 to 2^53-1.", examples=[7])]
    backend: Annotated[
        str,
        Meta(
            description="Always empty: which ComfyUI renders a prompt is chosen when it is sent. Older releases "
            "named one here.",
            examples=[""],
        ),
    ] = ""
    inputs: Annotated[
        str | None,
        Meta(
            description="Digest of its inputs, by node address.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = None
    loads: Annotated[tuple[LoadedFile, ...], Meta(description="The files that its graph loads.")] = ()
    depth: Annotated[
        int,
        Meta(
            description="How many images in a row it is made from: 0 without a source, else one more than the deepest"
            " of its sources.",
            examples=[1],
        ),
    ] = 0
    models: Annotated[
        str,
        Meta(
            description="Keyed digest of the names of the models that it loads; empty if it names none. One ComfyUI "
            "gets prompts with equal models one after the other.",
            examples=["5f1c9e07ab34d2c8"],
        ),
    ] = ""


class OutputFile(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A file, as ComfyUI's `/view` names it."""

    filename: Annotated[str, Meta(description="The name of the file.", examples=["1-a1_00001_.png"])]
    subfolder: Annotated[
        str,
        Meta(
            description="Its folder, below ComfyUI's output folder.",
            examples=["comfyledger/01m82da9ejbqzaazjr4d2rm95d"],
        ),
    ]
    type: Annotated[str, Meta(description="Which of ComfyUI's folders the file is in: `output`.", examples=["output"])]
    output: OutputPlace = 1


Sha256 = Annotated[
    str,
    Meta(
        description="SHA-256 of the bytes that all stores get, in hexadecimal.",
        examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
    ),
]
Md5 = Annotated[
    str, Meta(description="MD5 of the same bytes, in hexadecimal.", examples=["ec93c7d7d388a6ac303c5f775994b3df"])
]
FileBytes = Annotated[int, Meta(description="Size of the file in bytes.", examples=[165_514])]
Width = Annotated[int, Meta(description="Width in pixels.", examples=[512])]
Height = Annotated[int, Meta(description="Height in pixels.", examples=[512])]
Extension = Annotated[
    str,
    Meta(
        description="What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.",
        examples=["png"],
    ),
]
HowChecked = Annotated[
    Checked,
    Meta(
        description="How far the file was checked: `whole`; `structure` if the parts were checked but the "
        "content was not decoded; `length` if only its length could be compared."
    ),
]


class Pinned(msgspec.Struct, frozen=True, gc=False):
    """A checked file, with the bytes that every store gets."""

    image: Annotated[int, Meta(description="The place of the file among those of its run, from 1.", examples=[1])]
    sha256: Sha256
    md5: Md5
    size_bytes: FileBytes
    width: Width
    height: Height
    extension: Extension
    checked: HowChecked = "whole"


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What was found in one place: a store, or the old ledger of a restore."""

    store: Annotated[
        str, Meta(description="The store's name in the configuration, or `old ledger`.", examples=["folder"])
    ]
    identity: Annotated[
        str, Meta(description="The identity of the store: which place it was.", examples=["folder:/srv/images"])
    ]
    highest: Annotated[int, Meta(description="The highest number found, 0 for none.", examples=[57])]


WAITING_FIRST = 10**9
FILES_MAX = 10_000
"""Of one prompt; no history of ComfyUI's is read further."""


def waiting_index(prompt: int, place: int) -> int:
    """The index under which the spool keeps a prompt's file (from 1) that is not assigned to an image yet.

    It is above the index of any image.
    """
    return WAITING_FIRST + prompt * FILES_MAX + place


def waiting_indexes(prompt: int) -> range:
    """All indexes under which files of a prompt may wait."""
    return range(waiting_index(prompt, 1), waiting_index(prompt + 1, 0))


MoveReason = Literal["away", "person", "removed", "replaced", "overtaken"]
"""Why an attempt was left behind."""
StrayOutcome = Literal["used", "late", "gone", "given_up"]
"""What became of an attempt that was left behind."""

Take = Literal["first", "last", "all"]
"""Which of too many files a person takes."""

Plan = dict[str, Any]
"""Where a graph takes prefix, seed, batch size and inputs, as `comfyui.graph` found it. The core only carries it and
reads the ids of its outputs, and whether it has secrets."""


def output_nodes(plan: Plan) -> tuple[str, ...]:
    """The ids of the nodes of a plan whose files become images, in their order. At least one."""
    several = tuple(output["node"] for output in plan.get("outputs", ()))
    return several or (plan.get("output", ""),)


def has_secrets(plan: Plan) -> bool:
    """Whether secrets are filled into the graph when it is sent."""
    return bool(plan.get("secrets"))


def image_id(batch_id: str, index: int) -> str:
    return f"{batch_id}/{index}"


@lru_cache(maxsize=IDS_KEPT)
def prompt_uuid(batch_id: str, prompt: int, attempt: int) -> str:
    """ComfyUI's prompt_id of an attempt: the same for ever, so that a lost answer can be looked up."""
    return str(uuid.uuid5(PROMPT_NAMESPACE, f"{batch_id}/{prompt}/{attempt}"))


def backend_lane(name: str) -> str:
    return f"backend/{name}"


def store_lane(name: str) -> str:
    return f"store/{name}"


USER_LANES = "user/"
"""What the lanes of users begin with."""


def user_lane(user_key: str) -> str:
    return f"{USER_LANES}{user_key}"


EVERYTHING = "everything"
"""The lane that `pause` without a scope pauses."""
SPOOL = "spool"
"""The lane that is paused while the spool's disk has no room for new prompts. No call uses it, so nothing probes it."""

INPUTS = "inputs"
"""The lane of the removal of input files from the daemon's own folder."""


def lane_at(lane: str, box: str) -> str:
    """The lane of a trouble: that of a store, of the spool and of the inputs is of one box of a fleet. A person's pause
    of a store holds for all boxes. `box`: empty without a fleet.
    """
    return f"{lane}@{box}" if box and _is_of_a_box(lane) else lane


def lane_and_box(name: str) -> tuple[str, str]:
    """What `lane_at` was given; the box is empty for a lane that is of no box."""
    lane, at, box = name.rpartition("@")
    return (lane, box) if at and _is_of_a_box(lane) else (name, "")


def _is_of_a_box(lane: str) -> bool:
    return lane.startswith("store/") or lane in {SPOOL, INPUTS}
