"""What became of input files, and of images that other prompts load."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.events.event import BatchId, By, CausedBy, Event, PromptIndex
from comfyledger.core.values import Extension, Height, HowChecked, LoadedFile, Width

InputSha256 = Annotated[
    str,
    Meta(
        description="SHA-256 of the bytes of the input, in hexadecimal.",
        examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
    ),
]
InputBytes = Annotated[int, Meta(description="Size of the file in bytes.", examples=[165_514])]
Backend = Annotated[
    str,
    Meta(description="The ComfyUI, by its name in the configuration.", examples=["main"]),
]


class InputAdded(Event, frozen=True):
    """A client uploaded an input file. Its bytes are checked and on stable storage. The same bytes are the same input;
    the event comes again for another label, when the daemon had erased them, when a file that was missing is found
    again at a start, and when they are added again after five minutes or more: then the time that they stay begins
    anew."""

    sha256: InputSha256
    size_bytes: InputBytes
    extension: Extension
    width: Width
    height: Height
    by: By
    checked: HowChecked = "whole"
    box: Annotated[str, Meta(description="The box whose folder has it; empty without a fleet.", examples=["north"])] = (
        ""
    )


class InputSent(Event, frozen=True):
    """The bytes are about to be uploaded to a ComfyUI for the first time. The event is durable before the call, so it
    is known where a copy may be."""

    sha256: InputSha256
    size_bytes: InputBytes
    extension: Extension
    backend: Backend
    name: Annotated[
        str,
        Meta(
            description="The name below ComfyUI's input folder, made from the bytes.",
            examples=["comfyledger/47/478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15.png"],
        ),
    ]


class InputForgotten(Event, frozen=True):
    """A person ran `forget` for an input, or for the image or the last batch that it belongs to; or the image was lost,
    and is made again. Once no label has it, no new batch may use it, and it is erased when no open batch needs it any
    more."""

    sha256: InputSha256
    labels: Annotated[
        tuple[str, ...],
        Meta(description="The labels that do not have it any more; empty for an image.", examples=[["my-app"]]),
    ]
    by: CausedBy = ""


class InputErased(Event, frozen=True):
    """No open batch needs the input, and the daemon removes its bytes; or they are gone. If it was forgotten, its
    copies at every ComfyUI are removed too; `input_removed` says when that is done."""

    sha256: InputSha256
    reason: Annotated[
        Literal["forgotten", "expired", "quota", "missing"],
        Meta(
            description="Why: `forgotten`, `expired` (unused for `keep_days`), `quota` (others needed its room; "
            "`quota_bytes`), or `missing` (its file was not there at a start of the daemon)."
        ),
    ]


class InputRemoved(Event, frozen=True):
    """The bytes of an input are gone from one place; or a person gave the place up: `recover --drop-comfyui`."""

    sha256: InputSha256
    backend: Annotated[
        str,
        Meta(description="The ComfyUI; empty for the daemon's own folder of inputs.", examples=["main"]),
    ] = ""
    found: Annotated[
        bool, Meta(description="Whether they were there until then; false also if the place was given up.")
    ] = True
    name: Annotated[
        str,
        Meta(
            description="The name below ComfyUI's input folder; empty for the daemon's own folder.",
            examples=["comfyledger/47/478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15.png"],
        ),
    ] = ""
    given_up: Annotated[bool, Meta(description="Whether a person gave the place up, so that nobody removed them.")] = (
        False
    )
    by: CausedBy = ""


class SourcesFixed(Event, frozen=True):
    """The images that a prompt is made from have their bytes. Each attempt uses just these."""

    batch_id: BatchId
    prompt: PromptIndex
    loads: Annotated[tuple[LoadedFile, ...], Meta(description="All files that the prompt loads, each with its sha256.")]
