"""Sends systemd's watchdog message while the event loop runs and the writer's thread makes progress, with the status.

systemd ends the daemon when the message does not come. A loop that hangs sends nothing; a writer that hangs is noticed
by the age of its oldest job. Nothing is repaired here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from comfyledger.core.values import EVERYTHING, backend_lane, store_lane
from comfyledger.engine import EngineView
from comfyledger.workers.process.notify import ALIVE, Notifier, status_line

JOB_S_MAX: Final = 120.0
"""A writer whose oldest job is older counts as stuck. An fsync on a busy disk may take long."""
STATUS_EVERY_S: Final = 10.0
"""How often the status is sent if there is no watchdog."""

log = structlog.get_logger("comfyledger.watchdog")


class Watchdog:
    """`lanes`: whose trouble is told. `watchdog_s`: after how many seconds without a message systemd ends the daemon;
    None without a watchdog.
    """

    def __init__(
        self, notifier: Notifier, view: EngineView, lanes: Callable[[], Sequence[str]], watchdog_s: float | None
    ) -> None:
        self._notifier = notifier
        self._view = view
        self._lanes = lanes
        self._every_s = STATUS_EVERY_S if watchdog_s is None else watchdog_s / 2
        self._stuck = False

    async def run(self) -> None:
        """Send until cancelled. The first message is sent at once."""
        while True:
            self._notifier.say(*self.words())
            await asyncio.sleep(self._every_s)

    def words(self) -> list[str]:
        """The lines to send now: the status, and the watchdog message unless the writer is stuck."""
        age_s = self._view.oldest_job_s
        self._log_stuck(age_s)
        status = status_line(status_of(self._view, self._lanes()))
        return [status] if age_s >= JOB_S_MAX else [ALIVE, status]

    def _log_stuck(self, age_s: float) -> None:
        """Log once each time that the writer gets stuck."""
        if age_s >= JOB_S_MAX and not self._stuck:
            log.error("writer.stuck", age_s=age_s)
        self._stuck = age_s >= JOB_S_MAX


def lanes_of(backends: Iterable[str], stores: Iterable[str]) -> list[str]:
    """Every lane of these backends and stores."""
    return [EVERYTHING, *map(backend_lane, backends), *map(store_lane, stores)]


def status_of(view: EngineView, lanes: Sequence[str]) -> str:
    """Like "2 batches open, 3 prompts, 5 uploads; paused: everything; in trouble: backend/main"."""
    counts = view.open_counts()
    text = f"{counts['batches']} batches open, {counts['prompts']} prompts, {counts['uploads']} uploads"
    paused = [lane for lane in lanes if view.is_paused(lane)]
    troubled = [lane for lane in lanes if view.in_trouble(lane)]
    said = [text, *_named("paused", paused), *_named("in trouble", troubled)]
    if view.shortage is not None:
        said.append(view.shortage.message)
    if view.is_locked:
        said.append(view.lock_text)
    return "; ".join(said)


def _named(what: str, lanes: Sequence[str]) -> list[str]:
    return [f"{what}: {', '.join(lanes)}"] if lanes else []
