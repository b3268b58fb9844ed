"""The log in PostgreSQL: taking a turn to append, and reading what others appended.

A turn is one transaction that holds the lock of the head. It has two round trips: one that begins it, takes the lock
and brings the lines that this box lacks, and one that writes and commits. Everything that a table gets goes in one JSON
document: an array of text for each column costs psycopg ten times as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec
import psycopg
from psycopg import ClientCursor

from comfyledger import crash_points
from comfyledger.core.values import Blob
from comfyledger.core.webhooks import WebhookProgress
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.ledger.shared import deliverer, schema, texts
from comfyledger.ledger.shared.connection import HOLD_S, Connection, connected, meaning
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.schema import Identity
from comfyledger.ledger.shared.texts import Text

TURN_S: Final = 1.2
"""For each half of a turn: until the lock is had, and until what was written is committed."""
HOLD_MAX_S: Final = 60.0
"""So long a group may take to be decided while the head is locked. A box holds it longer than HOLD_S only if a group
was too large for that before."""
READ_S: Final = 5.0
"""For one page of lines without the lock."""
PROGRESS_S: Final = 5.0
"""Between two looks at how far webhooks have come."""
PAGE_LINES: Final = 500
"""Lines of one page, and lines that are taken in while the lock is held. Whoever lacks more reads them before."""
CHANNEL: Final = "comfyledger_log"
"""Of NOTIFY: the new position, as soon as others can see it."""

_LOCK: Final = "SELECT position, hash, generation FROM head FOR UPDATE"
_LINES: Final = (
    "SELECT position, stream, kind, schema, at, data, hash FROM events WHERE position > %s ORDER BY position LIMIT %s"
)
_APPEND: Final = """
INSERT INTO events (position, stream, kind, schema, at, data, hash)
SELECT position, stream, kind, schema, at, data, decode(hash, 'hex') FROM json_to_recordset(%s)
AS x(position bigint, stream text, kind text, schema integer, at bigint, data text, hash text)"""
_NAME: Final = "INSERT INTO names_given (name) SELECT * FROM json_array_elements_text(%s)"
_PROGRESS: Final = """
INSERT INTO webhook_progress (name, row) SELECT name, row FROM json_to_recordset(%s) AS x(name text, row text)
ON CONFLICT (name) DO UPDATE SET row = excluded.row"""
_MOVE_HEAD: Final = "UPDATE head SET position = %s, hash = %s"


_webhook = msgspec.json.Decoder(WebhookProgress)


class Page(msgspec.Struct, frozen=True):
    """Lines that follow a position, with the texts that came with them. `head`: of the whole log, if it was read.
    `progress`: of webhooks, as far as the lines go, if it was read.
    """

    lines: list[Line]
    texts: list[Text]
    head: Head
    progress: list[WebhookProgress] = []


class Entry(msgspec.Struct, frozen=True):
    """What a group writes: see `SharedLog.turn`. `names`: folded. `texts`: each with the position of the first event
    that was written with it, in their order.
    """

    lines: Sequence[Line] = ()
    names: Sequence[str] = ()
    texts: Sequence[tuple[int, Blob]] = ()
    progress: Sequence[WebhookProgress] = ()
    erased: Sequence[str] = ()


class Turn:
    """The head is locked. `missing`: what the caller lacks. `generation`: of the wrapping key for new texts. `write`
    ends the turn.
    """

    def __init__(self, connection: Connection, keys: Keys, missing: Page, generation: int) -> None:
        self._connection, self._keys = connection, keys
        self._generation = generation
        self.missing = missing
        self.is_over = False

    def write(self, entry: Entry) -> None:
        """Append and commit. The lines must follow the head. Raises LogUnreachable: then it is not known whether that
        was committed; reading the log again shows it. Raises LedgerUnusable.

        All of it is one message, as in `_locked` and for the same reason: whenever this box falls asleep, the server
        waits for a whole message, and counts how long.
        """
        self._connection.within(TURN_S)
        with meaning():
            cursor = ClientCursor(self._connection)
            statements = _statements(entry, self.missing.head, self._seal)
            written = [cursor.mogrify(statement, values) for statement, values in statements]
            crash_points.at("log.sending")
            self._connection.execute("; ".join([*written, "COMMIT"]).encode(), prepare=False)
        self.is_over = True
        crash_points.at("log.committed")

    def _seal(self, position: int, blobs: Sequence[Blob]) -> texts.Statement:
        """Raises LogUnreachable, LedgerUnusable."""
        with meaning():
            return texts.kept(position, blobs, texts.sealer(self._connection, self._keys, self._generation))


def _statements(
    entry: Entry, head: Head, seal: Callable[[int, Sequence[Blob]], texts.Statement]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The writes of a group. One that appends nothing writes the head as it is: its answers may rest on what others
    wrote, and a commit that writes waits until that is on the standby too.
    """
    if entry.lines:
        yield _APPEND, (_json([_columns(line) for line in entry.lines]),)
    if entry.names:
        yield _NAME, (_json(entry.names),)
    last = Head(entry.lines[-1].position, entry.lines[-1].hash) if entry.lines else head
    for position, placed in groupby(entry.texts, itemgetter(0)):
        yield seal(position, [text for _, text in placed])
    if entry.progress:
        rows = [{"name": one.name, "row": msgspec.json.encode(one).decode()} for one in entry.progress]
        yield _PROGRESS, (_json(rows),)
    if entry.erased:
        yield from texts.erased(entry.erased)
    yield _MOVE_HEAD, (last.position, last.hash)
    if entry.lines:
        yield f"NOTIFY {CHANNEL}, '{last.position}'", ()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _columns(line: Line) -> dict[str, Any]:
    return {
        "position": line.position,
        "stream": line.stream,
        "kind": line.kind,
        "schema": line.schema,
        "at": line.at_ms,
        "data": line.data,
        "hash": line.hash.hex(),
    }


