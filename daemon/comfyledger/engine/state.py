"""What the engine knows: where the log ends, its newest lines, the pending work, and why it takes no new work.

It is as of the last commit. Only the engine writes it; everything outside reads it through `EngineView`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final

from comfyledger.core.boxes import BoxRow
from comfyledger.core.rows import Row
from comfyledger.core.scheduling.capacity import Limits, OpenImages
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.engine.patience import Lock
from comfyledger.ledger.commit_group import Shortage
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Ledger

TAIL_LINES: Final = 4_096
"""The newest lines of the log that stay in memory, for subscriptions."""
LEDGER_FULL: Final = Shortage(
    "The ledger's disk is full.", "Make room on the disk of the ledger; work resumes by itself."
)


class State:
    """The engine's memory. `steady_ms` is a clock that never jumps."""

    def __init__(self, ledger: Ledger, limits: Limits, open_images_max: int, steady_ms: Callable[[], int]) -> None:
        self.ledger_id, self.epoch, self.secret = ledger.ledger_id, ledger.epoch, ledger.secret
        self.is_shared = ledger.is_shared
        self.position = ledger.head.position
        self.tail: deque[Line] = deque(maxlen=TAIL_LINES)
        self.owed = PendingWork(limits)
        self.open_images = OpenImages(open_images_max)
        self.lock = Lock(ledger.lock_holder)
        self.storage_full = False
        self.boxes: dict[str, BoxRow] = {}
        """The boxes of the fleet, by name."""
        self.brake: Shortage | None = None
        self.stopped = False
        self.term = 0
        """In which this box takes part in its fleet; 0 without one."""
        self.is_member = True
        """Whether this box takes part in its fleet; true without one. Until then it does nothing."""
        self.news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.jobs: deque[int] = deque()
        """Since when each call of the writer's thread waits or runs, oldest first."""
        self.steady_ms = steady_ms

    def apply(self, rows: Collection[Row], now_ms: int) -> None:
        """Take in rows as they are after a commit."""
        if self.is_shared:
            self.boxes |= {row.name: row for row in rows if isinstance(row, BoxRow)}
        self.owed.apply(rows, now_ms)
        self.open_images.apply(rows)

    def append(self, lines: Sequence[Line]) -> None:
        """Take in the lines that a commit appended, and wake those that wait for news."""
        if lines:
            self.position = lines[-1].position
            self.tail.extend(lines)
            self.news.set_result(None)
            self.news = asyncio.get_running_loop().create_future()

    @property
    def shortage(self) -> Shortage | None:
        """Why the engine takes no new work; None if it does."""
        return self.brake or (LEDGER_FULL if self.storage_full else None)
