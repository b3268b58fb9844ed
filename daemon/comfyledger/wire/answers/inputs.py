"""Input files: what apps gave for workflows to load."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.wire.answers.parts import Answer


class InputInfo(Answer, frozen=True):
    """An input file."""

    input: Annotated[
        str,
        Meta(
            description='Its name: `sha256:` and its digest. Requests use it as `{"input": NAME}`.',
            examples=["sha256:478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ]
    size_bytes: Annotated[int, Meta(description="How many bytes it has.", examples=[165_514])]
    extension: Annotated[str, Meta(description="What its bytes are, as an extension.", examples=["png"])]
    medium: Annotated[Medium, Meta(description="What kind of file it is.")]
    width: Annotated[int, Meta(description="Its width in pixels; 0 if unknown.", examples=[768])] = 0
    height: Annotated[int, Meta(description="Its height in pixels; 0 if unknown.", examples=[512])] = 0
    new: Annotated[
        bool, Meta(description="Of an answer to an upload: whether this client did not have the file before.")
    ] = False
    labels: Annotated[
        list[str],
        Meta(
            description="The clients that have it, as far as the token sees them. An answer to an upload names none.",
            examples=[["my-app"]],
        ),
    ] = []
    added_at_ms: Annotated[
        int,
        Meta(
            description="When it was added last, in milliseconds since 1970, UTC; 0 in an answer to an upload.",
            examples=[1_795_377_407_458],
        ),
    ] = 0


class Inputs(Answer, frozen=True):
    """A page of input files."""

    inputs: Annotated[list[InputInfo], Meta(description="Newest first.")]
    more: Annotated[bool, Meta(description="Whether another page follows.")]
    next_cursor: Annotated[
        str,
        Meta(
            description="Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.",
            examples=["1795377407458-478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = ""


class InputsHeld(Answer, frozen=True):
    """The input files that the daemon keeps, and what is still to be removed of others."""

    files: Annotated[int, Meta(description="How many files it keeps.", examples=[12])]
    size_bytes: Annotated[int, Meta(description="How many bytes they have.", examples=[1_288_490_188])]
    quota_bytes: Annotated[int, Meta(description="How many bytes they may have.", examples=[21_474_836_480])]
    removals: Annotated[
        dict[str, int],
        Meta(
            description="How many files are still to be removed: by the name of the ComfyUI, or under an empty name in "
            "the daemon's own folder.",
            examples=[{"main": 1}],
        ),
    ] = {}
