"""What all events have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Words = Annotated[
    str | None,
    Meta(
        description="Digest of the error text, which is in `texts` of the frame.",
        examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
    ),
]
CausedBy = Annotated[
    str, Meta(description="The label of the client that caused it; empty if no client did.", examples=["my-app"])
]
BatchId = Annotated[str, Meta(description="The batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
PromptIndex = Annotated[int, Meta(description="The prompt, from 1.", examples=[1])]
Attempt = Annotated[int, Meta(description="The attempt, counted from 1 for each prompt.", examples=[1])]
By = Annotated[str, Meta(description="The label of the client.", examples=["my-app"])]
FolderGiven = Annotated[
    str,
    Meta(
        description="The folder, as written, case not folded.", examples=["Areg/premade_characters/opal-fever/images"]
    ),
]
FileGiven = Annotated[
    str, Meta(description="The file name as written, without extension.", examples=["Areg_opal-fever_image_1"])
]
Series = Annotated[
    str,
    Meta(
        description="The series: everything in the name before the number, with case folded.",
        examples=["areg/premade_characters/opal-fever/images/areg_opal-fever_image_"],
    ),
]
Folder = Annotated[
    str,
    Meta(
        description="The folder of its images, as written, case not folded.",
        examples=["Areg/premade_characters/opal-fever/images"],
    ),
]
ImageIndex = Annotated[int, Meta(description="Index of the image in the batch, from 1.", examples=[1])]
PublicId = Annotated[
    str,
    Meta(description="The public id.", examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"]),
]
StoreName = Annotated[str, Meta(description="The store's name in the configuration.", examples=["folder"])]
ImageIndexes = Annotated[
    tuple[int, ...], Meta(description="Indexes of the images in the batch, from 1.", examples=[[1, 2]])
]
PromptIndexes = Annotated[tuple[int, ...], Meta(description="The prompts that they belong to.", examples=[[1]])]


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The root of all events."""

    def __bytes__(self) -> bytes:
        """The event as JSON, as the log has it."""
        return msgspec.json.encode(self)
