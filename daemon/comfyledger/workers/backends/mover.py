"""Moving prompts away from a ComfyUI: by itself after `move_after_s` of trouble, if its box has left the fleet, or
because a person says so.

The attempts that it has are left behind there, as strays. What becomes of these is not decided here: they are followed
and cancelled as soon as their ComfyUI answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Literal, Protocol

import structlog

from comfyledger import crash_points
from comfyledger.core.reports import PromptHasFailed, PromptIsLeft
from comfyledger.core.results import Wanted
from comfyledger.core.rows import PromptRow
from comfyledger.core.values import backend_lane
from comfyledger.engine import EngineView
from comfyledger.workers.reporting import Reporter

LOOK_EVERY_S: Final = 1.0

Reason = Literal["away", "person", "removed"]

log = structlog.get_logger("comfyledger.work")


class WasRunning(Protocol):
    """Whether a ComfyUI, by name, ran a prompt, by its prompt_id, when it went away: see `Watcher.was_running`."""

    def __call__(self, backend: str, prompt_id: str, *, is_away: bool) -> bool: ...


class Mover:
    """Has attempts left behind. Nothing here decides whether they may be."""

    def __init__(self, view: EngineView, reporter: Reporter, was_running: WasRunning) -> None:
        self._view = view
        self._reporter = reporter
        self._was_running = was_running
        self._stays: set[str] = set()
        """Prompt ids of attempts that are due and were not left behind: they may not be."""

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Leave behind what its ComfyUI has had for too long without working, and end what was left behind at a box
        that was given up.
        """
        given_up, due = self._view.given_up(), self._view.moves_due()
        self._stays.intersection_update(row.prompt_id for row in (*given_up, *due))
        await asyncio.gather(*(self._fail(row) for row in given_up if row.waiting))
        await self._look_at([row for row in given_up if not row.waiting], "removed")
        await self._look_at(due, "away")

    async def _look_at(self, due: list[PromptRow], reason: Reason) -> None:
        rows = [row for row in due if row.prompt_id not in self._stays]
        left = await self.leave(rows, reason)
        self._stays.update(row.prompt_id for row in rows if row not in left)

    async def _fail(self, row: PromptRow) -> None:
        """The files that a person chose were at a box that was given up."""
        words = self._reporter.error_text(f"The files were kept at {row.backend}, whose box was given up.")
        await self._reporter.report(PromptHasFailed(row.batch_id, row.index, row.attempt, "file_missing", words))

    async def move(self, backend: str) -> int:
        """Have others take the prompts that a ComfyUI has and that may go elsewhere. Returns how many were moved."""
        rows = [one.row for one in self._view.attempts_at(backend) if not one.why]
        return len(await self.leave(rows, "person"))

    async def leave(self, rows: Iterable[PromptRow], reason: Reason) -> list[PromptRow]:
        """Leave the live attempts of these prompts behind. Returns those that were."""
        return [row for row, is_left in await asyncio.gather(*(self._leave(row, reason) for row in rows)) if is_left]

    async def _leave(self, row: PromptRow, reason: Reason) -> tuple[PromptRow, bool]:
        """If it ran when its ComfyUI went away it may be why; not if it is moved from one that works."""
        is_away = reason != "person" or self._view.in_trouble(backend_lane(row.backend))
        running = row.state != "finished" and self._was_running(row.backend, row.prompt_id, is_away=is_away)
        crash_points.at("move.deciding")
        answer = await self._reporter.report(PromptIsLeft(row.batch_id, row.index, row.attempt, reason, running))
        crash_points.at("move.decided")
        is_left = isinstance(answer, Wanted) and answer.go
        if is_left:
            about = {"batch_id": row.batch_id, "prompt": row.index, "attempt": row.attempt}
            log.info("prompt.moved", backend=row.backend, reason=reason, running=running, **about)
        return row, is_left
