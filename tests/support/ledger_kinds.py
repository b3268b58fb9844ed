"""The implementations of the ledger's protocols that the contract is tested on, and what it is tested against: a model.

The model is `PlainLedger`, which keeps all rows and the whole log in memory and knows no transactions.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final, Protocol
from unittest.mock import patch

import psycopg
import pytest
from msgspec.structs import replace

from comfyledger.core.decide.decide import Message, Policy
from comfyledger.core.events import BlobErased, Recorded
from comfyledger.core.keys import (
    BackendKey,
    BatchKey,
    BoxKey,
    ImageKey,
    InputKey,
    LaneKey,
    OneKey,
    PromptKey,
    RequestKey,
    SeriesKey,
    TemplateKey,
    WebhookKey,
)
from comfyledger.core.rows import Row, RowId, Slice, TemplateRow, row_id
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import Outcome, Terms, decide_group
from comfyledger.ledger.log_reader import LogReader
from comfyledger.ledger.ports import Ledger, Reader
from comfyledger.ledger.shared import connection
from comfyledger.ledger.shared import log as shared_log
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.sqlite.log_table import LogTable
from comfyledger.ledger.sqlite.reader import Reader as SqliteReader
from comfyledger.ledger.sqlite.writer import Ledger as SqliteLedger
from comfyledger.maintenance import fleet
from support.core_builders import PlainLedger
from support.ledger_builders import NOW_MS, room, take_one
from support.postgres import POSTGRES, WHY_NOT, shared_cluster
from support.waiting import DEADLINE_S

TERMS: Final = Terms(NOW_MS, Policy(), None)


class Kind(Protocol):
    """One ledger of one implementation: empty at first, and opened as often as a test likes, once at a time."""

    def opened(self) -> AbstractContextManager[Ledger]:
        """The ledger for its writer. Closed in the end."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Reader]:
        """A reader beside the writer, or without one."""
        ...

    def log(self) -> AbstractContextManager[LogReader]: ...

    def full(self, ledger: Ledger) -> AbstractContextManager[None]:
        """The disk has no space."""
        ...

    def locked(self, ledger: Ledger) -> AbstractContextManager[None]:
        """Another program holds a lock, for which the writer does not wait long."""
        ...


class Sqlite:
    """SQLite in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.db"

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        with closing(SqliteLedger.open(self._path)) as ledger:
            yield ledger

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        reader = SqliteReader(self._path)
        yield reader
        await reader.close()

    @contextmanager
    def log(self) -> Iterator[LogReader]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as opened:
            yield LogTable(opened)

    @contextmanager
    def full(self, ledger: Ledger) -> Iterator[None]:
        assert isinstance(ledger, SqliteLedger)
        room(ledger, 0)
        yield
        room(ledger, 10_000)

    @contextmanager
    def locked(self, ledger: Ledger) -> Iterator[None]:
        assert isinstance(ledger, SqliteLedger)
        ledger.wait_for_locks(0.01)
        with closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield


@contextmanager
def slow_machine() -> Iterator[None]:
    """A turn of the shared log may take as long as a busy machine needs for it."""
    options = re.sub(r"timeout=\d+s", f"timeout={DEADLINE_S:.0f}s", connection.SESSION["options"])
    with patch.dict(connection.SESSION, {"options": options}), patch.object(shared_log, "TURN_S", DEADLINE_S):
        yield


class Shared(Sqlite):
    """A log in a database of its own, and a replica in SQLite in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.address = shared_cluster().database()

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        if not self._path.exists():
            fleet.init(self.address, self._path, lambda *_: None)
        with (
            slow_machine(),
            closing(SqliteLedger.open(self._path, replica=True)) as replica,
            closing(SharedLedger.open(replica, SharedLog(self.address, Keys.beside(self._path)))) as ledger,
        ):
            yield ledger

    @contextmanager
    def full(self, ledger: Ledger) -> Iterator[None]:
        assert isinstance(ledger, SharedLedger)
        with super().full(ledger._replica):
            yield

    @contextmanager
    def locked(self, ledger: Ledger) -> Iterator[None]:
        """Another box holds the lock of the log."""
        with psycopg.connect(self.address) as other, patch.object(shared_log, "TURN_S", 0.05):
            other.execute("SELECT * FROM head FOR UPDATE")
            yield
            other.rollback()


KINDS: Final[dict[str, Callable[[Path], Kind]]] = {"sqlite": Sqlite, "shared": Shared}
NEEDS_POSTGRES: Final = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)
PARAMETERS: Final = [pytest.param(name, marks=[NEEDS_POSTGRES] if name == "shared" else []) for name in KINDS]
"""Each kind as a parameter of a fixture."""


# ---- the model


class Model(PlainLedger):
    """What a ledger has to hold, group by group."""

    def __init__(self) -> None:
        super().__init__(Policy())

    def decided(self, message: Message, now_ms: int = NOW_MS) -> Outcome:
        """What comes of one message, at the time of its whole group."""
        self.now_ms = now_ms - 1
        self.changed = ()
        try:
            return Outcome(answer=self.when(message).answer, rows=self.changed)
        except Refused as error:
            return Outcome(error=error)

    def _take(self, recorded: tuple[Recorded, ...], state: Slice) -> None:
        super()._take(recorded, state)
        erased = {digest for entry in recorded if isinstance(entry.event, BlobErased) for digest in entry.event.digests}
        for ident in [ident for ident, row in self.templates() if row.blob in erased]:
            del self.rows[ident]

    def templates(self) -> Iterator[tuple[RowId, TemplateRow]]:
        return ((ident, row) for ident, row in self.rows.items() if isinstance(row, TemplateRow))


def together(ledger: Ledger, messages: list[Message], now_ms: int = NOW_MS) -> list[Outcome]:
    """As the engine has a group decided: all of it is written at its end."""
    return decide_group(ledger, messages, replace(TERMS, now_ms=now_ms))[0]


def apart(ledger: Ledger, messages: list[Message]) -> list[Outcome]:
    """Each message is written before the next one is decided."""
    with ledger.group():
        return [_one(ledger, message) for message in messages]


def _one(ledger: Ledger, message: Message) -> Outcome:
    try:
        return Outcome(answer=take_one(ledger, message))
    except Refused as error:
        return Outcome(error=error)


def answers(outcomes: Iterable[Outcome]) -> list[Any]:
    return [outcome.answer if outcome.error is None else repr(outcome.error) for outcome in outcomes]


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Do work in a thread, which has ended when the block ends. Gives whether it still works."""
    thread = Thread(target=work)
    thread.start()
    try:
        yield thread.is_alive
    finally:
        thread.join()


# ---- rows and keys

_KEYS: Final[dict[str, Callable[..., OneKey]]] = {
    "series": lambda key, _: SeriesKey(key),
    "request": RequestKey,
    "template": lambda key, _: TemplateKey(key),
    "batch": lambda batch_id, _: BatchKey(batch_id),
    "prompt": PromptKey,
    "image": ImageKey,
    "lane": lambda name, _: LaneKey(name),
    "input": lambda sha256, _: InputKey(sha256),
    "backend": lambda name, _: BackendKey(name),
    "webhook": lambda name, _: WebhookKey(name),
    "box": lambda name, _: BoxKey(name),
}


def key_of(ident: RowId) -> OneKey:
    kind, first, second = ident
    return _KEYS[kind](first, second)


def by_id(rows: Iterable[Row]) -> dict[RowId, Row]:
    found = list(rows)
    named = {row_id(row): row for row in found}
    assert len(named) == len(found), "no row comes twice"
    return named
