"""What the requests are made of: their root, and the bounds of their fields."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

SUBPROTOCOL: Final = "comfyledger"
"""Asked for together with `token.<token>` by those who cannot send an Authorization header."""
Id = Annotated[str, Meta(max_length=128)] | int | None
Priority = Literal["high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
Limit = Annotated[int, Meta(ge=1, le=500)]
Typed = Annotated[str, Meta(max_length=1_000)]
"""A name of a user or a character that is looked for; names that are given are checked by `core.naming`."""
BatchId = Annotated[str, Meta(max_length=64)]
"""Where one is asked for alone, any text is looked up and is at worst unknown: nothing of it is kept."""
Word = Annotated[str, Meta(max_length=64)]
"""A name from the configuration, a kind, a code, an epoch, the id of a subscription."""
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""Milliseconds since 1970, UTC."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The root of what a client sends."""
