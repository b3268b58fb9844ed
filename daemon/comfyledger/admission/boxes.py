"""Boxes of a fleet that do not come back: a person says so, and the ledger decides."""

from __future__ import annotations

from comfyledger import wire
from comfyledger.core.commands import GiveUpBox
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies


async def give_up(context: Dependencies, label: str, message: wire.GiveUpBox) -> wire.GivenUpBox:
    """Raises Refused(unknown_box, box_present)."""
    try:
        known = await context.engine.command(GiveUpBox(label, message.name))
    except Refused as refusal:
        raise (refusal.below("$.data") if refusal.path else refusal) from refusal
    return wire.GivenUpBox(known.name, known.changed)
