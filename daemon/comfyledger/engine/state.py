"""What the engine knows: where the log ends, its newest lines, the pending work, and why it takes no new work.

It is as of the last commit. Only the engine writes it; everything outside reads it through `EngineView`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog

from comfyledger.core.boxes import BoxRow
from comfyledger.core.rows import Row
from comfyledger.core.scheduling.capacity import Limits, OpenImages
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import Shortage
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Ledger, LedgerLocked, LogUnreachable

TAIL_LINES: Final = 4_096
"""The newest lines of the log that stay in memory, for subscriptions."""
LEDGER_FULL: Final = Shortage(
    "The ledger's disk is full.", "Make room on the disk of the ledger; work resumes by itself."
)

log = structlog.get_logger("comfyledger.ledger")


LOCKED_COMMANDS_S: Final = 4.0
"""For how long commands wait for a lock that another program holds, before they are refused."""
AWAY_COMMANDS_S: Final = 1.5
"""The same while the shared log cannot be reached, so that a client knows it within two seconds."""


def away(text: str = "") -> Refused:
    """What a command gets that cannot be written to the shared log. It may have been written all the same."""
    hint = "Whether it was taken is not known. Repeat it with the same request_id once the database can be reached."
    return Refused("log_unreachable", text, hint=hint, retry_after_s=1.0)


class Lock:
    """Whether writing is blocked, by another program's lock of the ledger or because the shared log cannot be reached,
    and since when. Begin and end are logged.

    Neither is a fault of the ledger: the same group succeeds once the lock is gone or the log is there.
    """

    def __init__(self, holder: Callable[[], str]) -> None:
        """`holder` says who holds it, like `another program (sqlite3, process 4242)`."""
        self._holder = holder
        self._since_ms: int | None = None
        self._by = self._away = ""

    def met(self, now_ms: int, error: LedgerLocked, begun_ms: int) -> None:
        """An attempt that began at `begun_ms` failed because of the lock, or because the shared log was away."""
        self._away = str(error) if isinstance(error, LogUnreachable) else ""
        self._by = "" if self._away else self._holder()
        if self._since_ms is not None:
            return
        self._since_ms = begun_ms if self._away else now_ms
        if self._away:
            log.warning("ledger.log_unreachable", error=self._away)
        else:
            log.warning("ledger.locked", by=self._by)

    def gone(self, now_ms: int) -> None:
        """An attempt succeeded."""
        if self._since_ms is not None:
            lasted_s = round((now_ms - self._since_ms) / 1000, 1)
            if self._away:
                log.warning("ledger.log_reached", lasted_s=lasted_s)
            else:
                log.warning("ledger.unlocked", by=self._by, lasted_s=lasted_s)
        self._since_ms = None

    def lasts_s(self, now_ms: int) -> float:
        """For how long the lock has lasted, in seconds; 0 if there is none."""
        return 0.0 if self._since_ms is None else max(0.001, (now_ms - self._since_ms) / 1000)

    @property
    def is_met(self) -> bool:
        return self._since_ms is not None

    @property
    def text(self) -> str:
        """Who holds the lock, or that the shared log is away, as a sentence; empty if there is neither."""
        if not self.is_met:
            return ""
        return self._away or f"{self._by[:1].upper()}{self._by[1:]} holds the ledger's lock."

    @property
    def code(self) -> str:
        """Of the reason why nothing can be written."""
        return "log_unreachable" if self._away else "ledger_locked"

    @property
    def commands_wait_s(self) -> float:
        """For how long commands wait before they are refused."""
        return AWAY_COMMANDS_S if self._away else LOCKED_COMMANDS_S

    def refusal(self) -> Refused:
        if self._away:
            return away(self._away)
        hint = "End that program, or repeat the request with the same request_id once it is done."
        return Refused("busy", self.text, hint=hint, retry_after_s=1.0)


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
