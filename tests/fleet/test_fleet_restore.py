"""A fleet and its backups: what a backup of a replica is, how a fleet begins again from one, and what each box does
with a database that is older than it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from comfyledger.core.commands import PauseLane
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.rotation import want_next
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.restore import Restored, Wanted, restore
from support.fleet_boxes import Box
from support.ledger_builders import NOW_MS, check_tables, log_of, submission
from support.ledger_kinds import TERMS
from support.postgres import POSTGRES, WHY_NOT, shared_cluster

pytestmark = pytest.mark.skipif(POSTGRES is None, reason=WHY_NOT)
EPOCH = "01NEWEPOCH"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Box, Box]:
    """Boxes with a batch of three images each."""
    address = shared_cluster().database()
    north, south = Box(tmp_path / "north", address).init(), Box(tmp_path / "south", address)
    south.join(north)
    north.submit("r1", "of north")
    south.submit("r2", "of south")
    north.catch_up()
    return north, south


def restored(box: Box, folder: Path) -> Restored:
    """Restore a backup of a box into its own place, as `comfyledger restore --replace` does."""
    folder.mkdir(exist_ok=True)
    file = folder / "backup.db"
    backup(box.path, file, NOW_MS / 1000, silent)
    wanted = Wanted(file, box.path, box.folder / "spool", None, EPOCH, NOW_MS, "cli", replace=True)
    return asyncio.run(restore(wanted, silent))


@pytest.fixture
def earlier(two: tuple[Box, Box]) -> Iterator[str]:
    """The address of a copy of the database. After it was made, a third batch was accepted."""
    name = str(conninfo_to_dict(two[0].address)["dbname"])
    copy = f"{name}_earlier"
    cluster = shared_cluster()
    cluster.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(name)))
    two[1].submit("r3", "after the dump")
    two[0].catch_up()
    yield cluster.address(copy)
    cluster.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy)))


def test_a_backup_of_a_replica_is_a_ledger_of_its_own_in_a_new_epoch_with_all_that_the_fleet_had(
    two: tuple[Box, Box], tmp_path: Path
) -> None:
    north, south = two
    before = log_of(south.path)
    done = restored(north, tmp_path / "backups")
    lines = check_tables(north.path)
    assert lines[: len(before)] == before
    assert done.epoch == EPOCH != done.epoch_before
    with closing(Ledger.open(north.path)) as own:
        assert own.epoch == EPOCH
        (outcome,), _ = decide_group(own, [submission("r9")], TERMS)
    assert outcome.error is None
    assert min(image.number for image in outcome.answer.images) > 6 + 1_000
    assert done.aside


def test_a_fleet_begins_again_from_a_backup_and_old_replicas_are_refused_until_they_are_made_anew(
    two: tuple[Box, Box], tmp_path: Path
) -> None:
    north, south = two
    restored(north, tmp_path / "backups")
    north.address = south.address = shared_cluster().database()
    north.init()
    north.submit("r4", "of the new epoch")
    with pytest.raises(LedgerUnusable, match=f"its epoch is {EPOCH}") as refused, south.ledger():
        pass
    assert "fleet join --anew" in str(refused.value.hint)
    with pytest.raises(LedgerUnusable, match=f"its epoch is {EPOCH}"):
        fleet.join(south.address, south.path, lambda *_: None)
    aside = fleet.put_aside(south.path)
    south.join(north)
    assert aside.exists()
    south.submit("r5", "of south, again")
    north.catch_up()
    assert log_of(north.path) == log_of(south.path)
    assert {"of north", "of south", "of the new epoch", "of south, again"} <= south.texts()


def test_a_replica_that_is_no_longer_than_the_backup_is_not_taken_into_the_new_epoch(
    two: tuple[Box, Box], tmp_path: Path
) -> None:
    """Its log is the beginning of the new one, so no hash tells."""
    north, south = two
    with south.ledger() as running:
        restored(north, tmp_path / "backups")
        north.address = shared_cluster().database()
        north.init()
        point_to(running, north.address)
        for call in (running.catch_up, lambda: decide_group(running, [submission("r6")], TERMS)):
            with pytest.raises(LedgerUnusable, match=f"its epoch is {EPOCH}"):
                call()


def point_to(ledger: SharedLedger, address: str) -> None:
    """The database behind the address is another one from now on, as after a restore in its place."""
    ledger._log.close()
    ledger._log._address = address


def test_every_box_notices_a_database_that_lost_acknowledged_events_and_says_which(
    two: tuple[Box, Box], earlier: str
) -> None:
    had = len(log_of(two[0].path))
    with psycopg.connect(earlier) as connection:
        (end,) = connection.execute("SELECT position FROM head").fetchone() or (0,)
    assert end < had
    for box in two:
        with box.ledger() as running:
            point_to(running, earlier)
            for call in (running.catch_up, lambda one=running: decide_group(one, [PauseLane("app", "x")], TERMS)):
                with pytest.raises(LedgerUnusable, match=f"ends at position {end}, this box has {had}"):
                    call()
        box.address = earlier
        with pytest.raises(LedgerUnusable, match=f"Lost is what follows position {end}") as refused, box.ledger():
            pass
        assert "docs/fleet.md" in str(refused.value.hint)
        assert len(log_of(box.path)) == had, "what was lost is still there"


def test_a_box_that_has_less_than_a_database_that_went_on_differently_notices_it(
    two: tuple[Box, Box], earlier: str, tmp_path: Path
) -> None:
    north, _ = two
    stranger = Box(tmp_path / "stranger", earlier)
    stranger.join(north)
    for number in range(7, 12):
        stranger.submit(f"r{number}", "instead")
    for box in two:
        box.address = earlier
        with pytest.raises(LedgerUnusable, match="lost events, or was changed"), box.ledger():
            pass


def test_the_fleet_goes_on_from_the_replica_that_has_most_and_loses_nothing(
    two: tuple[Box, Box], earlier: str, tmp_path: Path
) -> None:
    north, south = two
    want_next(south.address)
    south.tend()
    had = log_of(south.path)
    restored(south, tmp_path / "backups")
    south.address = north.address = shared_cluster().database()
    south.init()
    fleet.put_aside(north.path)
    north.join(south)
    assert log_of(north.path)[: len(had)] == had
    assert "after the dump" in north.texts()
    (again,) = [line for line in log_of(north.path)[len(had) :] if line.kind == "ledger_restored"]
    assert EPOCH in again.data
