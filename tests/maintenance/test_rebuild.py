"""Tables that are not what the log says are made anew from it, all at once or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.compare import TABLES
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.rebuild import rebuild
from support.ledger_builders import check_tables, log_of, raw
from support.ledger_load import run_load
from support.ledger_on_disk import Place, contents, rows

ALL = [f"DELETE FROM {table}" for table in TABLES]


@pytest.fixture
def place(place: Place) -> Place:
    """With a row in every table."""
    place.give()
    return place


def tables(place: Place) -> dict[str, list[tuple[object, ...]]]:
    return {table: sorted(rows(place.path, f"SELECT * FROM {table}"), key=repr) for table in TABLES}


def files(place: Place) -> set[str]:
    return {path.name for path in place.folder.iterdir()} - {"ledger.db-wal", "ledger.db-shm"}


@pytest.mark.parametrize("harm", [*ALL, "UPDATE series SET next = 99", "UPDATE images SET row = '{}'"])
def test_a_broken_table_is_as_it_was_and_all_others_too(place: Place, harm: str) -> None:
    before, log, there = tables(place), log_of(place.path), files(place)
    place.tamper(harm)
    assert rebuild(place.path, silent) == log[-1].position
    assert tables(place) == before
    assert log_of(place.path) == log
    assert files(place) == there | {"ledger.db.lock"}
    assert place.kinds() == {}


def test_without_any_table_the_log_alone_is_enough_whatever_happened(tmp_path: Path) -> None:
    place = Place(tmp_path)
    ledger = Ledger.open(place.path)
    run_load(ledger, 7, groups=60)
    ledger.close()
    before, epoch = tables(place), rows(place.path, "SELECT * FROM meta")
    place.tamper(*ALL)
    rebuild(place.path, silent)
    assert tables(place) == before
    assert rows(place.path, "SELECT * FROM meta") == epoch
    check_tables(place.path)


def test_a_rebuilt_ledger_goes_on(place: Place) -> None:
    place.tamper(*ALL)
    rebuild(place.path, silent)
    ledger = Ledger.open(place.path)
    run_load(ledger, 3, groups=5)
    ledger.close()
    check_tables(place.path)


@pytest.mark.parametrize(
    "harm", ["UPDATE events SET at = at + 1 WHERE position = 4", "DELETE FROM events WHERE position > 20"]
)
def test_a_log_that_is_not_whole_is_not_believed(place: Place, harm: str) -> None:
    place.tamper(harm, "DELETE FROM series")
    before = contents(place.folder)
    with pytest.raises(LedgerUnusable, match="The log is not whole"):
        rebuild(place.path, silent)
    assert contents(place.folder) == before


def test_a_ledger_in_use_is_refused(place: Place) -> None:
    ledger = Ledger.open(place.path)
    with pytest.raises(LedgerUnusable, match="Another daemon holds"):
        rebuild(place.path, silent)
    ledger.close()


def test_where_there_is_no_ledger_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="There is no ledger"):
        rebuild(tmp_path / "ledger.db", silent)
    assert list(tmp_path.iterdir()) == []


def test_what_breaks_off_in_the_middle_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.tamper("DELETE FROM lanes")
    before = tables(place)

    def full(what: str, done: int, _: int) -> None:
        if what == "tables" and done == 5:
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError):
        rebuild(place.path, full)
    assert tables(place) == before


def test_readers_see_the_old_tables_or_the_new_ones(place: Place) -> None:
    reader = raw(place.path)
    place.tamper("UPDATE series SET next = next + 1000")
    seen: list[int] = []

    def look(what: str, done: int, of: int) -> None:
        if what == "tables" and done == of:
            seen.append(reader.execute("SELECT min(next) FROM series").fetchone()[0])

    rebuild(place.path, look)
    seen.append(reader.execute("SELECT min(next) FROM series").fetchone()[0])
    reader.close()
    assert seen == [1004, 4]
