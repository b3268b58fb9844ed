"""What became of the boxes of a fleet: machines, each with one daemon, that share one log."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.events.event import By, CausedBy, Event

BoxName = Annotated[str, Meta(description="The name of the box.", examples=["north"])]
BoxTerm = Annotated[int, Meta(description="How often it has joined, this time included.", examples=[3])]
LeaveReason = Literal["lease", "person", "stopped"]


class BoxJoined(Event, frozen=True):
    """A box takes part in the fleet: it does the work of its own ComfyUIs. What it says from an earlier term does not
    count any more."""

    box: BoxName
    term: BoxTerm
    founder: Annotated[
        bool,
        Meta(
            description="Whether the fleet began with its ledger, so that what names no box is its own.",
            examples=[True],
        ),
    ] = False


class BoxLeft(Event, frozen=True):
    """A box takes part no more. Its prompts go to others, and the images that only it keeps wait for it."""

    box: BoxName
    term: BoxTerm
    reason: Annotated[
        LeaveReason,
        Meta(
            description="Why: `lease` (it gave no sign of life for too long), `person`, or `stopped` (its daemon was "
            "stopped)."
        ),
    ]
    by: CausedBy = ""


class BoxGivenUp(Event, frozen=True):
    """A person does not wait for a box that left: the images that only it keeps are rendered again under their
    numbers."""

    box: BoxName
    by: By
