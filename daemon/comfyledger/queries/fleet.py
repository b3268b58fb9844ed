"""The boxes of the fleet and the ComfyUIs that other boxes have, as any door shows them. Empty without a fleet."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.boxes import BoxRow
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.core.values import backend_lane
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import Dependencies
from comfyledger.workers.fleet.heard import HeardBox


def boxes(context: Dependencies) -> list[wire.BoxInfo]:
    """Every box that has ever joined, by name."""
    heard = {one.name: one for one in context.fleet.boxes()}
    return [_box(row, heard.get(row.name), is_own=row.name == context.fleet.own) for row in context.view.boxes()]


def _box(row: BoxRow, heard: HeardBox | None, *, is_own: bool) -> wire.BoxInfo:
    if heard is None:
        return wire.BoxInfo(row.name, _state(row, None, is_own=is_own), row.term, row.since_ms, is_own)
    heard_s = 0.0 if is_own else round(heard.age_s, 1)
    state = _state(row, heard, is_own=is_own)
    return wire.BoxInfo(
        row.name, state, row.term, row.since_ms, is_own, heard_s, heard.behind, heard.url, heard.about.delivers
    )


def _state(row: BoxRow, heard: HeardBox | None, *, is_own: bool) -> wire.BoxState:
    if row.given_up:
        return "given_up"
    if not row.present:
        return "left"
    return "silent" if not is_own and (heard is None or heard.is_silent) else "present"


def backends_elsewhere(context: Dependencies, standing: OpenWorkSummary) -> Iterator[wire.BackendInfo]:
    """The ComfyUIs of other boxes, without those of boxes that were given up. `problem`: why it cannot be used."""
    rows = {row.name: row for row in context.view.boxes()}
    for box, one in context.fleet.backends_elsewhere():
        row = rows.get(box.name)
        if row is not None and not row.given_up:
            yield _as_known_here(one, _why_away(box, row), standing)


def _why_away(box: HeardBox, row: BoxRow) -> str:
    """Why nothing that a box has can be used; empty if it takes part and is heard."""
    if not row.present:
        return f"box {box.name} has left the fleet"
    return f"box {box.name} was last heard {box.age_s:.0f} s ago" if box.is_silent else ""


def _as_known_here(one: wire.BackendInfo, away: str, standing: OpenWorkSummary) -> wire.BackendInfo:
    """What a box said some seconds ago, with what the log says now: who has what, and which lanes stand."""
    lane, work = backend_lane(one.name), _work(one, standing)
    trouble = away or standing.troubles.get(lane, "")
    connected = one.connected and not away
    state: wire.BackendState = "connected" if connected and not trouble else "away"
    if lane in standing.paused:
        state = "draining" if work.running + work.waiting + work.fetching + work.strays else "paused"
    problem = trouble or ("" if connected else "not_reached")
    return replace(one, connected=connected, state=state, problem=problem, work=work)


def _work(one: wire.BackendInfo, standing: OpenWorkSummary) -> wire.BackendWork:
    said, there = one.work or wire.BackendWork(0), standing.at_backends.get(one.name, 0)
    running = min(said.running, there)
    return replace(
        said,
        running=running,
        waiting=there - running,
        fetching=standing.fetching.get(one.name, 0),
        strays=standing.strays.get(one.name, 0),
    )


def other_box(context: Dependencies, name: str, text: str) -> Refused:
    """The refusal of what only another box can do. `name`: of that box, empty if it is not known."""
    there = context.fleet.box(name) if name else None
    if there is None:
        hint = "`comfyledger status` shows the boxes; repeat the request in a moment if it is none of them."
    else:
        hint = f"Ask the box {there.name}" + (f", at {there.url}." if there.url else ".")
    return Refused("other_box", text, hint=hint)
