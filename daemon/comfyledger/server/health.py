"""The state of the daemon for `/metrics` and `/readyz`. Everything is in memory."""

from __future__ import annotations

from typing import Any

from comfyledger import logs
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.core.values import EVERYTHING, INPUTS, SPOOL, backend_lane, store_lane
from comfyledger.errors import CODES, Refused
from comfyledger.metrics.gauges import DiskNow, FleetNow, Now
from comfyledger.queries import fleet
from comfyledger.queries import webhooks as webhook_lists
from comfyledger.server.app_keys import Context
from comfyledger.workers.spool.disks import Disks


def now_of(context: Context, connections: int) -> Now:
    """What a scrape shows."""
    view = context.view
    standing = view.open_work()
    return Now(
        version=context.version,
        position=view.position,
        standing=standing,
        queued=view.queued,
        lanes=_lanes(context),
        backends=tuple(context.backends(standing)),
        fleet=_fleet(context),
        stores={name: opened.store is not None for name, opened in context.stores.items()},
        connections=connections,
        taking=view.is_running and view.shortage is None and not view.is_locked,
        disks=_disks(context.disks),
        log_lines_dropped=logs.dropped(),
        notifications_dropped=context.notifier.dropped,
        plugin_errors={name: dict(opened.died) for name, opened in context.stores.items()},
        inputs=context.inputs.files,
        inputs_bytes=context.inputs.used_bytes,
        removals=_removals(context, standing),
        input_uploads={name: (one.files_uploaded, one.bytes_uploaded) for name, one in context.comfyui.items()},
        thumbnails=context.thumbnails.counts,
        thumbnails_bytes=context.thumbnails.cached_bytes,
        webhooks=tuple(webhook_lists.infos(context.webhooks, view)) if context.webhooks.delivers else (),
        deliveries=context.webhooks.counts() if context.webhooks.delivers else {},
    )


def _fleet(context: Context) -> FleetNow | None:
    """The membership of this box, if it has a fleet."""
    if not context.fleet.own:
        return None
    boxes = context.view.boxes()
    present, own = sum(row.present for row in boxes), context.fleet.box(context.fleet.own)
    return FleetNow(context.view.is_member, present, own.behind if own is not None else 0)


def _removals(context: Context, standing: OpenWorkSummary) -> dict[str, int]:
    """By lane, with each place that is configured."""
    owed = dict.fromkeys(("", *context.comfyui), 0) | standing.removals
    return {backend_lane(backend) if backend else INPUTS: count for backend, count in owed.items()}


def readiness(context: Context, is_known: bool) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Why no batch could be rendered now, each reason with its code; and the state of lanes and connections.

    A reason contains paths and error texts of others only if the caller `is_known` by a token that sees all labels.
    """
    standing = context.view.open_work()
    backends = [*context.backends(standing), *fleet.backends_elsewhere(context, standing)]
    reasons = [_reason(refusal, is_known) for refusal in _no_numbers(context)]
    if not any(backend.connected for backend in backends):
        reasons.append({"code": "comfyui_not_connected", "message": "No ComfyUI is connected."})
    parts = {
        "lanes": {lane: standing.why(lane) or "ok" for lane in _shown(context, standing)},
        "comfyui": {
            one.name: {"connected": one.connected, "reconnects": one.reconnects, "deaf_sockets": one.deaf}
            for one in backends
        },
    }
    return reasons, parts


def _no_numbers(context: Context) -> list[Refused]:
    """Why every batch would be refused, whatever is in it."""
    view = context.view
    if not view.is_running:
        return [Refused("not_running", "The daemon is stopping.")]
    found = [] if view.shortage is None else [view.shortage.refusal()]
    if view.is_locked:
        found.append(Refused(view.lock_code, view.lock_text))
    elif not view.is_member:
        found.append(Refused("fenced"))
    try:
        context.store_refs()
    except Refused as refusal:
        found.append(refusal)
    return found


def _reason(refusal: Refused, is_known: bool) -> dict[str, str]:
    return {"code": refusal.code, "message": refusal.message if is_known else CODES[refusal.code]}


def _lanes(context: Context) -> tuple[str, ...]:
    """The lanes that every daemon of this configuration has."""
    return (EVERYTHING, SPOOL, INPUTS, *map(backend_lane, context.comfyui), *map(store_lane, context.stores))


def _shown(context: Context, standing: OpenWorkSummary) -> list[str]:
    """These, and paused lanes that are no longer configured. Lanes of users are left out."""
    others = {lane for lane in (*standing.troubles, *standing.paused) if not lane.startswith("user/")}
    return [*_lanes(context), *sorted(others - set(_lanes(context)))]


def _disks(disks: Disks) -> dict[str, DiskNow]:
    """A disk that cannot be read is left out: 0 would mean that it is full."""
    return {
        store_lane(one.store) if one.store else one.use: DiskNow(
            one.space.free_bytes, one.space.total_bytes, one.free_min
        )
        for one in disks.seen()
        if one.space is not None
    }
