"""What can be salvaged from a ledger that is about to be replaced, however damaged it is.

That is which numbers of which series it gave, and what it has that the backup lacks. Each table is read from its
beginning and, if that fails, from its end too; every readable row counts. A number found there is only taken as one
that may have been given.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from comfyledger.core.events import (
    KIND_OF,
    BackendAdded,
    BackendRemoved,
    InputAdded,
    InputForgotten,
    InputSent,
    WebhookAdded,
)
from comfyledger.core.evolve.webhooks import WebhookEvent
from comfyledger.core.media import EXTENSION
from comfyledger.core.naming.slugs import fold
from comfyledger.core.urls import place_of
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.ledger.log_reader import LogReader, LogUnreadable
from comfyledger.ledger.sqlite.log_table import LogTable
from comfyledger.maintenance.audit import chain
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.open_read_only import Identity, identity_of, open_read_only
from comfyledger.plugin_api import Series

PROBLEMS_MAX: Final = 20
POSITION_MAX: Final = 2**63 - 1
"""Of SQLite."""
_BATCH: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_OF_INPUTS: Final = {"input_added": InputAdded, "input_sent": InputSent, "input_forgotten": InputForgotten}
_OF_BACKENDS: Final = {"backend_added": BackendAdded, "backend_removed": BackendRemoved}
_OF_WEBHOOKS: Final[dict[str, type[WebhookEvent]]] = {KIND_OF[one]: one for one in get_args(WebhookEvent)}
_FILE: Final = re.compile(rf"[1-9][0-9]{{0,14}}\.{EXTENSION}")


class Trace(msgspec.Struct, frozen=True):
    """A series and the highest number seen of it; folder, stem and suffix as written, if known."""

    folder: str
    stem: str
    suffix: str
    highest: int

    @property
    def asked(self) -> Series:
        return Series(self.folder, self.stem, self.suffix)


class Lost(msgspec.Struct, frozen=True):
    """What only the old ledger has, because it happened after the backup."""

    events: int = 0
    batches: int = 0
    images: int = 0


class Forgotten(msgspec.Struct, frozen=True):
    """Images of a batch that were forgotten. `stores`: these were asked to delete them as well."""

    batch_id: str
    images: tuple[int, ...]
    stores: bool = False


class InputLabels(msgspec.Struct, frozen=True):
    """The labels that gave an input up, and did not add it again."""

    sha256: str
    labels: tuple[str, ...]


class Salvaged(msgspec.Struct, frozen=True):
    """What was read. `whole`: the ledger continues the backup, and all of it could be read and verified.

    `lost` is None if the ledger does not continue the backup: then it is not known. Without `is_counted` more may be
    lost, which could not be read. `forgotten` are the images that were forgotten on purpose, as far as the log could be
    read: a backup must not restore them. So with `inputs_forgotten`. `inputs_sent`: where copies of inputs may be.
    `backends`: what became last of each backend that clients added or removed. `webhooks`: what became of them, in its
    order.
    """

    ledger_id: str = ""
    traces: dict[str, Trace] = {}
    whole: bool = False
    lost: Lost | None = None
    is_counted: bool = False
    forgotten: tuple[Forgotten, ...] = ()
    problems: tuple[str, ...] = ()
    inputs_forgotten: tuple[InputLabels, ...] = ()
    inputs_sent: tuple[InputSent, ...] = ()
    backends: tuple[BackendAdded | BackendRemoved, ...] = ()
    webhooks: tuple[WebhookEvent, ...] = ()


class _Named(msgspec.Struct):
    number: int
    folder: str
    file: str


class _Renumbered(_Named):
    series: str


class _Output(msgspec.Struct):
    series: str


class _Given(_Named):
    output: int = 1


class _Requested(msgspec.Struct):
    series: str
    images: list[_Given]
    outputs: list[_Output] = []
    """None in the first schema."""

    def series_of(self, image: _Given) -> str:
        return self.outputs[image.output - 1].series if self.outputs else self.series


def traced(key: str, folder: str, highest: int, file: str = "", number: int = 0) -> Trace:
    """A series by its key, spelled as in one of its names, if one is known."""
    prefix, _, suffix = key.partition("#")
    folder_key, _, stem = prefix.rpartition("/")
    cut = len(file) - len(suffix)
    written = file[:cut].removesuffix(str(number))
    if file and fold(written) == stem and fold(file[cut:]) == suffix:
        return Trace(folder, written, file[cut:], highest)
    return Trace(folder or folder_key, stem, suffix, highest)


def series_in(connection: sqlite3.Connection) -> dict[str, Trace]:
    """Every series of a ledger that is whole, with the last number that it gave or passed over."""
    sql = (
        "SELECT s.key, s.row ->> '$.folder', s.next - 1, i.row ->> '$.file', i.row ->> '$.number' FROM series s"
        " LEFT JOIN (SELECT key, min(batch_id) AS batch_id, image FROM ("
        "SELECT row ->> '$.series' AS key, batch_id, 1 AS image FROM batches UNION ALL"
        " SELECT o.value ->> '$.series', b.batch_id, o.key + 1 FROM batches b, json_each(b.row, '$.outputs') o"
        ") GROUP BY key) b USING (key)"
        " LEFT JOIN images i ON i.batch_id = b.batch_id AND i.image = b.image WHERE s.key <> ''"
    )
    rows = connection.execute(sql)
    return {key: traced(key, folder, highest, file or "", number or 0) for key, folder, highest, file, number in rows}


def salvage(path: Path, backup: Identity, head: Head, progress: Progress) -> Salvaged:
    """Read a ledger. `backup` may be an earlier state of it that ends with `head`. Faults of the ledger do not
    raise."""
    reading = _Reading(backup, head, progress)
    with reading.part("the ledger"), open_read_only(path) as connection:
        reading.read(connection)
    return reading.salvaged()


class _Reading:
    """What was salvaged so far."""

    def __init__(self, backup: Identity, head: Head, progress: Progress) -> None:
        self._backup, self._head, self._progress = backup, head, progress
        self._ledger_id = ""
        self._traces: dict[str, Trace] = {}
        self._problems: list[str] = []
        self._lost: Lost | None = None
        self._is_counted = False
        self._forgotten: list[Forgotten] = []
        self._given_up: dict[str, set[str]] = {}
        self._sent: dict[tuple[str, str], InputSent] = {}
        self._backends: dict[str, BackendAdded | BackendRemoved] = {}
        self._webhooks: list[WebhookEvent] = []

    def salvaged(self) -> Salvaged:
        whole = self._lost is not None and not self._problems
        return Salvaged(
            self._ledger_id,
            self._traces,
            whole,
            self._lost,
            self._is_counted,
            tuple(self._forgotten),
            tuple(self._problems),
            tuple(InputLabels(sha256, tuple(sorted(labels))) for sha256, labels in self._given_up.items() if labels),
            tuple(self._sent.values()),
            tuple(self._backends.values()),
            tuple(self._webhooks),
        )

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """A part that is read. If it cannot be read, that is a problem and only this part ends."""
        try:
            yield
        except (sqlite3.Error, LedgerUnusable, msgspec.MsgspecError, TypeError, ValueError, LookupError) as error:
            if len(self._problems) < PROBLEMS_MAX:
                self._problems.append(f"{what}: {error}")

    def read(self, connection: sqlite3.Connection) -> None:
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        with self.part("its name"):
            self._ledger_id = identity_of(connection).ledger_id
        with self.part("the log"):
            self._read_log(connection)
        for row in self._rows(connection, "series", "key, next, row ->> '$.folder'", "key"):
            with self.part("series"):
                self._saw(row[0], row[2], row[1] - 1)
        suffixes = {"", *(key.partition("#")[2] for key in self._traces)}
        for (name,) in self._rows(connection, "names_given", "name", "name"):
            with self.part("names_given"):
                self._saw_name(name, suffixes)

    def _read_log(self, connection: sqlite3.Connection) -> None:
        log = LogTable(connection)
        continues = self._ledger_id == self._backup.ledger_id and self._has_head(log)
        self._lost = Lost() if continues else None
        before = self._head if continues else Head()
        upto = self._last_position(connection)
        for line in self._lines(log, before.position, upto):
            self._read_line(line, before)
            before = Head(line.position, line.hash)
            if line.position % chain.PAGE == 0 and upto != POSITION_MAX:
                self._progress("the old ledger", line.position, upto)
        self._progress("the old ledger", before.position, before.position)
        self._is_counted = before.position == upto and self._ends_well(log)
        if not self._is_counted:
            self._problems.append("the log: its end is missing")
            self._read_backwards(connection, before.position)

    def _last_position(self, connection: sqlite3.Connection) -> int:
        """Of the events; above all of them if their end cannot be read."""
        try:
            return connection.execute("SELECT max(position) FROM events").fetchone()[0] or 0
        except sqlite3.Error as error:
            self._problems.append(f"the end of the log: {error}")
            return POSITION_MAX

    def _lines(self, log: LogReader, after: int, upto: int) -> Iterator[Line]:
        """The lines up to the first that cannot be read: a page that has one is read again in smaller pieces."""
        limit = chain.PAGE
        while after < upto:
            try:
                page = log.page(after=after, limit=limit, upto=upto)
            except LogUnreadable as error:
                if limit == 1:
                    self._problems.append(f"the log after position {after}: {error}")
                    return
                limit //= 2
                continue
            if not page:
                return
            yield from page
            after = max(after + 1, page[-1].position)

    def _ends_well(self, log: LogReader) -> bool:
        tally = Tally()
        try:
            chain.fixed_head(log, tally)
        except (sqlite3.Error, LogUnreadable) as error:
            self._problems.append(f"the end of the log: {error}")
            return False
        return not tally

    def _has_head(self, log: LogReader) -> bool:
        return not self._head.position or log.head_at(self._head.position) == self._head

    def _read_line(self, line: Line, before: Head) -> None:
        if line.position != before.position + 1 or chain.hash_of(before.hash, line) != line.hash:
            self._problems.append(f"the log: position {line.position} is damaged")
            del self._problems[PROBLEMS_MAX:]
        images = self._read_event(line.kind, line.data)
        if self._lost is not None:
            lost = self._lost
            self._lost = Lost(lost.events + 1, lost.batches + (images > 0), lost.images + images)

    def _read_event(self, kind: str, data: Any) -> int:
        """The number of images of a requested batch; 0 for any other event."""
        count = 0
        with self.part("the log"):
            if kind == "batch_requested":
                asked = msgspec.json.decode(data, type=_Requested)
                count = len(asked.images)
                for image in asked.images:
                    self._saw(asked.series_of(image), image.folder, image.number, image.file)
            elif kind in {"image_renumbered", "image_added"}:
                one = msgspec.json.decode(data, type=_Renumbered)
                self._saw(one.series, one.folder, one.number, one.file)
            elif kind == "image_forgotten":
                self._forgotten.append(msgspec.json.decode(data, type=Forgotten))
            elif kind in _OF_INPUTS:
                self._read_input(msgspec.json.decode(data, type=_OF_INPUTS[kind]))
            elif kind in _OF_BACKENDS:
                self._read_backend(msgspec.json.decode(data, type=_OF_BACKENDS[kind]))
            elif kind in _OF_WEBHOOKS:
                self._read_webhook(msgspec.json.decode(data, type=_OF_WEBHOOKS[kind]))
        return count

    def _read_input(self, event: InputAdded | InputSent | InputForgotten) -> None:
        """A log that is read backwards shows first that an input was added again: then it is forgotten all the same."""
        match event:
            case InputAdded():
                self._given_up.get(event.sha256, set()).discard(event.by)
            case InputSent():
                self._sent[event.backend, event.name] = event
            case InputForgotten():
                self._given_up.setdefault(event.sha256, set()).update(event.labels)

    def _read_backend(self, event: BackendAdded | BackendRemoved) -> None:
        """The later one counts. Raises ValueError for an address that nobody can have added."""
        if isinstance(event, BackendAdded):
            place_of(event.url)
        self._backends[event.name] = event

    def _read_webhook(self, event: WebhookEvent) -> None:
        """Raises ValueError for an address that nobody can have added."""
        if isinstance(event, WebhookAdded):
            place_of(event.url)
        self._webhooks.append(event)

    def _read_backwards(self, connection: sqlite3.Connection, after: int) -> None:
        sql = "SELECT kind, data FROM events WHERE position > ? ORDER BY position DESC"
        before, self._backends = self._backends, {}
        webhooks, self._webhooks = self._webhooks, []
        newest: dict[str, BackendAdded | BackendRemoved] = {}
        with suppress(sqlite3.Error):
            for kind, data in connection.execute(sql, (after,)):
                self._read_event(kind, data)
                if kind in _OF_BACKENDS:
                    newest = self._backends | newest
        self._backends = before | newest
        self._webhooks = [*webhooks, *reversed(self._webhooks)]

    def _rows(self, connection: sqlite3.Connection, table: str, columns: str, key: str) -> Iterator[Any]:
        """Rows from the beginning to the end; if that fails, from the end too."""
        for order in ("ASC", "DESC"):
            try:
                yield from connection.execute(f"SELECT {columns} FROM {table} ORDER BY {key} {order}")  # noqa: S608
                return
            except sqlite3.Error as error:
                self._problems.append(f"{table}: {error}")

    def _saw(self, key: str, folder: str, number: int, file: str = "") -> None:
        before = self._traces.get(key)
        if not key or number < 0:
            return
        if before is None or (file and number > before.highest):
            self._traces[key] = traced(key, folder, max(number, before.highest if before else 0), file, number)
        elif number > before.highest:
            self._traces[key] = msgspec.structs.replace(before, highest=number)

    def _saw_name(self, name: str, suffixes: set[str]) -> None:
        """A name is folder, stem, number and suffix, with case folded. `suffixes` are those of the known series."""
        for suffix in suffixes:
            found = re.fullmatch(r"(.*?)([0-9]{1,15})", name.removesuffix(suffix), re.DOTALL)
            if found and found[1] and name.endswith(suffix):
                key = f"{found[1]}#{suffix}" if suffix else found[1]
                self._saw(key, found[1].rpartition("/")[0], int(found[2]))


def unknown_files(spool: Path, backup: sqlite3.Connection) -> int:
    """Files in the spool of batches that the backup does not know: at least this many numbers were given after it."""
    sql = "SELECT 1 FROM batches WHERE batch_id = ?"
    count = 0
    with suppress(FileNotFoundError), os.scandir(spool) as folders:
        for folder in folders:
            if not _BATCH.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
                continue
            if backup.execute(sql, (folder.name,)).fetchone() is None:
                count += sum(_FILE.fullmatch(name) is not None for name in os.listdir(folder))
    return count
