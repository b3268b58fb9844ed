"""Whether the tables agree with the log, stream by stream: a fast check that only passes or fails.

A batch's events touch its own rows and its series. So batches are folded one at a time in memory and compared with the
live rows at once. A range of batches is checked in a transaction of its own, on any processor. A range cannot see a row
that belongs to no batch; the counts show it, because the batches of all ranges must account for what the tables had at
the head. Series, lanes, inputs, backends and webhooks are folded separately from the few events that touch them.

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

from comfyledger.core.backends import BackendRow
from comfyledger.core.boxes import BoxRow
from comfyledger.core.events import KIND_OF, NUMBERING, BatchRequested, Event, Recorded
from comfyledger.core.evolve.batches import series_used
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.evolve.recovery import series_renumbered
from comfyledger.core.inputs import InputRow
from comfyledger.core.keys import BackendKey, BoxKey, InputKey, LaneKey, SeriesKey, WebhookKey
from comfyledger.core.rows import BatchRow, LaneRow, Row, SeriesRow
from comfyledger.core.webhooks import WebhookRow
from comfyledger.ledger.eventlog import Head, decode
from comfyledger.ledger.sqlite import facets, input_uses, projections
from comfyledger.ledger.sqlite.log_table import one_moment
from comfyledger.maintenance.audit.compare import HELD, comes_later, compare_table, same_row
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.fold import CANNOT, Scratch, Working
from comfyledger.maintenance.audit.folded import OF_INPUTS, OF_NO_BATCH, Account, Differs, Folded

EVENTS_A_RANGE: Final = 20_000
_OF_SERIES: Final[tuple[type[Event], ...]] = (*OF_NO_BATCH, BatchRequested, *NUMBERING)

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
_NAMED: Final = (
    "SELECT count(*) FROM json_each(?) j CROSS JOIN names_given n ON n.name = j.key"
    " WHERE n.image = j.value AND n.batch_id = ?"
)
_HELD: Final = "SELECT b.digest, b.key <> '' FROM json_each(?) j CROSS JOIN blobs b ON b.digest = j.value"
_INPUTS_USED: Final = "SELECT sha256, label, ended_ms FROM input_uses WHERE batch_id = ?"
_IMAGES_USED: Final = (
    "SELECT u.batch_id, u.image, u.kind, u.label, u.by_batch FROM json_each(?) j JOIN image_uses u"
    " ON u.batch_id = j.value ->> 0 AND u.image = j.value ->> 1 AND u.by_batch = ?"
)
_FACETS: Final = "SELECT * FROM facets WHERE batch_id = ?"
_REVIEWED: Final = "SELECT image, verdict, rating FROM reviews WHERE batch_id = ?"
_USED: Final = "SELECT count(*) FROM template_uses WHERE template = ? AND batch_id = ?"
_OF_USER: Final = (
    "SELECT count(*) FROM events e JOIN events_by_user u ON u.user = ? AND u.position = e.position WHERE e.stream = ?"
)
_REQUEST: Final = "SELECT label, request_id, batch_id, row FROM requests WHERE label = ? AND request_id = ?"
_SERIES: Final = "SELECT position, at, kind, schema, data FROM events WHERE kind IN ({}) ORDER BY position".format(  # noqa: S608
    ", ".join(sorted(f"'{KIND_OF[kind]}'" for kind in _OF_SERIES))
)

_BEYOND: Final = b""
"""Every BLOB comes after all TEXT (SQLite, datatypes, sort order)."""


class Range(msgspec.Struct, frozen=True):
    """The streams from `first` on and before `end`; without an end if that is empty. `events`: about so many."""

    first: str
    end: str
    events: int


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
    "reviews",
    "facets",
    f"blobs WHERE key = '' AND {HELD}",
)


def templates_agree(live: sqlite3.Connection) -> bool:
    """Whether the ledger keeps as many graphs as are used. In a transaction of its own."""
    with one_moment(live):
        held = live.execute(f"SELECT count(*) FROM blobs WHERE key <> '' AND {HELD}").fetchone()  # noqa: S608
        used = live.execute("SELECT count(*) FROM (SELECT DISTINCT template FROM template_uses)").fetchone()
    return bool(held == used)


# ---- series, lanes, inputs, backends, webhooks and boxes


def series_agree(live: sqlite3.Connection, folder: Path) -> bool:
    """Whether series, lanes, inputs, added backends, webhooks and boxes agree with the log; False for a faulty ledger.

    `folder`: for a scratch file.
    """
    scratch, tally = Scratch(folder / "series.db"), Tally()
    try:
        with one_moment(live):
            _fold_series(live, scratch.connection)
            for table in ("series", "lanes", "inputs", "input_labels", "backends", "webhooks", "boxes"):
                if not comes_later(live, table):
                    compare_table(live, scratch.connection, table, tally, silent)
    except CANNOT:
        return False
    finally:
        scratch.close()
    return not tally


_KEYS: Final = (SeriesKey, LaneKey, InputKey, BackendKey, WebhookKey, BoxKey)
_TABLES: Final = (SeriesRow, LaneRow, InputRow, BackendRow, WebhookRow, BoxRow)


def _fold_series(live: sqlite3.Connection, scratch: sqlite3.Connection) -> None:
    working = Working(scratch)
    for position, at, kind, schema, data in live.execute(_SERIES):
        event = decode(kind, schema, data)
        working.hold(key for key in touches(event) if isinstance(key, _KEYS))
        if isinstance(event, BatchRequested):
            working.put(series_used(working, event))
        elif isinstance(event, NUMBERING):
            working.put((series_renumbered(working, event),))
        else:
            rows = evolve(working, Recorded(position, at, event))
            working.put(row for row in rows if isinstance(row, _TABLES))
        if type(event) in OF_INPUTS:
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
        names = {name: image for name, _, image in folded.names}
        given = self._live.execute(_NAMED, (msgspec.json.encode(names).decode(), batch.batch_id)).fetchone()[0]
        if (given, len(names)) != (len(folded.names), len(folded.names)):
            raise Differs
        uses = self._live.execute(_USED, (batch.template, batch.batch_id)).fetchone()[0]
        of_user = self._live.execute(_OF_USER, (batch.user_key, batch.batch_id)).fetchone()[0]
        if (uses, of_user) != (folded.is_using, folded.events):
            raise Differs
        self._compare_loaded(folded, batch)
        if self._live.execute(_FACETS, (batch.batch_id,)).fetchone() != facets.of(batch):
            raise Differs
        reviews = folded.reviews  # of most batches none, as the counts say
        if reviews and set(self._live.execute(_REVIEWED, (batch.batch_id,))) != reviews:
            raise Differs

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
