"""What commands and reports about backends mean that clients add at run time. At most one of them has an address."""

from __future__ import annotations

from typing import Final

from comfyledger.core.backends import BackendRow
from comfyledger.core.commands import AddBackend, RemoveBackend
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import BackendAdded, BackendRemoved, LaneResumed
from comfyledger.core.reports import BackendEnded
from comfyledger.core.results import BackendKnown
from comfyledger.core.urls import place_of
from comfyledger.core.values import backend_lane
from comfyledger.errors import Refused

ADDED_MAX: Final = 1_000
"""Backends that are present at the same time, beside those of the configuration."""


def add_backend(draft: Draft, command: AddBackend) -> BackendKnown:
    """With the values that it has already, nothing changes. Raises Refused(backend_exists, backends_limit)."""
    row = BackendRow(command.name, command.url, command.tags, command.ttl_s, command.queue_depth)
    before = draft.state.backend(command.name)
    if before == row:
        return BackendKnown(command.name, changed=False)
    _check_others(row, [one for one in draft.state.backends() if one.name != row.name])
    draft.emit(BackendAdded(row.name, row.url, command.label, row.tags, row.ttl_s, row.queue_depth))
    return BackendKnown(command.name, changed=True)


def _check_others(row: BackendRow, others: list[BackendRow]) -> None:
    place = place_of(row.url)
    for one in others:
        if place_of(one.url) == place:
            hint = f"Use that name, or remove it: `comfyledger backend remove {one.name}`."
            raise Refused("backend_exists", f"{one.name} is at this address already.", hint=hint, path="url")
    if len(others) >= ADDED_MAX:
        hint = "Remove those that are gone, or add them with a time to live (ttl_s)."
        raise Refused("backends_limit", f"{ADDED_MAX:,} ComfyUIs have been added already.", hint=hint)


def remove_backend(draft: Draft, command: RemoveBackend) -> BackendKnown:
    """A pause ends with it: nothing could show what is paused, and what is added under the name later shall work. One
    whose time has ended may come back by itself, so its pause stays.

    Raises Refused(unknown_backend) for one that nobody added, or that is removed already.
    """
    row = draft.state.backend(command.name)
    if row is None or not row.present:
        raise unknown_backend(command.name)
    draft.emit(BackendRemoved(command.name, "person", command.label))
    lane = backend_lane(command.name)
    if draft.state.lane(lane).person:
        draft.emit(LaneResumed(lane, cause="person", by=command.label))
    return BackendKnown(command.name, changed=True)


def unknown_backend(name: str) -> Refused:
    hint = "`comfyledger backends` lists all; those of the configuration are removed there."
    return Refused("unknown_backend", f"No ComfyUI {name[:64]!r} was added.", hint=hint, path="name")


def backend_ended(draft: Draft, report: BackendEnded) -> None:
    row = draft.state.backend(report.name)
    if row is not None and row.present:
        draft.emit(BackendRemoved(report.name, report.reason))
