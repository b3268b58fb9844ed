"""`status`: how the daemon is, what is open, and what is paused and why."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final, get_args

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, json_option, list_batches
from comfyledger.cli.commands.backends import say_left
from comfyledger.cli.commands.batches import say_batches
from comfyledger.cli.commands.disks import say_disks
from comfyledger.cli.commands.webhook import say_webhooks
from comfyledger.cli.offline_ledger import OfflineLedger, reads_ledger
from comfyledger.cli.ui.terminal import clock, duration, plain, say, say_json, say_table, several
from comfyledger.client import Client

MIB: Final = 1_048_576
LISTED_MAX: Final = 8
"""How many ComfyUIs are listed one by one."""


@click.command()
@json_option
@reads_ledger
async def status(client: Client | OfflineLedger, as_json: bool) -> int:
    """Show what is open, what is paused and why, and whether ComfyUI and stores work."""
    if isinstance(client, OfflineLedger):
        return await _from_file(client, as_json)
    info = await client.server_info()
    batches = await list_batches(client, open_only=True)
    if as_json:
        say_json({**plain(info), "open_batches": batches})
        return DONE
    _say_daemon(info)
    _say_lanes([*info.lanes, *_unusable(info)])
    say_waiting(info)
    _say_ends(info)
    _say_boxes(info.boxes)
    say_disks(info.disks or [])
    _say_inputs(info)
    _say_webhooks(info.webhooks or [])
    _say_open(batches)
    return DONE


async def _from_file(ledger: OfflineLedger, as_json: bool) -> int:
    """What a file says: its ledger and position, what was open and what was paused."""
    which, batches = await ledger.which(), await list_batches(ledger, open_only=True)
    if as_json:
        say_json({**plain(which), "open_batches": batches})
        return DONE
    epoch = f"epoch {which.epoch}, " if which.epoch else ""  # a replayed state has none
    say(f"ledger {which.ledger_id}, {epoch}position {which.position}", "bold")
    _say_lanes(which.lanes)
    _say_open(batches)
    return DONE


def _say_daemon(info: wire.Info) -> None:
    say(f"comfyledger {info.version}, up for {duration(info.uptime_s)}", "bold")
    say(f"ledger {info.ledger_id}, epoch {info.epoch}, position {info.position}")
    say("open: " + (", ".join(f"{count} {what}" for what, count in info.open.items()) or "nothing"))
    for problem in info.character_problems:
        say(f"characters: {problem}", "yellow")
    if info.storage_full:
        say(f"New work is refused until there is room. {info.storage_text}", "bold red")
    if info.locked_text:
        say(f"Nothing can be written now. {info.locked_text}", "bold red")


def _say_lanes(lanes: list[wire.LaneInfo]) -> None:
    rows = [(lane.lane, clock(lane.since_ms), _why(lane)) for lane in lanes if lane.paused or lane.code or lane.text]
    if not rows:
        say("lanes: all work")
        return
    say("paused lanes:", "yellow")
    say_table(("LANE", "SINCE", "WHY"), rows, "  ")


def _unusable(info: wire.Info) -> list[wire.LaneInfo]:
    """What no lane shows: a store that could not be opened, a ComfyUI that is away and was not needed yet."""
    known = {lane.lane for lane in info.lanes if lane.paused or lane.code}
    since_ms = time.time_ns() // 1_000_000 - info.uptime_s * 1_000
    stores = {f"store/{one.name}": one.problem for one in info.stores if one.problem}
    comfyui = {f"backend/{one.name}": _away(one.problem) for one in info.backends if not one.connected}
    return [
        wire.LaneInfo(lane, paused=False, since_ms=since_ms, text=text)
        for lane, text in (stores | comfyui).items()
        if lane not in known
    ]


def _away(problem: str) -> str:
    """Why a ComfyUI is not connected that nobody has needed yet."""
    return problem if problem.startswith("box ") else "not connected"


def _why(lane: wire.LaneInfo) -> str:
    reasons = ("paused by a person" if lane.paused else "", lane.code, lane.text)
    return ": ".join(filter(None, reasons))


def say_waiting(info: wire.Info) -> None:
    """Print the requests that are not accepted yet, with the reason."""
    if info.waiting:
        say("series that wait for a store's answer:", "yellow")
        rows = ((clock(wait.since_ms), str(wait.requests), wait.series, wait.reason) for wait in info.waiting)
        say_table(("SINCE", "REQUESTS", "SERIES", "WHY"), rows, "  ")


def _say_ends(info: wire.Info) -> None:
    _say_backends(info.backends)
    say_left(info.backends)
    rows = ((store.name, store.kind, store.problem or "works", store.identity) for store in info.stores)
    say_table(("STORE", "KIND", "STATE", "IDENTITY"), rows)
    for store in info.stores:
        if store.caveat:
            say(f"  {store.name}: {store.caveat}", "yellow")


def _say_backends(backends: list[wire.BackendInfo]) -> None:
    """Each of a few; of many only how many are in each state, since the lanes above say which do not work."""
    if len(backends) > LISTED_MAX:
        states = Counter(one.state for one in backends)
        counts = ", ".join(f"{states[state]} {state}" for state in get_args(wire.BackendState) if states[state])
        say(f"{len(backends)} ComfyUIs: {counts}; `comfyledger backends` lists them")
        return
    say_table(
        ("COMFYUI", "STATE", "VERSION", "NODES", "URL"),
        (
            (
                backend.name,
                backend.state if backend.connected else "not reached",
                backend.version or "?",
                "?" if backend.node_classes is None else str(backend.node_classes),
                backend.url,
            )
            for backend in backends
        ),
    )


def _say_boxes(boxes: list[wire.BoxInfo]) -> None:
    """The boxes of the fleet, if there is one."""
    if boxes:
        say_table(("BOX", "STATE", "SINCE", "HEARD", "EVENTS BEHIND", "ADDRESS"), map(_box, boxes))


def _box(one: wire.BoxInfo) -> tuple[str, ...]:
    heard = "?" if one.heard_s is None else f"{one.heard_s:.0f} s ago"
    behind = "?" if one.behind is None else f"{one.behind:,}"
    name = f"{one.name} (this one)" if one.own else one.name
    return name, one.state.replace("_", " "), clock(one.since_ms), "-" if one.own else heard, behind, one.url


def _say_inputs(info: wire.Info) -> None:
    held = info.inputs
    if held is None or not (held.files or held.removals):
        return
    room = f"{held.size_bytes / MIB:,.1f} of {held.quota_bytes / MIB:,.0f} MiB"
    say(f"inputs: {several(held.files, 'file')}, {room}")
    known = {one.name for one in info.backends}
    for name, count in held.removals.items():
        place = f"at the ComfyUI {name}" if name else "here"
        gone = "" if not name or name in known else ", which is not configured any more"
        say(f"  still to be removed {place}{gone}: {several(count, 'file')}", "yellow")
        if gone:
            say(f"  `comfyledger recover --drop-comfyui {name}` gives that up.", "yellow")


def _say_webhooks(found: list[wire.WebhookInfo]) -> None:
    """Each of a few, with what is wrong; of many how many are in each state."""
    if len(found) <= LISTED_MAX:
        if found:
            say_webhooks(found)
        return
    states = Counter(one.state for one in found)
    counts = ", ".join(f"{states[state]} {state}" for state in get_args(wire.WebhookState) if states[state])
    say(f"{len(found)} webhooks: {counts}; `comfyledger webhook list` lists them")


def _say_open(batches: list[wire.BatchInfo]) -> None:
    if batches:
        say_batches(batches)
    else:
        say("No batch is open.")
