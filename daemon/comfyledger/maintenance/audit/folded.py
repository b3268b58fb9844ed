"""The events of one stream, folded in memory. An audit does this for every batch of a log, so each event counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, get_args

import msgspec

from comfyledger.core.events import (
    KINDS,
    NUMBERING,
    BackendAdded,
    BackendRemoved,
    BatchRequested,
    BatchSettled,
    BlobErased,
    Event,
    ImageForgotten,
    ImageReviewed,
    InputAdded,
    InputErased,
    InputForgotten,
    InputRemoved,
    InputSent,
    LanePaused,
    LaneResumed,
    LedgerRestored,
    Recorded,
    SeriesOpened,
    SeriesRaised,
    SourcesFixed,
)
from comfyledger.core.evolve.boxes import BoxEvent
from comfyledger.core.evolve.evolve import evolve, undated
from comfyledger.core.evolve.webhooks import WebhookEvent
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow, Row, SeriesRow, Slice
from comfyledger.core.upcasts import schema_of
from comfyledger.ledger.eventlog import decode, decoder_of
from comfyledger.ledger.names_given import names_given
from comfyledger.ledger.sqlite import image_uses, input_uses, reviews
from comfyledger.maintenance.audit.fold import NAMING_TEXTS, texts_of

OF_INPUTS: Final = (InputAdded, InputSent, InputForgotten, InputErased, InputRemoved)
_OF_LANES: Final = (
    *(LanePaused, LaneResumed, BackendAdded, BackendRemoved),
    *(*get_args(WebhookEvent), *get_args(BoxEvent)),
)
OF_NO_BATCH: Final[frozenset[type[Event]]] = frozenset(
    (SeriesOpened, SeriesRaised, LedgerRestored, *_OF_LANES, *OF_INPUTS)
)

EventLine = tuple[str, int, int, str, int, str]
"""An event as an audit reads it: stream, position, time, kind, schema, data."""


class Account(msgspec.Struct):
    """What streams account for at the head, table by table; `positions` is the sum of those of their events."""

    events: int = 0
    positions: int = 0
    by_user: int = 0
    requests: int = 0
    names: int = 0
    uses: int = 0
    input_uses: int = 0
    image_uses: int = 0
    reviews: int = 0
    facets: int = 0
    texts: int = 0

    def add(self, other: Account) -> None:
        for field in Account.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Differs(Exception):
    """A row or a count does not agree with the log."""


class OneBatch(Slice):
    """The rows of one batch: faster than a slice of any rows. Only events of this batch may be folded with it."""

    __slots__ = ("_batches", "_images", "_prompts")

    def __init__(self) -> None:
        super().__init__()
        self._batches: dict[str, BatchRow] = {}
        self._images: dict[int, ImageRow] = {}
        self._prompts: dict[int, PromptRow] = {}

    def put(self, rows: Iterable[Any]) -> None:
        for row in rows:
            kind = type(row)
            if kind is ImageRow:
                self._images[row.index] = row
            elif kind is BatchRow:
                self._batches[row.batch_id] = row
            elif kind is PromptRow:
                self._prompts[row.index] = row
            else:
                super().put((row,))

    def batch(self, batch_id: str) -> BatchRow | None:
        return self._batches.get(batch_id)

    def prompt(self, batch_id: str, index: int) -> PromptRow | None:
        return self._prompts.get(index)

    def image(self, batch_id: str, index: int) -> ImageRow | None:
        return self._images.get(index)

    def the_batch(self, batch_id: str) -> BatchRow:
        return self._batches[batch_id]

    def the_prompt(self, batch_id: str, index: int) -> PromptRow:
        return self._prompts[index]

    def the_image(self, batch_id: str, index: int) -> ImageRow:
        return self._images[index]

    def images(self, batch_id: str) -> list[ImageRow]:
        return [self._images[index] for index in sorted(self._images)]

    def prompts(self, batch_id: str) -> list[PromptRow]:
        return [self._prompts[index] for index in sorted(self._prompts)]


class Folded:
    """The rows of one stream after its events, and what they account for in other tables."""

    def __init__(self, stream: str, head: int) -> None:
        self.stream = stream
        self.state = OneBatch()
        self.names: list[tuple[str, str, int]] = []
        self.texts: dict[str, str] = {}
        """Digests of texts that were not erased, each with the kind of its text."""
        self.inputs: dict[str, int] = {}
        """The inputs that the batch uses, each with the time at which the use ended; 0 while it is open."""
        self.sources: list[image_uses.Use] = []
        """The images that the batch was made from."""
        self._reviewed: set[int] = set()
        """The images that were ever reviewed."""
        self.events = self._positions = 0
        self.is_using = self.is_elsewhere = False
        self._head = head
        self._at_head: Account | None = None

    def take(self, events: Iterable[EventLine]) -> None:
        """Fold the stream's events. Raises Differs for one that belongs to another stream, or one of CANNOT."""
        stream, state, head = self.stream, self.state, self._head
        put, count, positions, plain = state.put, self.events, self._positions, _PLAIN.get
        for _, position, at, kind, schema, data in events:
            if position > head and self._at_head is None:
                self.events, self._positions = count, positions
                self._at_head = self._account()
            count += 1
            positions += position
            if (how := plain((kind, schema))) is None:
                self._take_other(Recorded(position, at, decode(kind, schema, data)))
                continue
            read, change, has_words = how
            event = read(data)
            if event.batch_id != stream or self.is_elsewhere:
                raise Differs
            put(change(state, event))
            if has_words and event.words is not None:
                self._note(event)
        self.events, self._positions = count, positions

    def _take_other(self, recorded: Recorded) -> None:
        """Fold an event that changes more than the rows of its batch, or belongs to none."""
        event: Any = recorded.event
        if type(event) in OF_NO_BATCH:
            self.is_elsewhere = True
            self._note(event)
            return
        if self.is_elsewhere or event.batch_id != self.stream:
            raise Differs
        if type(event) in NUMBERING:  # series_agree checks the series; here it must only exist
            self.state.put((SeriesRow(event.series, "", 0),))
        self.state.put(evolve(self.state, recorded))
        if type(event) in _IN_OTHER_TABLES:
            self._note(event)
        if type(event) in input_uses.NOTED:
            self._note_inputs(event, recorded.at_ms)
        if isinstance(event, ImageReviewed):
            self._reviewed.update(event.images)

    def _note(self, event: Event) -> None:
        self.names += names_given(event)
        for digest, kind in texts_of(event):
            self.texts.setdefault(digest, kind)
        match event:
            case BatchRequested():
                self.is_using = True
                self.sources = image_uses.uses(event)
            case ImageForgotten():
                batch = self.state.the_batch(self.stream)
                self.is_using = self.is_using and batch.forgotten != batch.images
            case BlobErased(digests=digests):
                for digest in digests:
                    self.texts.pop(digest, None)
            case _:
                pass

    def _note_inputs(self, event: Event, at_ms: int) -> None:
        batch = self.state.the_batch(self.stream)
        match event:
            case BatchRequested(prompts=prompts):
                self.inputs = dict.fromkeys((load.sha256 for one in prompts for load in one.loads if load.sha256), 0)
            case SourcesFixed(loads=loads):
                self.inputs = dict.fromkeys((load.sha256 for load in loads), 0) | self.inputs
            case BatchSettled():
                self.inputs = dict.fromkeys(self.inputs, at_ms)
            case ImageForgotten():
                self.inputs = {} if batch.forgotten == batch.images else self.inputs
            case _ if not batch.settled:
                self.inputs = dict.fromkeys(self.inputs, 0)

    @property
    def reviews(self) -> set[tuple[int, str, int]]:
        """The images that have a verdict or a rating, with both."""
        images = (self.state.the_image(self.stream, index) for index in self._reviewed)
        return {(one.index, one.verdict, one.rating) for one in images if one.verdict or one.rating}

    @property
    def at_head(self) -> Account:
        return self._account() if self._at_head is None else self._at_head

    def _account(self) -> Account:
        """What the events so far account for."""
        texts = sum(kind != "template" for kind in self.texts.values())
        if self.is_elsewhere or not self.events:
            return Account(self.events, self._positions, texts=texts)
        also = len(self.inputs), len(self.sources), len(self.reviews), 1
        return Account(self.events, self._positions, self.events, 1, len(self.names), int(self.is_using), *also, texts)


_NAMING: Final = frozenset((BatchRequested, *NUMBERING, ImageForgotten, BlobErased))
_IN_OTHER_TABLES: Final = NAMING_TEXTS | _NAMING
_NOT_PLAIN: Final = _NAMING | input_uses.NOTED | reviews.NOTED | OF_NO_BATCH


class _Plain(NamedTuple):
    """How events are folded that change rows of their batch without a date, and at most name a text."""

    read: Callable[[str | bytes], Any]
    change: Callable[[Slice, Any], tuple[Row, ...]]
    has_words: bool


def _plain() -> Iterator[tuple[tuple[str, int], _Plain]]:
    for kind, its in KINDS.items():
        if its not in _NOT_PLAIN and (change := undated(its)) is not None:
            yield (kind, schema_of(kind)), _Plain(decoder_of(kind), change, its in NAMING_TEXTS)


_PLAIN: Final = dict(_plain())
"""By kind and schema."""
