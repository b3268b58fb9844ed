"""A lock of another program: waited for within a bound at a start and by commands, and the program is named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.ports import LedgerLocked
from comfyledger.ledger.sqlite import locking, opening, reader
from comfyledger.ledger.sqlite import writer as ledgers
from comfyledger.ledger.sqlite.log_table import LogTable
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.maintenance.rebuild import rebuild
from support.ledger_builders import check_tables, raw, submission, take
from support.waiting import DEADLINE_S

IN_BETWEEN = "c.execute('BEGIN IMMEDIATE')"
READING = "c.execute('BEGIN'); c.execute('SELECT count(*) FROM events').fetchall()"
ALONE = "c.execute('PRAGMA locking_mode=EXCLUSIVE'); c.execute('BEGIN EXCLUSIVE'); c.execute('COMMIT')"
EXCLUSIVE = "c.execute('BEGIN EXCLUSIVE')"


class Stranger:
    """A process of somebody else that does something with a ledger and then keeps still."""

    def __init__(self, path: Path, deed: str) -> None:
        code = f"import sqlite3, sys\nc = sqlite3.connect({str(path)!r}, isolation_level=None)\n{deed}"
        arguments = [sys.executable, "-c", f"{code}\nprint(1, flush=True)\nsys.stdin.read()"]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"1\n"

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def used(path: Path) -> Path:
    ledger = Ledger.open(path)
    take(ledger, submission("r1"))
    ledger.close()
    return path


@pytest.fixture
def held(used: Path) -> Iterator[Callable[[str], Stranger]]:
    """Somebody who holds the used ledger. `journal` before it: the mode that the stranger finds."""
    strangers: list[Stranger] = []

    def hold(deed: str, journal: str = "WAL") -> Stranger:
        connection = raw(used)
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.close()
        strangers.append(Stranger(used, deed))
        return strangers[-1]

    yield hold
    for one in strangers:
        one.end()


def give_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection waits long for a lock before it says so."""
    for module in (opening, reader):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.01)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    give_up_soon(monkeypatch)
    monkeypatch.setattr(ledgers, "OPEN_WAIT_S", 0.05)


LOCKS = [("WAL", ALONE), ("DELETE", READING), ("DELETE", IN_BETWEEN), ("DELETE", EXCLUSIVE)]


@pytest.mark.parametrize(("journal", "deed"), LOCKS)
def test_a_start_waits_for_a_lock_and_goes_on_when_it_is_gone(
    used: Path, held: Callable[..., Stranger], monkeypatch: pytest.MonkeyPatch, journal: str, deed: str
) -> None:
    give_up_soon(monkeypatch)
    stranger = held(deed, journal)
    opened: list[Ledger] = []
    tried = threading.Event()
    monkeypatch.setattr(locking.log, "warning", lambda *_, **__: tried.set())
    start = threading.Thread(target=lambda: opened.append(Ledger.open(used)))
    start.start()
    assert tried.wait(DEADLINE_S)
    assert not opened
    stranger.end()
    start.join(DEADLINE_S)
    (ledger,) = opened
    take(ledger, submission("r2"))
    ledger.close()
    check_tables(used)


@pytest.mark.parametrize(("journal", "deed"), LOCKS)
@pytest.mark.usefixtures("impatient")
def test_a_start_that_times_out_names_the_holder_and_asks_for_no_backup(
    used: Path, held: Callable[..., Stranger], journal: str, deed: str
) -> None:
    pid = held(deed, journal).process.pid
    with pytest.raises(LedgerUnusable, match=rf"Another program \(python.*, process {pid}\) holds a lock") as refused:
        Ledger.open(used)
    assert refused.value.hint == locking.HINT


