"""Whether the tables agree with the log, stream by stream: a fast check that only passes or fails.

A batch's events touch its own rows and its series. So batches are folded one at a time in memory and compared with the
live rows at once. A range of batches is checked in a transaction of its own, on any processor. A range cannot see a row
that belongs to no batch; the counts show it, because the batches of all ranges must account for what the tables had at
the head. Series and lanes are folded separately from the few events that touch them.

The fold is the daemon's `evolve`. A failure here names no row; for that `fold` folds the whole log and `compare`
compares row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from comfyledger.core.events import (
    KIND_OF,
    NUMBERING,
    BatchRequested,
    BatchSettled,
    BlobErased,
    Event,
    ImageForgotten,
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
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.evolve.recovery import series_renumbered
from comfyledger.core.inputs import InputRow
from comfyledger.core.keys import InputKey, LaneKey, SeriesKey
from comfyledger.core.rows import BatchRow, LaneRow, Row, SeriesRow, Slice
from comfyledger.ledger.eventlog import Head, decode
from comfyledger.ledger.sqlite import image_uses, input_uses, projections
from comfyledger.ledger.sqlite.log_table import one_moment
from comfyledger.maintenance.audit.compare import HELD, compare_table, same_row
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.fold import CANNOT, NAMING_TEXTS, Scratch, Working, texts_of

EVENTS_A_RANGE: Final = 20_000
_OF_INPUTS: Final = (InputAdded, InputSent, InputForgotten, InputErased, InputRemoved)
_OF_NO_BATCH: Final = (SeriesOpened, SeriesRaised, LedgerRestored, LanePaused, LaneResumed, *_OF_INPUTS)
_KINDS_OF_NO_BATCH: Final = frozenset(KIND_OF[kind] for kind in _OF_NO_BATCH)
_OF_SERIES: Final = (*_OF_NO_BATCH, BatchRequested, *NUMBERING)

_EVENTS: Final = (
    "SELECT stream, position, at, kind, schema, data FROM events WHERE stream >= ? AND stream < ?"
    " ORDER BY stream, position"
)
_ROWS: Final = tuple(
    f"SELECT {columns} FROM {table} WHERE batch_id >= ? AND batch_id < ? ORDER BY {order}"  # noqa: S608
    for table, columns, order in (
        ("batches", "batch_id, user_key, status, position, row", "batch_id"),
        ("prompts", "batch_id, prompt, state, row", "batch_id, prompt"),
        ("images", "batch_id, image, prompt, user_key, state, row", "batch_id, image"),
    )
)
_NAMED: Final = "SELECT n.name, n.batch_id, n.image FROM json_each(?) j CROSS JOIN names_given n ON n.name = j.value"
_HELD: Final = "SELECT b.digest, b.key <> '' FROM json_each(?) j CROSS JOIN blobs b ON b.digest = j.value"
_INPUTS_USED: Final = "SELECT sha256, label, ended_ms FROM input_uses WHERE batch_id = ?"
_IMAGES_USED: Final = (
    "SELECT u.batch_id, u.image, u.kind, u.label, u.by_batch FROM json_each(?) j JOIN image_uses u"
    " ON u.batch_id = j.value ->> 0 AND u.image = j.value ->> 1 AND u.by_batch = ?"
)
_USED: Final = "SELECT count(*) FROM template_uses WHERE template = ? AND batch_id = ?"
_OF_USER: Final = (
    "SELECT count(*) FROM events e JOIN events_by_user u ON u.user = ? AND u.position = e.position WHERE e.stream = ?"
)
_REQUEST: Final = "SELECT label, request_id, batch_id, row FROM requests WHERE label = ? AND request_id = ?"
_SERIES: Final = "SELECT position, at, kind, schema, data FROM events WHERE kind IN ({}) ORDER BY position".format(  # noqa: S608
    ", ".join(f"'{KIND_OF[kind]}'" for kind in _OF_SERIES)
)

_BEYOND: Final = b""
"""Every BLOB comes after all TEXT (SQLite, datatypes, sort order)."""

EventLine = tuple[str, int, int, str, int, str]
"""An event as `_EVENTS` reads it: stream, position, time, kind, schema, data."""


class Range(msgspec.Struct, frozen=True):
    """The streams from `first` on and before `end`; without an end if that is empty. `events`: about so many."""

    first: str
    end: str
    events: int


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
    texts: int = 0

    def add(self, other: Account) -> None:
        for field in Account.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Differs(Exception):
    """A row or a count does not agree with the log."""


# ---- ranges and counts


def ranges(live: sqlite3.Connection) -> Iterator[Range]:
    """Parts of the log with about as many events each. Together they have every stream that exists or may be added."""
    first, events = "", 0
    for stream, count in live.execute("SELECT stream, count(*) FROM events GROUP BY stream"):
        if events >= EVENTS_A_RANGE:
            yield Range(first, stream, events)
            first, events = stream, 0
        events += count
    yield Range(first, "", events)


def counted(live: sqlite3.Connection, head: Head) -> Account:
    """The counts of the tables. To be called in the transaction in which the head was read."""
    counts = [live.execute(f"SELECT count(*) FROM {source}").fetchone()[0] for source in _COUNTED]  # noqa: S608
    return Account(head.position, head.position * (head.position + 1) // 2, *counts)


_COUNTED: Final = (
    "events_by_user",
    "requests",
    "names_given",
    "template_uses",
    "input_uses",
    "image_uses",
    f"blobs WHERE key = '' AND {HELD}",
)


def templates_agree(live: sqlite3.Connection) -> bool:
    """Whether the ledger keeps as many graphs as are used. In a transaction of its own."""
    with one_moment(live):
        held = live.execute(f"SELECT count(*) FROM blobs WHERE key <> '' AND {HELD}").fetchone()  # noqa: S608
        used = live.execute("SELECT count(*) FROM (SELECT DISTINCT template FROM template_uses)").fetchone()
    return bool(held == used)


# ---- series, lanes and inputs


def series_agree(live: sqlite3.Connection, folder: Path) -> bool:
    """Whether series, lanes and inputs agree with the log; False for a faulty ledger. `folder`: for a scratch file."""
    scratch, tally = Scratch(folder / "series.db"), Tally()
    try:
        with one_moment(live):
            _fold_series(live, scratch.connection)
            for table in ("series", "lanes", "inputs", "input_labels"):
                compare_table(live, scratch.connection, table, tally, silent)
    except CANNOT:
        return False
    finally:
        scratch.close()
    return not tally


def _fold_series(live: sqlite3.Connection, scratch: sqlite3.Connection) -> None:
    working = Working(scratch)
    for position, at, kind, schema, data in live.execute(_SERIES):
        event = decode(kind, schema, data)
        working.hold(key for key in touches(event) if isinstance(key, SeriesKey | LaneKey | InputKey))
        if isinstance(event, NUMBERING):
            working.put((series_renumbered(working, event),))
        else:
            rows = evolve(working, Recorded(position, at, event))
            working.put(row for row in rows if isinstance(row, (SeriesRow, LaneRow, InputRow)))
        if isinstance(event, _OF_INPUTS):
            input_uses.note_labels(scratch, event, at)
        working.drop_if_full()
    working.drop()


# ---- a range of batches


def range_agrees(live: sqlite3.Connection, part: Range, head: int) -> Account | None:
    """What the streams of a range account for at the head; None if a row does not agree with its stream."""
    try:
        with one_moment(live):
            return _RangeCheck(live, part, head).account()
    except (Differs, *CANNOT):
        return None


class _RangeCheck:
    """One range within one transaction. The live rows are read in step with the folded ones."""

    def __init__(self, live: sqlite3.Connection, part: Range, head: int) -> None:
        self._live = live
        self._head = head
        within = (part.first, part.end or _BEYOND)
        self._events = live.execute(_EVENTS, within)
        self._batches, self._prompts, self._images = (live.execute(sql, within) for sql in _ROWS)

    def account(self) -> Account:
        """Raises Differs, or one of CANNOT."""
        account = Account()
        for stream, events in groupby(self._events, itemgetter(0)):
            batch = Folded(stream, self._head)
            batch.take(events)
            if not batch.is_elsewhere:
                self._compare(batch)
            self._compare_texts(batch)
            account.add(batch.at_head)
        for rest in (self._batches, self._prompts, self._images):
            if next(rest, None) is not None:
                raise Differs
        return account

    def _compare(self, folded: Folded) -> None:
        state = folded.state
        batch = state.the_batch(folded.stream)
        _same(self._batches, (batch,))
        _same(self._prompts, state.prompts(folded.stream))
        _same(self._images, state.images(folded.stream))
        request = state.request(batch.label, batch.request_id)
        if request is None:
            raise Differs
        _same(self._live.execute(_REQUEST, (request.label, request.request_id)), (request,))
        self._compare_other_tables(folded, batch)

    def _compare_other_tables(self, folded: Folded, batch: BatchRow) -> None:
        """Compare what the batch has in tables with other keys."""
        names = [name for name, *_ in folded.names]
        if set(self._among(_NAMED, names)) != set(folded.names) or len(set(names)) != len(names):
            raise Differs
        uses = self._live.execute(_USED, (batch.template, batch.batch_id)).fetchone()[0]
        of_user = self._live.execute(_OF_USER, (batch.user_key, batch.batch_id)).fetchone()[0]
        if (uses, of_user) != (folded.is_using, folded.events):
            raise Differs
        self._compare_loaded(folded, batch)

    def _compare_loaded(self, folded: Folded, batch: BatchRow) -> None:
        """Compare which inputs and images the batch is made from. Of most batches there are none, as the counts say."""
        wanted = {(sha256, batch.label, ended_ms) for sha256, ended_ms in folded.inputs.items()}
        if wanted and set(self._live.execute(_INPUTS_USED, (batch.batch_id,))) != wanted:
            raise Differs
        if folded.sources:
            places = msgspec.json.encode([use[:2] for use in folded.sources]).decode()
            if set(self._live.execute(_IMAGES_USED, (places, batch.batch_id))) != set(folded.sources):
                raise Differs

    def _compare_texts(self, folded: Folded) -> None:
        """A graph is kept while any batch uses it, all other texts until they are erased."""
        wanted = {digest: int(kind == "template") for digest, kind in folded.texts.items()}
        if not folded.is_using:
            wanted = {digest: is_graph for digest, is_graph in wanted.items() if not is_graph}
        if wanted and dict(self._among(_HELD, list(wanted))) != wanted:
            raise Differs

    def _among(self, sql: str, keys: list[str]) -> list[Any]:
        return self._live.execute(sql, (msgspec.json.encode(keys).decode(),)).fetchall()


def _same(live: Iterator[tuple[Any, ...]], rows: Iterable[Row]) -> None:
    for row in rows:
        wanted, found = projections.stored(row), next(live, None)
        if found != wanted and (found is None or not same_row(found, wanted, type(row))):
            raise Differs


class Folded:
    """The rows of one stream after its events, and what they account for in other tables."""

    def __init__(self, stream: str, head: int) -> None:
        self.stream = stream
        self.state = Slice()
        self.names: list[tuple[str, str, int]] = []
        self.texts: dict[str, str] = {}
        """Digests of texts that were not erased, each with the kind of its text."""
        self.inputs: dict[str, int] = {}
        """The inputs that the batch uses, each with the time at which the use ended; 0 while it is open."""
        self.sources: list[image_uses.Use] = []
        """The images that the batch was made from."""
        self.events = self._positions = 0
        self.is_using = self.is_elsewhere = False
        self._head = head
        self._at_head: Account | None = None

    def take(self, events: Iterable[EventLine]) -> None:
        """Fold the stream's events. Raises Differs for one that belongs to another stream, or one of CANNOT."""
        stream, state, head = self.stream, self.state, self._head
        for _, position, at, kind, schema, data in events:
            if position > head and self._at_head is None:
                self._at_head = self._account()
            self.events += 1
            self._positions += position
            event = decode(kind, schema, data)
            if kind in _KINDS_OF_NO_BATCH:
                self.is_elsewhere = True
                self._note(event)
                continue
            if self.is_elsewhere or event.batch_id != stream:  # type: ignore[attr-defined]
                raise Differs
            if isinstance(event, NUMBERING):  # series_agree checks the series; here it must only exist
                state.put((SeriesRow(event.series, "", 0),))
            state.put(evolve(state, Recorded(position, at, event)))
            if type(event) in _IN_OTHER_TABLES:
                self._note(event)
            if type(event) in input_uses.NOTED:
                self._note_inputs(event, at)

    def _note(self, event: Event) -> None:
        self.names += projections.names_given(event)
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
    def at_head(self) -> Account:
        return self._account() if self._at_head is None else self._at_head

    def _account(self) -> Account:
        """What the events so far account for."""
        texts = sum(kind != "template" for kind in self.texts.values())
        if self.is_elsewhere or not self.events:
            return Account(self.events, self._positions, texts=texts)
        made_from = len(self.inputs), len(self.sources)
        return Account(
            self.events, self._positions, self.events, 1, len(self.names), int(self.is_using), *made_from, texts
        )


_IN_OTHER_TABLES: Final = NAMING_TEXTS | {BatchRequested, *NUMBERING, ImageForgotten, BlobErased}
