"""What the tests of the ledger and the engine begin with: messages as the door and the workers make them, one group by
hand, and the fold of a whole log to compare the tables with.

The fold uses `touches` and `evolve` alone: neither the tables nor anything that the daemon keeps in memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from comfyledger.core.backends import BackendRow
from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import SubmitBatch
from comfyledger.core.decide.decide import Message, Policy, decide, needs
from comfyledger.core.events import BatchRequested, ImageAdded, ImageRenumbered, Recorded
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.inputs import InputRow
from comfyledger.core.keys import Key, gathered
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import (
    BatchRow,
    ImageRow,
    LaneRow,
    PromptRow,
    RequestRow,
    Row,
    RowId,
    SeriesRow,
    Slice,
    row_id,
)
from comfyledger.core.values import PromptFixed, StoreRef, blob_of
from comfyledger.core.webhooks import WebhookRow
from comfyledger.ledger.commit_group import texts_named
from comfyledger.ledger.eventlog import GENESIS, Line, chained, decode
from comfyledger.ledger.ports import Ledger
from comfyledger.ledger.sqlite import facets, schema
from comfyledger.ledger.sqlite.log_table import read_page
from comfyledger.ledger.sqlite.writer import Ledger as SqliteLedger
from support.core_builders import of_batch
from support.input_checks import tables_of_inputs
from support.review_checks import reviews_told

GRAPH = b'{"9":{"class_type":"SaveImage"}}'
FOLDER = StoreRef("folder", "folder:/images")
NOW_MS = 1_700_000_000_000


class Rows(Protocol):
    """A ledger, or a model of one."""

    def load(self, keys: Iterable[Key]) -> Slice: ...


def submission(
    request_id: str = "r1",
    *,
    user: str = "Areg",
    character: str = "Opal Fever",
    quantity: int = 3,
    trust: bool = True,
    label: str = "app",
    body: str = "",
    prompt: str = "",
    salt: bytes = b"salt",
    graph: bytes = GRAPH,
    media: tuple[Medium, ...] = ("image",),
) -> SubmitBatch:
    """A batch as the door admits it. `body` tells requests of one id apart; `prompt` is a text that somebody typed.

    `quantity` counts shots, each with a prompt of its own that gives an image for each of the `media`.
    """
    text = blob_of(prompt.encode(), salt + request_id.encode()) if prompt else None
    inputs = text.digest if text else None
    return SubmitBatch(
        label=label,
        request_id=request_id,
        request_digest=hashlib.sha256(f"{user}/{character}/{quantity}/{body}".encode()).hexdigest(),
        batch_id=f"batch-{label}-{request_id}{body}",
        username=user,
        user_key=fold(user),
        character=character,
        premade=True,
        series=tuple(series_of(Templates(), user, character, True, medium) for medium in media),
        media=media,
        prompts=tuple(
            PromptFixed(shot, tuple(range((shot - 1) * len(media) + 1, shot * len(media) + 1)), shot, "main", inputs)
            for shot in range(1, quantity + 1)
        ),
        workflow="empty",
        template=blob_of(graph, salt, hashlib.sha256(graph).hexdigest()),
        plan={"output": "9"} | ({"outputs": [{"node": str(9 + n)} for n in range(len(media))]} if media[1:] else {}),
        stores=(FOLDER,),
        priority=1,
        texts=(text,) if text else (),
        trust=trust,
    )


def take_one(ledger: Ledger, message: Message) -> Any:
    """One message inside a group, as the engine does it."""
    with ledger.message():
        state = ledger.load(needs(message))
        decision = decide(state, message, NOW_MS, ledger.head.position, Policy())
        ledger.write(decision.recorded, state, texts_named(message, decision))
    return decision.answer


def take(ledger: Ledger, *messages: Message) -> list[Any]:
    """A group of messages, committed. Returns their answers."""
    with ledger.group():
        return [take_one(ledger, message) for message in messages]


class Wire:
    """The writer's connection with a fault in it: `fault` may raise before a statement is run."""

    def __init__(self, connection: sqlite3.Connection, fault: Callable[[str], None]) -> None:
        self._connection = connection
        self._fault = fault

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._fault(sql)
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def failing(statement: str, code: int) -> Callable[[str], None]:
    def fault(sql: str) -> None:
        if sql == statement:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error

    return fault


def bend(ledger: SqliteLedger, fault: Callable[[str], None]) -> None:
    ledger._connection = Wire(ledger._connection, fault)  # type: ignore[assignment]


def room(ledger: SqliteLedger, pages: int) -> None:
    """Let the file grow by so many pages and no more: SQLite then says exactly what it says of a full disk."""
    count = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count={count + pages}")


