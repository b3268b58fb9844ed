"""Beginning a fleet, killed at any step and repeated: every text is there, and every box can read it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from support.fleet_boxes import Box, rows_of
from support.ledger_builders import log_of, submission
from support.ledger_kinds import NEEDS_POSTGRES, TERMS
from support.postgres import shared_cluster

pytestmark = NEEDS_POSTGRES
STEPS = ("comfyledger.ledger.shared.keys.Keys.found", "comfyledger.ledger.shared.texts.kept", "replica.become")


@pytest.fixture
def north(tmp_path: Path) -> Box:
    """A ledger of its own with two texts, and a database without a fleet."""
    box = Box(tmp_path / "north", shared_cluster().database())
    with closing(Ledger.open(box.path)) as own:
        for number in (1, 2):
            decide_group(own, [submission(f"r{number}", prompt=f"text {number}")], TERMS)
    return box


@pytest.mark.parametrize("step", STEPS)
def test_a_beginning_that_was_killed_is_repeated_and_nothing_is_missing(
    north: Box, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "replica.become":
            patched.setattr(fleet.replica, "become", die)
        else:
            patched.setattr(step, die)
        with pytest.raises(KeyboardInterrupt):
            north.init()
    north.init()
    assert {"text 1", "text 2"} <= north.texts()
    south = Box(tmp_path / "south", north.address)
    south.join(north)
    assert log_of(south.path) == log_of(north.path)
    with pytest.raises(Refused, match="is shared already"):
        north.init()


def test_a_second_ledger_does_not_take_the_database_of_a_fleet(north: Box, tmp_path: Path) -> None:
    north.init()
    keys = north.in_file()
    other = Box(tmp_path / "other", north.address)
    with pytest.raises(Refused, match="holds a fleet already"):
        other.init()
    assert other.in_file() == {}
    assert {"text 1", "text 2"} <= north.texts()
    assert north.in_file() == keys


def test_a_beginning_whose_keys_are_lost_before_it_is_repeated_is_refused(
    north: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is in the database, and nobody could read the texts there."""

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fleet.replica, "become", die)
        with pytest.raises(KeyboardInterrupt):
            north.init()
    (north.folder / "fleet.keys").unlink()
    with pytest.raises(LedgerUnusable, match=r"fleet\.keys is missing"):
        north.init()
    assert rows_of(north.address, "SELECT count(*) FROM wrapping_keys") == [(1,)]
    with closing(Ledger.open(north.path)) as own:
        assert own.head.position > 0, "the ledger is as it was"
