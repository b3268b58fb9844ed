"""A lock of the ledger that another program holds, as the engine sees it: since when, and who holds it.

Such a lock is no fault of the ledger. Nothing was written, and the same group succeeds once the lock is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from comfyledger.errors import Refused

log = structlog.get_logger("comfyledger.ledger")


class Lock:
    """Whether another program's lock blocks writing, and since when. Its begin and end are logged."""

    def __init__(self, holder: Callable[[], str]) -> None:
        """`holder` says who holds it, like `another program (sqlite3, process 4242)`."""
        self._holder = holder
        self._since_ms: int | None = None
        self._by = ""

    def met(self, now_ms: int) -> None:
        """An attempt failed because of the lock. Asks who holds it."""
        self._by = self._holder()
        if self._since_ms is None:
            self._since_ms = now_ms
            log.warning("ledger.locked", by=self._by)

    def gone(self, now_ms: int) -> None:
        """An attempt succeeded."""
        if self._since_ms is not None:
            log.warning("ledger.unlocked", by=self._by, lasted_s=round((now_ms - self._since_ms) / 1000, 1))
        self._since_ms = None

    def lasts_s(self, now_ms: int) -> float:
        """For how long the lock has lasted, in seconds; 0 if there is none."""
        return 0.0 if self._since_ms is None else max(0.001, (now_ms - self._since_ms) / 1000)

    @property
    def is_met(self) -> bool:
        return self._since_ms is not None

    @property
    def text(self) -> str:
        """Who holds the lock, as a sentence; empty if there is none."""
        return f"{self._by[:1].upper()}{self._by[1:]} holds the ledger's lock." if self.is_met else ""

    def refusal(self) -> Refused:
        hint = "End that program, or repeat the request with the same request_id once it is done."
        return Refused("busy", self.text, hint=hint, retry_after_s=1.0)
