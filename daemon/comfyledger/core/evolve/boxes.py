"""What the events about boxes make of their rows."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.boxes import BoxRow
from comfyledger.core.events import BoxGivenUp, BoxJoined, BoxLeft, Recorded
from comfyledger.core.rows import Row, Slice

BoxEvent = BoxJoined | BoxLeft | BoxGivenUp


def box_changed(state: Slice, event: BoxEvent, recorded: Recorded) -> tuple[Row, ...]:
    """One that comes back is waited for again, when it leaves the next time."""
    match event:
        case BoxJoined(box=name, term=term):
            founder = event.founder or _row(state, name).founder
            return (BoxRow(name, term, present=True, since_ms=recorded.at_ms, founder=founder),)
        case BoxLeft(box=name, term=term):
            return (BoxRow(name, term, since_ms=recorded.at_ms, founder=_row(state, name).founder),)
        case BoxGivenUp(box=name):
            return (replace(_row(state, name), given_up=True),)


def _row(state: Slice, name: str) -> BoxRow:
    return state.box(name) or BoxRow(name)
