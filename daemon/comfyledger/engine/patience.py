"""How long messages wait while the ledger cannot be written: another program locks it, or the shared log is away.

Reports are facts and wait as long as it lasts. Commands wait for a while, because a client waits for each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from comfyledger.core.reports import Report
from comfyledger.engine.inbox import Inbox, Waiting
from comfyledger.errors import Refused
from comfyledger.ledger.ports import LedgerLocked, LogUnreachable

LOCKED_COMMANDS_S: Final = 4.0
"""For how long commands wait for a lock that another program holds, before they are refused."""
AWAY_COMMANDS_S: Final = 1.5
"""The same while the shared log cannot be reached, so that a client knows it within two seconds."""


def away(text: str = "") -> Refused:
    """What a command gets that cannot be written to the shared log. It may have been written all the same."""
    hint = "Whether it was taken is not known. Repeat it with the same request_id once the database can be reached."
    return Refused("log_unreachable", text, hint=hint, retry_after_s=1.0)


log = structlog.get_logger("comfyledger.ledger")


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


class Patience:
    """Of one engine. `steady_ms` is a clock that never jumps."""

    def __init__(self, lock: Lock, inbox: Inbox, steady_ms: Callable[[], int], *, is_shared: bool) -> None:
        self._lock, self._inbox, self._steady_ms = lock, inbox, steady_ms
        self._is_shared = is_shared

    @contextmanager
    def waiting_for(self, group: Sequence[Waiting]) -> Iterator[None]:
        """While a group is written. If another program locks the ledger, or the shared log is away, its messages go
        back to the inbox, and no error is raised.
        """
        begun_ms = self._steady_ms()
        late = self._late(group)
        try:
            yield
        except LedgerLocked as error:
            self._inbox.put_back([waiting for waiting in group if not waiting.is_refused])
            self.met(error, begun_ms)
        else:
            self._lock.gone(self._steady_ms())
        finally:
            if late is not None:
                late.cancel()

    def met(self, error: LedgerLocked, begun_ms: int) -> None:
        """A try that began then has failed."""
        now = self._steady_ms()
        self._lock.met(now, error, begun_ms)
        if self._lock.lasts_s(now) >= self._lock.commands_wait_s:
            self._inbox.refuse_commands(self._lock.refusal())

    def _late(self, group: Sequence[Waiting]) -> asyncio.TimerHandle | None:
        """While the shared log does not answer, no command waits for it longer than AWAY_COMMANDS_S."""
        loop = asyncio.get_running_loop()
        return loop.call_later(AWAY_COMMANDS_S, self._refuse, group) if self._is_shared else None

    def _refuse(self, group: Sequence[Waiting]) -> None:
        for waiting in group:
            if not isinstance(waiting.message, Report):
                waiting.fail(away())
        self._inbox.refuse_commands(away())
