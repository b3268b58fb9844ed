"""Collects the events of a decision. Each takes effect at once, so that the next line of a rule sees it.

Also the bounds that decisions keep. What they answer is in `core.results`.
"""

from __future__ import annotations

import msgspec

from comfyledger.core.boxes import BoxRow
from comfyledger.core.events import BatchSettled, Event, Recorded
from comfyledger.core.evolve.evolve import evolve
from comfyledger.core.rows import ImageRow, Slice


class Policy(msgspec.Struct, frozen=True):
    """Bounds that decisions keep, from the configuration; and for whom is decided."""

    render_attempts_max: int = 3
    poison_strikes_max: int = 3
    box: str = ""
    """The box of the fleet whose messages are decided; empty without a fleet."""
    term: int = 0
    """In which it takes part; 0 without a fleet."""

    def is_fenced(self, row: BoxRow | None) -> bool:
        """Whether messages of the box do not count any more: it was declared left, or has joined anew since. `row`: of
        the box as it is now.
        """
        return bool(self.box) and (row is None or not row.is_in(self.term))

    def is_foreign(self, image: ImageRow) -> bool:
        """Whether another box keeps the file of an image, so that this one has nothing to report about it."""
        return image.is_elsewhere(self.box)


class Decision(msgspec.Struct, frozen=True):
    """The result of one message. `answer` is None for a report that no caller waits for."""

    answer: msgspec.Struct | None
    recorded: tuple[Recorded, ...]


class Draft:
    """The events of one message, each evolved into the slice as soon as it is written."""

    def __init__(self, state: Slice, now_ms: int, position: int) -> None:
        self.state = state
        self.now_ms = now_ms
        self.recorded: list[Recorded] = []
        self.position = position

    def emit(self, event: Event) -> Recorded:
        self.position += 1
        recorded = Recorded(self.position, self.now_ms, event)
        self.state.put(evolve(self.state, recorded))
        self.recorded.append(recorded)
        return recorded

    def settle(self, batch_id: str) -> None:
        """Say that a batch has come to its end, once, as soon as it has."""
        batch = self.state.batch(batch_id)
        if batch is None or batch.settled or batch.pending or batch.kept:
            return
        ended = (batch.stored, batch.parked, batch.failed, batch.images_cancelled, batch.forgotten)
        self.emit(BatchSettled(batch_id, *ended))
