"""What commands about the boxes of a fleet mean: who takes part, and in which term."""

from __future__ import annotations

from typing import Final

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import GiveUpBox, JoinBox, LeaveBox
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import BoxGivenUp, BoxJoined, BoxLeft
from comfyledger.core.results import BoxKnown
from comfyledger.errors import Refused

PRESENT_MAX: Final = 100
"""Boxes that are present at the same time."""


def join_box(draft: Draft, command: JoinBox) -> BoxKnown:
    """A box that is present may join again, which ends its earlier term: so a daemon that was started again fences the
    one before it. Raises Refused(boxes_limit).
    """
    row = draft.state.box(command.name) or BoxRow(command.name)
    others = [one for one in draft.state.boxes() if one.name != command.name]
    if len(others) >= PRESENT_MAX:
        hint = "Have a box leave: `comfyledger fleet leave`."
        raise Refused("boxes_limit", f"{PRESENT_MAX} boxes are present already.", hint=hint)
    draft.emit(BoxJoined(command.name, row.term + 1, command.founder and not row.term))
    return BoxKnown(command.name, row.term + 1, changed=True)


def leave_box(draft: Draft, command: LeaveBox) -> BoxKnown:
    """A term that has ended already ends no later one, and that is no error. Raises Refused(unknown_box)."""
    row = _known(draft, command.name)
    is_in = row.is_in(command.term)
    if is_in:
        by = command.label if command.reason == "person" else ""
        draft.emit(BoxLeft(row.name, row.term, command.reason, by))
    return BoxKnown(row.name, row.term, changed=is_in)


def give_up_box(draft: Draft, command: GiveUpBox) -> BoxKnown:
    """To give up a box again changes nothing. Raises Refused(unknown_box, box_present)."""
    row = _known(draft, command.name)
    if row.present:
        hint = "Stop its daemon first. A box that died is known to have left after 20 seconds."
        raise Refused("box_present", f"The box {row.name} takes part in the fleet.", hint=hint, path="name")
    if not row.given_up:
        draft.emit(BoxGivenUp(row.name, command.label))
    return BoxKnown(row.name, row.term, changed=not row.given_up)


def _known(draft: Draft, name: str) -> BoxRow:
    row = draft.state.box(name)
    if row is None:
        hint = "`comfyledger fleet status` lists all boxes."
        raise Refused("unknown_box", f"No box {name[:64]!r} has joined the fleet.", hint=hint, path="name")
    return row
