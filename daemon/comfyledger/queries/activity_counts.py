"""What was counted of the log before, by epoch and label. `activity` counts; here it is only remembered."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from typing import Final

import msgspec

LABELS_KEPT: Final = 32


class Cell(msgspec.Struct):
    """Five minutes. `waits`: how many prompts waited so long, by bin."""

    requested: int = 0
    stored: int = 0
    failed: int = 0
    parked: int = 0
    waits: Counter[int] = msgspec.field(default_factory=Counter)
    backends: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, other: Cell) -> None:
        self.requested += other.requested
        self.stored += other.stored
        self.failed += other.failed
        self.parked += other.parked
        self.waits.update(other.waits)
        self.backends.update(other.backends)


Cells = dict[int, Cell]
"""By their begin, in milliseconds since 1970."""


class Known(msgspec.Struct):
    """What is remembered of one label. `hours`: the cells of hours that are over, by the begin of the hour."""

    hours: OrderedDict[int, Cells] = msgspec.field(default_factory=OrderedDict)
    lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


class ActivityCounts:
    """What was counted before, by epoch and label."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str | None], Known] = OrderedDict()

    def of(self, epoch: str, label: str | None) -> Known:
        found = self._known.setdefault((epoch, label), Known())
        self._known.move_to_end((epoch, label))
        if len(self._known) > LABELS_KEPT:
            self._known.popitem(last=False)
        return found
