"""What `pause` and `resume` name, and the command for it. A lane in trouble that is resumed is tried at once."""

from __future__ import annotations

from collections.abc import Container

from comfyledger import wire
from comfyledger.admission import webhooks
from comfyledger.core.backends import box_of
from comfyledger.core.commands import Command, HoldBatch, PauseLane, ReleaseBatch, ResumeLane
from comfyledger.core.naming.slugs import fold
from comfyledger.core.results import Changed
from comfyledger.core.values import EVERYTHING, backend_lane, store_lane, user_lane
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.fleet import other_box


def command(context: Dependencies, label: str, scope: str, *, pause: bool) -> Command[Changed]:
    """The command for a scope: everything, backend:NAME, store:NAME, user:NAME, batch:ID or webhook:NAME."""
    kind, _, name = scope.partition(":")
    if kind == "batch" and name:
        return HoldBatch(label, name) if pause else ReleaseBatch(label, name)
    if kind == webhooks.SCOPE and (of_webhook := webhooks.scoped(context, label, name, pause=pause)) is not None:
        return of_webhook
    lane = _lane(context, kind, name)
    if lane is None:
        backends, stores = ", ".join(context.policy.backends), ", ".join(context.stores)
        hint = f"Use everything, backend:NAME ({backends}), store:NAME ({stores}), user:NAME, batch:ID or webhook:NAME."
        raise Refused(
            "unknown_scope", f"There is no {scope[:100]!r} to pause or resume.", hint=hint, path="$.data.scope"
        )
    return PauseLane(label, lane) if pause else ResumeLane(label, lane)


async def resumed(context: Dependencies, command: ResumeLane) -> wire.ChangedCount:
    """End a person's pause. Raises Refused(nothing_to_do) if there is none, unless the lane is in trouble, and
    (other_box) if another box would have to try the lane.

    A lane in trouble is called now and not when its next probe is due. That is no event: it goes on if it works.
    """
    lane, is_stuck = command.lane, context.view.in_trouble(command.lane)
    kind, _, name = lane.partition("/")
    box = box_of(name) if kind == "backend" else ""
    is_tried = is_stuck and box in {"", context.fleet.own}
    try:
        await context.engine.command(command)
    except Refused as refusal:
        if not is_stuck or refusal.code != "nothing_to_do":
            raise
        if not is_tried:
            raise other_box(context, box, f"The box {box} alone can try it.") from refusal
    if is_tried:
        context.engine.probe_soon(lane)
    return wire.ChangedCount(0, tried=is_tried)


def _lane(context: Dependencies, kind: str, name: str) -> str | None:
    if kind == EVERYTHING and not name:
        return EVERYTHING
    if kind == "backend" and _known(context, context.policy.backends, backend_lane(name), name):
        return backend_lane(name)
    if kind == "store" and _known(context, context.stores, store_lane(name), name):
        return store_lane(name)
    if kind == "user" and name:
        return user_lane(fold(name))
    return None


def _known(context: Dependencies, configured: Container[str], lane: str, name: str) -> bool:
    """A paused lane can be resumed even if it is no longer configured."""
    return name in configured or context.view.is_paused(lane)
