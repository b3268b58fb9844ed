"""The open work, counted for health checks and metrics. Computed when asked, kept nowhere.

It costs as much as there are open batches and prompts, and reads no finished work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.demand import Demanded
from comfyledger.core.scheduling.effects import Effect, RemoveInput, SubmitPrompt

PERSON: Final = "person"
"""The code of a lane that a person paused and that has no trouble of its own."""
WAITING: Final = "waiting"


class OpenWorkSummary(msgspec.Struct, frozen=True):
    """What is open, by state. `oldest_ms`: when the oldest batch was accepted that is not held and owes an image."""

    batches: dict[str, int] = {}
    images: dict[str, int] = {}
    prompts: dict[str, int] = {}
    """Of the queued ones, `waiting` are those that wait for images that they are made from."""
    running: dict[str, int] = {}
    """Calls under way, by kind of effect."""
    paused: frozenset[str] = frozenset()
    """Lanes that a person paused."""
    troubles: dict[str, str] = {}
    """Lanes in trouble, with their codes."""
    oldest_ms: int | None = None
    removals: dict[str, int] = {}
    """What is still to be removed of erased inputs, by backend; empty for the daemon's own folder."""

    at_backends: dict[str, int] = {}
    """By backend: prompts that are or may be in its queue, those among them that are about to be sent."""
    places: dict[str, int] = {}
    """By backend: how many prompts it may have."""
    fetching: dict[str, int] = {}
    """By backend: prompts whose files it has written and that are still to be fetched."""
    strays: dict[str, int] = {}
    """By backend: attempts that were left behind there."""
    busy_ms: dict[str, int] = {}
    """By backend: for how long it has had a prompt, all times together."""
    model_changes: dict[str, int] = {}
    """By backend: how often it was sent a prompt that loads other models than the one before."""
    unfit: dict[str, int] = {}
    """By backend: graphs of open batches that it refuses."""
    demand: tuple[Demanded, ...] = ()
    """What waits for a ComfyUI, by what it needs."""

    def why(self, lane: str) -> str:
        """Why a lane is paused: its code, or `person`; empty if it works."""
        return self.troubles.get(lane, "") or (PERSON if lane in self.paused else "")


def summary_of(
    batches: Iterable[BatchRow],
    prompts: Iterable[PromptRow],
    running: Iterable[Effect],
    paused: Iterable[str],
    troubles: Mapping[str, str],
    removals: Iterable[RemoveInput] = (),
) -> OpenWorkSummary:
    rows, prompts, running = [row for row in batches if not row.settled], list(prompts), list(running)
    owing = [row.at_ms for row in rows if not row.held and row.pending + row.kept]
    return OpenWorkSummary(
        batches=dict(Counter(row.status for row in rows)),
        images={"pending": sum(row.pending for row in rows), "kept": sum(row.kept for row in rows)},
        prompts=dict(Counter(_state_of(row) for row in prompts)),
        running=dict(Counter(effect.kind for effect in running)),
        paused=frozenset(paused),
        troubles=dict(troubles),
        oldest_ms=min(owing, default=None),
        removals=dict(Counter(effect.backend for effect in removals)),
        at_backends=dict(Counter(_at_backends(prompts, running).values())),
        fetching=dict(Counter(row.backend for row in prompts if row.state == "finished")),
        strays=dict(Counter(stray.backend for row in prompts for stray in row.strays)),
    )


def _at_backends(prompts: Iterable[PromptRow], running: Iterable[Effect]) -> dict[tuple[str, int], str]:
    """The backend of each prompt that is there, or that a call under way sends there."""
    there = {(row.batch_id, row.index): row.backend for row in prompts if row.at_comfyui}
    sending = {(one.batch_id, one.prompt): one.backend for one in running if isinstance(one, SubmitPrompt)}
    return there | sending


def _state_of(row: PromptRow) -> str:
    return WAITING if row.state == "queued" and row.lacks_sources else row.open_state
