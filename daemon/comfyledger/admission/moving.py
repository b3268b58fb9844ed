"""Moving the prompts of a ComfyUI to others because a person says so."""

from __future__ import annotations

from collections import Counter
from typing import Final

from comfyledger import wire
from comfyledger.core.commands import PauseLane
from comfyledger.core.values import backend_lane
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies

_STAYS: Final = {
    "pinned": "{} may go nowhere else, because the request names it: cancel it, or resume this ComfyUI.",
    "suspect": "{} was running when a ComfyUI went away, and so goes to no other: cancel it, or resume this ComfyUI.",
    "nowhere": "{} is taken by no other ComfyUI that works: repeat the move once one does.",
    "choice": "{} has files that a person chose and that are still to be fetched.",
    "fetching": "{} has finished; its files are being fetched.",
    "cancelling": "{} is being cancelled.",
}


async def move(context: Dependencies, label: str, message: wire.Move) -> wire.Moved:
    """Pause a ComfyUI and leave behind what it has. Raises Refused(unknown_scope).

    What is being sent there is moved too: once the pause is recorded, nothing new begins there.
    """
    kind, _, name = message.scope.partition(":")
    if kind != "backend" or name not in context.policy.backends:
        hint = f"Use backend:NAME ({', '.join(context.policy.backends)})."
        raise Refused("unknown_scope", f"There is no {message.scope[:100]!r} to move.", hint=hint, path="$.data.scope")
    await context.engine.command(PauseLane(label, backend_lane(name)))
    moved = await context.move_away(name)
    stays = Counter[str](one.why or "suspect" for one in context.view.attempts_at(name))
    return wire.Moved(moved, dict(stays), _hint(name, stays))


def _hint(name: str, stays: Counter[str]) -> str:
    said = [_STAYS[why].format(_prompts(count)) for why, count in stays.items()]
    return " ".join([*said, f"`comfyledger resume backend:{name}` gives it work again."])


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"Each of {count} prompts"
