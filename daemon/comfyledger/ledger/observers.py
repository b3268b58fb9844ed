"""Observers of committed groups: they are called after the commit and after the answers have left."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import structlog

from comfyledger.core.rows import Row, RowId
from comfyledger.ledger.eventlog import Line

log = structlog.get_logger("comfyledger.ledger")


class Committed(msgspec.Struct, frozen=True):
    """What a committed group appended and changed, and how long it took.

    `rows`: as they are after the group. `messages`: how many it had. `seconds`: from its begin until it was on stable
    storage.
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
