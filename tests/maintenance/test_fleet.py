"""How a ledger becomes the log of a fleet, and what a box that joins has of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from comfyledger.core.commands import HoldBatch
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared import ledger, log
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from support.ledger_builders import submission, take
from support.ledger_kinds import NEEDS_POSTGRES
from support.postgres import shared_cluster

pytestmark = NEEDS_POSTGRES
OWN = {"meta", "_sqlite_migrations", "sqlite_sequence"}
"""Tables of the file itself."""


@pytest.fixture
def address() -> str:
    return shared_cluster().database()


def nobody(*_: object) -> None:
    return None


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)


@pytest.mark.parametrize("page", [500, 1])
def test_a_box_that_joins_has_every_text_and_row_of_the_ledger_that_was_shared(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    for module in (log, ledger):
        monkeypatch.setattr(module, "PAGE_LINES", page)
    first, other = tmp_path / "a.db", tmp_path / "b.db"
    with closing(Ledger.open(first)) as own:
        take(own, submission("r1", prompt="an early text"))
        take(own, HoldBatch("app", "batch-app-r1"), submission("r2", prompt="a late text", graph=b"{}"))
    shared, joined = fleet.init(address, first, nobody), fleet.join(address, other, nobody)
    assert shared == joined
    assert len(rows(first, "blobs")) == 4
    with closing(sqlite3.connect(first)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables > OWN
    for table in tables - OWN:
        assert rows(first, table) == rows(other, table), table


def test_a_daemon_that_is_started_before_its_box_has_joined_leaves_nothing_in_the_way(
    tmp_path: Path, address: str
) -> None:
    first, other = tmp_path / "a.db", tmp_path / "b.db"
    shared = fleet.init(address, first, nobody)
    with pytest.raises(LedgerUnusable, match="the replica is not there") as refused:
        Ledger.open(other, replica=True)
    assert "fleet join" in refused.value.hint
    assert fleet.join(address, other, nobody) == shared


def test_a_box_whose_replica_was_deleted_makes_it_again_and_needs_no_key_for_that(tmp_path: Path, address: str) -> None:
    first = tmp_path / "a.db"
    with closing(Ledger.open(first)) as own:
        take(own, submission("r1", prompt="a text"))
    shared = fleet.init(address, first, nobody)
    before = rows(first, "blobs")
    first.unlink()
    with pytest.raises(LedgerUnusable, match="the replica is not there"):
        Ledger.open(first, replica=True)
    assert fleet.join(address, first, nobody) == shared
    assert rows(first, "blobs") == before
