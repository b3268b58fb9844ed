"""The state that follows from the log alone, in a scratch file with the tables of a ledger.

The fold is the daemon's own: `touches`, `evolve` and the projections' `save`. Only the time of writing differs. A batch
is loaded whole, stays in memory while its events are folded, and is written when memory is needed. So an event costs
no statement, and memory stays flat for a log of any length. The ledger is only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.core.events import KINDS, NUMBERING, BatchRequested, BlobErased, Event, ImageForgotten, Recorded
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.keys import (
    BackendKey,
    BoxKey,
    InputKey,
    InputUses,
    Key,
    LaneKey,
    OneKey,
    PresentBackends,
    PresentBoxes,
    PresentWebhooks,
    RequestKey,
    SeriesKey,
    TemplateKey,
    WebhookKey,
    whole_batch,
)
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow, Slice
from comfyledger.errors import ComfyledgerError
from comfyledger.ledger.eventlog import Line, decode
from comfyledger.ledger.log_reader import LogReader, LogUnreadable
from comfyledger.ledger.sqlite import blobs, facets, image_uses, input_uses, projections, reviews, schema
from comfyledger.maintenance.audit.chain import pages
from comfyledger.maintenance.audit.findings import Progress, Tally

ROWS_MAX: Final = 20_000
"""Rows kept in memory before all are written and dropped; about a kilobyte each."""
CANNOT: Final = (ComfyledgerError, msgspec.MsgspecError, sqlite3.Error, LookupError, TypeError, ValueError)
"""Raised by folding an event that no daemon can have written."""

_NAMING: Final = frozenset((BatchRequested, *NUMBERING, ImageForgotten))
"""Events that also write names_given, template_uses, image_uses or facets."""
NAMING_TEXTS: Final = frozenset(
    kind for kind in KINDS.values() if kind is BatchRequested or "words" in kind.__struct_fields__
)
_INDEXES: Final = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
_EVENT: Final = "INSERT INTO events (position, stream, kind, schema, at, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"


class Working(Slice):
    """The rows in memory. Each batch is there as a whole."""

    __slots__ = ("_connection", "_loaded")

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._loaded: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def load_for(self, stream: str, event: Event) -> None:
        """Load the rows that an event of a stream touches, unless they are in memory."""
        if stream in self._loaded and not isinstance(event, NUMBERING):
            return  # a new number touches a series that the batch's other events do not
        self._loaded.add(stream)
        found = projections.load(self._connection, _whole(touches(event)))
        for ident, row in found._rows.items():
            self._rows.setdefault(ident, row)

    def hold(self, keys: Iterable[OneKey]) -> None:
        """Load single rows, unless they are in memory."""
        for ident, row in projections.load(self._connection, self._lacking(keys))._rows.items():
            self._rows[ident] = row

    def _lacking(self, keys: Iterable[OneKey]) -> Iterator[OneKey]:
        return (key for key in keys if key.row_id not in self._rows)

    def images(self, batch_id: str) -> list[ImageRow]:
        count = self.the_batch(batch_id).images
        return [self.the_image(batch_id, index) for index in range(1, count + 1)]

    def prompts(self, batch_id: str) -> list[PromptRow]:
        count = self.the_batch(batch_id).prompts
        return [self.the_prompt(batch_id, index) for index in range(1, count + 1)]

    def drop_if_full(self) -> None:
        if len(self) > ROWS_MAX:
            self.drop()

    def drop(self) -> None:
        """Write the changed rows in the order of their keys, and drop all rows."""
        projections.save(self._connection, (self.changed[ident] for ident in sorted(self.changed)))
        self._rows.clear()
        self.changed.clear()
        self._loaded.clear()


def _whole(keys: Iterable[Key]) -> Iterator[Key]:
    """The keys, each part of a batch replaced by the whole batch."""
    batches = set()
    for key in keys:
        if isinstance(key, SeriesKey | LaneKey | InputKey | BackendKey | WebhookKey | BoxKey):
            yield key
        elif not isinstance(
            key, RequestKey | TemplateKey | InputUses | PresentBackends | PresentWebhooks | PresentBoxes
        ):  # touched by no event
            batches.add(key.batch_id)
    for batch_id in batches:
        yield from whole_batch(batch_id)


class Scratch:
    """A file with the tables of a ledger, filled by folding events from the first on. No other process uses it.

    `with_events`: the events are copied too, and the tables have the indexes of a ledger. Without it the tables are
    only read from end to end, so indexes would be wasted.
    """

    def __init__(self, path: Path, with_events: bool = False) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536"):
            self.connection.execute(f"PRAGMA {pragma}")
        schema.migrate(self.connection)
        if not with_events:
            for (index,) in self.connection.execute(_INDEXES).fetchall():
                self.connection.execute(f"DROP INDEX {index}")
        self.connection.execute(
            "CREATE TEMP TABLE referred (digest TEXT PRIMARY KEY, position INTEGER, kind TEXT) WITHOUT ROWID"
        )
        self.position = 0
        self._with_events = with_events
        self._working = Working(self.connection)

    def close(self) -> None:
        self.connection.close()

    def fold(self, log: LogReader, upto: int, tally: Tally, progress: Progress) -> bool:
        """Fold on up to a position of a log. False if the log could not be folded so far."""
        self.connection.execute("BEGIN")
        try:
            for page in pages(log, upto, after=self.position):
                if isinstance(page, LogUnreadable):
                    raise page
                self._fold_page(page)
                progress("fold of the log", self.position, upto)
            self._working.drop()
        except CANNOT as error:
            where = f"position {self.position + 1}"
            tally.add("fold_impossible", where, f"The log cannot be folded after position {self.position}: {error!r}.")
            return False
        finally:
            self.connection.execute("COMMIT")
        return True

    def _fold_page(self, page: list[Line]) -> None:
        users: list[tuple[str, int]] = []
        referred: list[tuple[str, int, str]] = []
        erased: list[tuple[str]] = []
        for line in page:
            event = decode(line.kind, line.schema, line.data)
            batch = self._fold_one(line, event)
            if batch is not None:
                users.append((batch.user_key, line.position))
            if type(event) in NAMING_TEXTS:
                referred += ((digest, line.position, kind) for digest, kind in texts_of(event))
            if isinstance(event, BlobErased):
                erased += ((digest,) for digest in event.digests)
            self.position = line.position
        users.sort()
        write = self.connection.executemany
        write("INSERT INTO events_by_user (user, position) VALUES (?, ?)", users)
        write("INSERT OR IGNORE INTO referred (digest, position, kind) VALUES (?, ?, ?)", referred)
        write("DELETE FROM referred WHERE digest = ?", erased)  # with their salt, none comes again
        if self._with_events:
            write(_EVENT, [(x.position, x.stream, x.kind, x.schema, x.at_ms, x.data, x.hash) for x in page])
        self._working.drop_if_full()

    def _fold_one(self, line: Line, event: Event) -> BatchRow | None:
        """The batch of the event, if it has one."""
        working = self._working
        working.load_for(line.stream, event)
        working.put(evolve(working, Recorded(line.position, line.at_ms, event)))
        batch = working.batch(line.stream)
        if type(event) in _NAMING:
            projections.give_names(self.connection, (event,))
            blobs.note_templates(self.connection, ((event, batch),))
            image_uses.note(self.connection, event)
            facets.note(self.connection, event, batch)
        if type(event) in input_uses.NOTED:
            input_uses.note(self.connection, event, batch, line.at_ms)
        if type(event) in reviews.NOTED:
            reviews.note(self.connection, event)
        return batch


def texts_of(event: Event) -> Iterable[tuple[str, str]]:
    """The digests of the texts that an event names, each with what the text is."""
    if isinstance(event, BatchRequested):
        return _texts_asked(event)
    words = getattr(event, "words", None)
    return () if words is None else ((words, "words"),)


def _texts_asked(event: BatchRequested) -> Iterator[tuple[str, str]]:
    yield event.template, "template"
    if event.metadata is not None:
        yield event.metadata, "metadata"
    yield from ((prompt.inputs, "inputs") for prompt in event.prompts if prompt.inputs is not None)
