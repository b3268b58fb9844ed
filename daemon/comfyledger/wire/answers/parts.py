"""What the answers are made of: their root, and fields that several have."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Epoch = Annotated[
    str, Meta(description="The epoch of the ledger; a restore changes it.", examples=["01M82DA8V724WA3CWZEFZYJASQ"])
]
Series = Annotated[
    str,
    Meta(
        description="The series: everything in the name before the number, with case folded.",
        examples=["areg/premade_characters/opal-fever/images/areg_opal-fever_image_"],
    ),
]
BatchId = Annotated[str, Meta(description="The batch.", examples=["01M82DA9EJBQZAAZJR4D2RM95D"])]
Sentence = Annotated[
    str,
    Meta(
        description="A sentence for people.",
        examples=["The request_id 'order-1001' was used before for another request."],
    ),
]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The root of what the daemon sends. Clients must tolerate fields that they do not know."""
