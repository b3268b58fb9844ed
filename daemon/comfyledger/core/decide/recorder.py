"""What a decision is written on: events that take effect at once, so that the next line of a rule sees them.

Also the answers that decisions give, and the bounds that they keep.
"""

from __future__ import annotations

import msgspec

from comfyledger.core.events import BatchSettled, Event, Recorded
from comfyledger.core.evolve.evolve import evolve
from comfyledger.core.naming.names import Series
from comfyledger.core.rows import Slice
from comfyledger.core.values import ImageNamed, StoreRef


class Policy(msgspec.Struct, frozen=True):
    """Bounds that decisions keep; set once from the configuration."""

    render_attempts_max: int = 3
    poison_strikes_max: int = 3


class Decision(msgspec.Struct, frozen=True):
    """The result of one message. `answer` is None for a report that no caller waits for."""

    answer: msgspec.Struct | None
    recorded: tuple[Recorded, ...]


class Accepted(msgspec.Struct, frozen=True):
    """A batch is in the ledger. `repeated`: the same request was answered before."""

    batch_id: str
    position: int
    images: tuple[ImageNamed, ...]
    repeated: bool


class SeriesUnknown(msgspec.Struct, frozen=True):
    """The stores must be asked before the series gives its first number; the command is to be decided again then.

    `by`: the label of the client that asks.
    """

    series: Series
    stores: tuple[StoreRef, ...]
    by: str = ""


class SeriesNext(msgspec.Struct, frozen=True):
    """A series is open and will give this number next."""

    series: str
    next: int


class Raised(msgspec.Struct, frozen=True):
    """How many series an import has found for the first time, raised, and left as they were."""

    opened: int
    raised: int
    unchanged: int


class Changed(msgspec.Struct, frozen=True):
    """How many images or lanes a command changed, and what it left as it was."""

    images: int
    left: dict[str, int] = {}


class Forgotten(msgspec.Struct, frozen=True):
    """How many images were forgotten and texts erased, how many copies stores will be asked to delete, and how many
    each store keeps because it is not asked."""

    images: int
    texts: int = 0
    deletions: int = 0
    left: dict[str, int] = {}


class Wanted(msgspec.Struct, frozen=True):
    """Whether a worker that is about to do something still shall. `attempt`: as which attempt.

    `resumed`: this attempt was begun before, and its call may have gone out.
    """

    go: bool
    attempt: int = 0
    resumed: bool = False


class Taken(msgspec.Struct, frozen=True):
    """The images (indexes) that took the bytes offered; the others have no use for theirs."""

    images: tuple[int, ...]


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