class SharedLog:
    """The log at an address, whose texts are read and written with the keys of this box. Every method is called in one
    thread; the connection is made when it is needed.
    """

    def __init__(self, address: str, keys: Keys) -> None:
        self._address = address
        self.keys: Final = keys
        self._connection: Connection | None = None
        self._identity: Identity | None = None
        self._hold_s = float(HOLD_S)
        self._progress_at_s = 0.0

    def close(self) -> None:
        """Give up the connection. The next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def identity(self) -> Identity:
        """Raises LogUnreachable, LedgerUnusable for a database without a fleet or with another one than this box is of,
        and for a server that cannot be trusted.
        """
        with self._connected(READ_S) as connection:
            schema.check_server(connection)
            there = schema.read_identity(connection)
            schema.check_same(there, self._identity or there)
            return there

    def check_keys(self) -> None:
        """Raises LogUnreachable, LedgerUnusable if this box cannot read the texts, OSError."""
        with self._connected(READ_S) as connection:
            self.keys.follow(connection)

    def secret(self) -> str:
        """That of the ledger, in hex. Raises LogUnreachable, LedgerUnusable, OSError."""
        with self._connected(READ_S) as connection:
            self.keys.follow(connection)
            return texts.read_secret(connection, self.keys)

    def belong_to(self, identity: Identity) -> None:
        """From now on every new connection must be to this fleet, in this epoch: see `schema.check_same`."""
        self._identity = identity

    def head(self) -> Head:
        """The last event. Raises LogUnreachable, LedgerUnusable."""
        with self._connected(READ_S) as connection:
            return _head(connection.execute("SELECT position, hash FROM head").fetchone())

    def hash_at(self, position: int) -> bytes | None:
        """The hash of a line; None if the log does not have it. Raises LogUnreachable, LedgerUnusable."""
        with self._connected(READ_S) as connection:
            row = connection.execute("SELECT hash FROM events WHERE position = %s", (position,)).fetchone()
            return bytes(row[0]) if row else None

    def page(self, after: int) -> Page:
        """The next lines, without a lock. Raises LogUnreachable, LedgerUnusable."""
        with self._connected(READ_S) as connection:
            lines = _lines(connection.execute(_LINES, (after, PAGE_LINES)).fetchall())
            found = texts.read(connection, self.keys, after, lines[-1].position) if lines else []
            head = _head(connection.execute("SELECT position, hash FROM head").fetchone())
            return Page(lines, found, head, self._progress(connection, lines))

    def _progress(self, connection: Connection, lines: Sequence[Line]) -> list[WebhookProgress]:
        """How far webhooks have come, at most every `PROGRESS_S`: replicas have it for backups and for people."""
        now_s = time.monotonic()
        if not lines or now_s < self._progress_at_s:
            return []
        self._progress_at_s = now_s + PROGRESS_S
        found = (_webhook.decode(row) for (row,) in connection.execute(deliverer.PROGRESS).fetchall())
        return [one for one in found if one.position <= lines[-1].position]

    def first_texts(self) -> Iterator[list[Blob]]:
        """The texts from before the fleet began, in pages. No page of lines has them. Raises LogUnreachable,
        LedgerUnusable.
        """
        found = self._first_texts("")
        while found:
            yield found
            found = self._first_texts(found[-1].digest)

    def _first_texts(self, after: str) -> list[Blob]:
        with self._connected(READ_S) as connection:
            return [text.blob for text in texts.read_first(connection, self.keys, after, PAGE_LINES)]

    @contextmanager
    def turn(self, after: int) -> Iterator[Turn]:
        """Lock the head. If the block does not write, nothing was written. Raises LogUnreachable, LedgerUnusable.

        `missing` of the turn has at most PAGE_LINES lines after `after`.
        """
        with self._connected(TURN_S) as connection:
            turn = Turn(connection, self.keys, *_locked(connection, self.keys, after, self._hold_s))
            began = time.monotonic()
            try:
                yield turn
            except LogUnreachable:
                if time.monotonic() - began >= self._hold_s:
                    self._hold_s = min(HOLD_MAX_S, 4 * self._hold_s)
                raise
            else:
                self._hold_s = float(HOLD_S)
            finally:
                if not turn.is_over:
                    self._roll_back(connection)

    def _roll_back(self, connection: Connection) -> None:
        """A connection that may still hold the lock is given up."""
        connection.within(TURN_S)
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    @contextmanager
    def _connected(self, seconds: float) -> Iterator[Connection]:
        """A connection for so many seconds. One that failed is not used again."""
        is_new = self._connection is None
        connection = self._connection = self._connection or connected(self._address, seconds)
        connection.within(seconds)
        try:
            with meaning():
                if is_new and self._identity is not None:
                    schema.check_same(schema.read_identity(connection), self._identity)
                yield connection
        except BaseException as error:
            if isinstance(error, LogUnreachable | LedgerUnusable) or connection.closed:
                self.close()
            raise


def _locked(connection: Connection, keys: Keys, after: int, hold_s: float) -> tuple[Page, int]:
    """Begin, lock, and read, in one round trip. Each statement sees what was committed before it began.

    All of it is one message without parameters. psycopg's pipeline mode asks the server for more after its end, and the
    server then does not count how long the transaction is idle (PostgreSQL 15.18, psycopg 3.3.9): a box that sleeps
    would hold the lock for ever.
    """
    longer = f"SET LOCAL idle_in_transaction_session_timeout = {int(hold_s * 1000)};" if hold_s > HOLD_S else ""
    lines, bodies = _LINES % (after, PAGE_LINES), texts.READ % (after, after + PAGE_LINES)
    cursor = connection.execute(f"BEGIN; {longer} {_LOCK}; {lines}; {bodies}".encode())
    head, found, kept = [each.fetchall() for each in cursor.results() if each.description is not None]
    end: Any = head[0] if head else None
    return Page(_lines(found), texts.opened(connection, keys, kept), _head(end)), end[2]


def _head(row: Any) -> Head:
    if row is None:
        raise LedgerUnusable("The shared log has lost its head.", hint="Restore the database.")
    return Head(row[0], bytes(row[1]))


def _lines(rows: list[Any]) -> list[Line]:
    return [Line(at, stream, kind, schema, at_ms, data, hash) for at, stream, kind, schema, at_ms, data, hash in rows]