def raw(path: Path) -> sqlite3.Connection:
    """A connection of somebody who knows nothing of comfyledger."""
    return sqlite3.connect(path, isolation_level=None)


def as_before_lists(path: Path) -> None:
    """Undo the migration that made the table `facets`, as if the ledger was left by the release before."""
    former = (sql for sql in (*schema._BIRTH, *schema._FORGETTING) if sql.startswith("CREATE INDEX images_"))
    connection = raw(path)
    for statement in ("DROP TABLE facets", "DROP INDEX images_unstored", "PRAGMA user_version=7", *former):
        connection.execute(statement)
    connection.execute("DELETE FROM _sqlite_migrations WHERE name = '0008_facets'")
    connection.close()


def log_of(path: Path) -> list[Line]:
    connection = raw(path)
    try:
        return read_page(connection, after=0, limit=1_000_000)
    finally:
        connection.close()


def first_broken(lines: Iterable[Line]) -> int | None:
    """The place in the log (from 1) where the chain does not hold; None if it holds to the end."""
    head = GENESIS
    for place, line in enumerate(lines, 1):
        head = chained(head, line)
        if line.position != place or head != line.hash:
            return place
    return None


def folded(lines: Iterable[Line]) -> dict[RowId, Row]:
    """All rows that a log leads to, from nothing."""
    rows: dict[RowId, Row] = {}
    for line in lines:
        event = decode(line.kind, line.schema, line.data)
        state = gathered(touches(event), lambda key: rows.get(key.row_id), lambda key: of_batch(rows, key))
        rows.update((row_id(row), row) for row in evolve(state, Recorded(line.position, line.at_ms, event)))
    return rows


_TABLES: dict[str, tuple[type, tuple[str, ...]]] = {
    "series": (SeriesRow, ("key", "next")),
    "requests": (RequestRow, ("label", "request_id", "batch_id")),
    "batches": (BatchRow, ("batch_id", "user_key", "status", "position")),
    "prompts": (PromptRow, ("batch_id", "index", "open_state")),
    "images": (ImageRow, ("batch_id", "index", "prompt", "user_key", "state")),
    "lanes": (LaneRow, ("name",)),
    "backends": (BackendRow, ("name", "present")),
    "webhooks": (WebhookRow, ("name", "present")),
    "boxes": (BoxRow, ("name", "present")),
    "inputs": (InputRow, ("sha256", "here", "added_ms", "is_usable", "is_ending", "is_going")),
}


def rows_in(path: Path) -> dict[RowId, Row]:
    """All rows as they stand in the tables; the columns beside a row must say what the row says."""
    connection = raw(path)
    rows: dict[RowId, Row] = {}
    for table, (kind, columns) in _TABLES.items():
        for *values, text in connection.execute(f"SELECT * FROM {table}"):
            row: Row = msgspec.json.decode(text, type=kind)
            assert values == [getattr(row, column) for column in columns]
            rows[row_id(row)] = row
    connection.close()
    return rows


def check_tables(path: Path) -> list[Line]:
    """The chain holds, and the tables equal what the log says: rows, names, users, uses, reviews. Returns the log."""
    lines = log_of(path)
    assert first_broken(lines) is None
    rows = folded(lines)
    assert rows_in(path) == rows
    connection = raw(path)
    given = set(connection.execute("SELECT name, batch_id, image FROM names_given"))
    users = set(connection.execute("SELECT user, position FROM events_by_user"))
    log = [Recorded(line.position, line.at_ms, decode(line.kind, line.schema, line.data)) for line in lines]
    for table, wanted in tables_of_inputs(log, rows).items():
        assert set(connection.execute(f"SELECT * FROM {table}")) == wanted
    filtered_by = set(connection.execute("SELECT * FROM facets"))
    reviews = {(batch, image): said for batch, image, *said in connection.execute("SELECT * FROM reviews")}
    connection.close()
    assert {place: tuple(said) for place, said in reviews.items()} == reviews_told(log)
    assert given == _names(lines)
    assert filtered_by == {facets.of(row) for row in rows.values() if isinstance(row, BatchRow)}
    batches = {row.batch_id: row.user_key for row in rows.values() if isinstance(row, BatchRow)}
    assert users == {(batches[line.stream], line.position) for line in lines if line.stream in batches}
    return lines


def _names(lines: Iterable[Line]) -> set[tuple[str, str, int]]:
    events = [decode(line.kind, line.schema, line.data) for line in lines]
    given = {
        (fold(image.public_id), event.batch_id, image.index)
        for event in events
        if isinstance(event, BatchRequested)
        for image in event.images
    }
    renumbered = (event for event in events if isinstance(event, ImageRenumbered | ImageAdded))
    return given | {(fold(f"{event.folder}/{event.file}"), event.batch_id, event.image) for event in renumbered}