def test_a_write_lock_keeps_no_start_waiting_and_a_group_says_what_it_is(
    used: Path, held: Callable[..., Stranger]
) -> None:
    stranger = held(IN_BETWEEN)
    ledger = Ledger.open(used)
    assert f"process {stranger.process.pid}" in locking.holder_of(used)
    ledger.wait_for_locks(0.01)
    head = ledger.head
    with pytest.raises(LedgerLocked):
        take(ledger, submission("r2"))
    with pytest.raises(LedgerLocked):
        ledger.check_lock()
    assert ledger.head == head
    stranger.end()
    ledger.check_lock()
    take(ledger, submission("r2"))
    ledger.close()
    check_tables(used)


def test_a_new_ledger_is_born_when_somebody_lets_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_up_soon(monkeypatch)
    path.parent.mkdir()
    stranger = Stranger(path, EXCLUSIVE)
    timer = threading.Timer(0.3, stranger.end)
    timer.start()
    ledger = Ledger.open(path)
    timer.join()
    take(ledger, submission("r1"))
    ledger.close()
    check_tables(path)


def test_reading_a_held_ledger_names_the_holder_and_reads_nothing_partial(
    used: Path, held: Callable[..., Stranger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfyledger.maintenance.open_read_only.TIMEOUT_S", 0.01)
    pid = held(EXCLUSIVE, "DELETE").process.pid
    with pytest.raises(LedgerUnusable, match=f"process {pid}") as refused, open_read_only(used):
        pass
    assert refused.value.hint == locking.HINT
    with pytest.raises(LedgerUnusable, match=f"process {pid}"):
        backup(used, used.parent / "copy.db", 0.0, silent)


def test_a_lock_met_while_the_log_is_read_is_named(used: Path, held: Callable[..., Stranger]) -> None:
    pid = held(EXCLUSIVE, "DELETE").process.pid
    with closing(sqlite3.connect(used, timeout=0.01)) as reading, naming(used, f"process {pid}"):
        LogTable(reading).page(after=0, limit=1)
    with closing(raw(Path(":memory:"))) as empty, naming(used, "no such table"):
        LogTable(empty).head_at(1)


@contextmanager
def naming(path: Path, words: str) -> Iterator[None]:
    with pytest.raises(LedgerUnusable, match=words), locking.naming(path):
        yield


def test_a_rebuild_waits_within_a_bound_and_changes_nothing(
    used: Path, held: Callable[..., Stranger], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up_soon(monkeypatch)
    stranger = held(IN_BETWEEN)
    with pytest.raises(LedgerUnusable, match=f"process {stranger.process.pid}"):
        rebuild(used, silent)
    stranger.end()
    rebuild(used, silent)
    check_tables(used)


async def test_a_reader_that_somebody_keeps_out_says_busy(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked_out(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
        raise error

    reader = Reader(used)
    with monkeypatch.context() as patch:
        patch.setattr("comfyledger.ledger.sqlite.log_table.read_head", locked_out)
        with pytest.raises(Refused) as refused:
            await reader.head()
    assert refused.value.code == "busy"
    assert (await reader.head()).position > 0
    await reader.close()


def test_the_write_ahead_log_is_emptied_after_a_foreign_checkpoint(used: Path) -> None:
    ledger = Ledger.open(used)
    connection = ledger._connection

    class Faulty:
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if "wal_checkpoint" in sql:
                error = sqlite3.OperationalError("database table is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_LOCKED
                raise error
            return connection.execute(sql, *values)

    ledger._connection = Faulty()  # type: ignore[assignment]
    assert not ledger.scrub()
    ledger._connection = connection
    assert ledger.scrub()
    ledger.close()


def test_the_lock_of_nobody_else_names_nobody(used: Path) -> None:
    ledger = Ledger.open(used)
    with ledger.group():
        assert locking.holder_of(used) == "another program"
    ledger.close()
    assert locking.holder_of(used.with_name("none.db")) == "another program"


def test_only_errors_of_sqlite_that_mean_a_lock_are_one() -> None:
    assert not locking.is_lock(OSError(os.strerror(5)))
    assert not locking.is_lock(sqlite3.ProgrammingError("closed"))
    full = sqlite3.OperationalError("full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert not locking.is_lock(full)
