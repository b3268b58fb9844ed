"""Observers of committed groups: they are called after the commit and after the answers have left."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import structlog

from comfyledger.core.rows import Row, RowId
from comfyledger.ledger.eventlog import Line

log = structlog.get_logger("comfyledger.ledger")


class Committed(msgspec.Struct, frozen=True):
    """The lines that a group appended, the rows that it changed as they are now, and what it took.

    `messages`: how many were decided in it. `seconds`: from when it began until it was on stable storage.
    """

    lines: list[Line]
    rows: dict[RowId, Row]
    messages: int
    seconds: float


Observer = Callable[[Committed], None]


def notify_observers(observers: Iterable[Observer], committed: Committed) -> None:
    """Call each observer. One that raises is logged and stops nothing."""
    for observe in observers:
        try:
            observe(committed)
        except Exception:
            log.exception("engine.observer_died")
