"""Requests about the boxes of a fleet: machines, each with one daemon, that share one log."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.requests.parts import Message

BOX_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}$"


class GiveUpBox(Message, frozen=True):
    """Says that a box which has left the fleet does not come back with the images that only it keeps. They are rendered
    again under their numbers, without the wait of `[box] orphan_after_s`. A box that takes part is `box_present`,
    and one that has never joined is `unknown_box`. To give up a box again changes nothing."""

    name: Annotated[str, Meta(pattern=BOX_PATTERN, description="The name of the box.", examples=["north"])]
