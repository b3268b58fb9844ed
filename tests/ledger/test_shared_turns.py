"""A turn of the shared log: what a slow group, a lost connection and a changed history do to it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.ledger.shared import connection, log
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import Entry, SharedLog
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from support.ledger_builders import submission
from support.ledger_kinds import NEEDS_POSTGRES, TERMS, slow_machine
from support.postgres import shared_cluster
from support.waiting import until_without_a_loop

pytestmark = NEEDS_POSTGRES


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A fleet whose log has one batch, with the replica `a.db`."""
    place = shared_cluster().database()
    fleet.init(place, tmp_path / "a.db", lambda *_: None)
    with slow_machine():
        with box(place, tmp_path / "a.db") as ledger:
            decide_group(ledger, [submission("r1")], TERMS)
        yield place


@contextmanager
def box(place: str, path: Path) -> Iterator[SharedLedger]:
    """The ledger of a box."""
    with (
        closing(Ledger.open(path, replica=True)) as replica,
        closing(SharedLedger.open(replica, SharedLog(place, Keys.beside(path)))) as one,
    ):
        yield one


@pytest.fixture
def impatient(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same fleet, whose database cuts off at once who holds the lock without a word."""
    monkeypatch.setattr(log, "HOLD_S", 0.05)
    monkeypatch.setitem(connection.SESSION, "options", "-c idle_in_transaction_session_timeout=50ms")
    return address


def is_cut_off(address: str, shared: SharedLog) -> bool:
    with psycopg.connect(address, autocommit=True) as other:
        pid = shared._connection.info.backend_pid if shared._connection else 0
        return not other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall()


def write_when(is_time: Callable[[], bool], shared: SharedLog) -> None:
    with shared.turn(shared.head().position) as turn:
        until_without_a_loop(is_time, "it is time to write")
        turn.write(Entry())


def test_a_box_that_sleeps_with_the_lock_is_cut_off_and_the_others_go_on(impatient: str, tmp_path: Path) -> None:
    with closing(SharedLog(impatient, Keys.beside(tmp_path / "a.db"))) as asleep, ExitStack() as held:
        turn = held.enter_context(asleep.turn(0))
        with box(impatient, tmp_path / "a.db") as ledger:
            decide_group(ledger, [submission("r2")], TERMS)
        with pytest.raises(LogUnreachable):
            turn.write(Entry())


def test_a_box_that_sleeps_while_it_sends_is_cut_off_and_the_others_go_on(
    impatient: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server counts how long it waits for a whole message, and not for the next one of a pipeline."""
    asleep = list[str]()

    def fall_asleep(name: str) -> None:
        if not asleep:
            asleep.append(name)
            with box(impatient, tmp_path / "a.db") as ledger:
                decide_group(ledger, [submission("r2")], TERMS)

    with closing(SharedLog(impatient, Keys.beside(tmp_path / "a.db"))) as shared:
        monkeypatch.setattr("comfyledger.crash_points.at", fall_asleep)
        with pytest.raises(LogUnreachable), shared.turn(shared.head().position) as turn:
            turn.write(Entry())
    assert asleep == ["log.sending"]


def test_a_group_that_takes_longer_than_the_lock_is_lent_gets_through(impatient: str, tmp_path: Path) -> None:
    with closing(SharedLog(impatient, Keys.beside(tmp_path / "a.db"))) as shared:
        after = shared.head()
        with pytest.raises(LogUnreachable):
            write_when(lambda: is_cut_off(impatient, shared), shared)
        began = time.monotonic()
        write_when(lambda: time.monotonic() - began > 0.1, shared)
        assert shared.head() == after
        assert shared._hold_s == 0.05, "the next one is lent it for as long as ever"


def test_nobody_waits_in_the_database_for_a_box_that_gave_up(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a standby that is away for a minute would cost all connections of the server."""
    options = re.sub(r"lock_timeout=\d+s", "lock_timeout=50ms", connection.SESSION["options"])
    monkeypatch.setitem(connection.SESSION, "options", options)
    with psycopg.connect(address) as holder, closing(SharedLog(address, Keys.beside(tmp_path / "a.db"))) as shared:
        holder.execute("SELECT 1 FROM head FOR UPDATE")
        with pytest.raises(LogUnreachable, match="lock timeout"), shared.turn(0):
            raise AssertionError("two have the lock")
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        assert holder.execute(waiting).fetchall() == []


def test_the_database_stops_waiting_for_the_lock_before_the_box_does() -> None:
    assert connection.LOCK_S < log.TURN_S


def test_a_turn_that_fails_leaves_no_lock_behind(address: str, tmp_path: Path) -> None:
    with (
        closing(SharedLog(address, Keys.beside(tmp_path / "a.db"))) as one,
        closing(SharedLog(address, Keys.beside(tmp_path / "a.db"))) as other,
    ):
        with pytest.raises(ZeroDivisionError), one.turn(0):
            raise ZeroDivisionError
        with other.turn(0) as turn:
            assert turn.missing.head.position > 0


@pytest.mark.parametrize("change", ["UPDATE events SET data = '{}'", "DELETE FROM events", "TRUNCATE events"])
def test_the_database_refuses_to_change_what_happened(address: str, change: str) -> None:
    with psycopg.connect(address, autocommit=True) as connected, pytest.raises(psycopg.Error, match="append-only"):
        connected.execute(change.encode())


def rewrite(address: str, data: str) -> None:
    """As somebody does who owns the tables and computes no hash."""
    with psycopg.connect(address, autocommit=True) as connected:
        connected.execute("ALTER TABLE events DISABLE TRIGGER USER")
        connected.execute("UPDATE events SET data = %s WHERE position = 1", (data,))


def test_a_history_that_was_rewritten_is_noticed_by_a_box_that_reads_it(address: str, tmp_path: Path) -> None:
    rewrite(address, "{}")
    with pytest.raises(LedgerUnusable, match="position 1 does not follow"):
        fleet.join(address, tmp_path / "b.db", lambda *_: None)


def test_a_history_that_was_cut_off_is_noticed_by_each_box_that_had_more(address: str, tmp_path: Path) -> None:
    with (
        box(address, tmp_path / "a.db") as ledger,
        closing(SharedLog(address, Keys.beside(tmp_path / "a.db"))) as shared,
    ):
        end = shared.head()
        with psycopg.connect(address, autocommit=True) as connected:
            connected.execute("ALTER TABLE events DISABLE TRIGGER USER")
            connected.execute("DELETE FROM events WHERE position = %s", (end.position,))
            connected.execute("UPDATE head SET position = position - 1")
        with pytest.raises(LedgerUnusable, match=f"it ends at position {end.position - 1}, this box has"):
            decide_group(ledger, [submission("r2")], TERMS)


def test_a_head_that_is_another_one_is_noticed_without_new_events(address: str, tmp_path: Path) -> None:
    with box(address, tmp_path / "a.db") as ledger:
        with psycopg.connect(address, autocommit=True) as connected:
            connected.execute("UPDATE head SET hash = %s", (Head().hash,))
        with pytest.raises(LedgerUnusable, match="has lost events"):
            decide_group(ledger, [submission("r2")], TERMS)


def test_a_box_whose_disk_is_full_ends_with_what_helps_and_goes_on_once_there_is_room(
    address: str, tmp_path: Path
) -> None:
    other = tmp_path / "b.db"
    fleet.join(address, other, lambda *_: None)
    with box(address, tmp_path / "a.db") as ledger:
        decide_group(ledger, [submission("r2", prompt="a long text " * 9_000)], TERMS)
    with box(address, other) as full:
        replica = full._replica
        assert isinstance(replica, Ledger)
        replica._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(LedgerUnusable, match="The disk is full") as refused:
            full.catch_up()
        assert "Free some space" in refused.value.hint
    with box(address, other) as roomy:
        assert roomy.catch_up().lines
        assert roomy.head == SharedLog(address, Keys.beside(other)).head()
