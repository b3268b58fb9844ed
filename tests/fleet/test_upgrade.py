"""A fleet of two releases: the older one refuses what it does not know, says what that is, and keeps nothing of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.shared.schema import VERSION
from comfyledger.maintenance import fleet
from support.fleet_boxes import Box, newer_event, rows_of
from support.ledger_builders import log_of, submission
from support.ledger_kinds import NEEDS_POSTGRES, TERMS, slow_machine
from support.postgres import shared_cluster

pytestmark = NEEDS_POSTGRES


@pytest.fixture
def north(tmp_path: Path) -> Box:
    box = Box(tmp_path / "north", shared_cluster().database()).init()
    box.submit("r1", "a text")
    return box


def test_tables_of_a_newer_version_are_refused_by_every_way_in(north: Box, tmp_path: Path) -> None:
    words = rf"newer comfyledger \(tables {VERSION + 1}, this one knows {VERSION}\)"
    with north.ledger() as running:
        rows_of(north.address, f"UPDATE fleet SET version = {VERSION + 1}")
        running._log.close()  # as when the database was restarted
        with pytest.raises(LedgerUnusable, match=words):
            decide_group(running, [submission("r2")], TERMS)
    with pytest.raises(LedgerUnusable, match=words) as refused, north.ledger():
        pass
    assert refused.value.hint == "Install that version here too."
    with pytest.raises(LedgerUnusable, match=words):
        fleet.standing(north.address)
    south = Box(tmp_path / "south", north.address)
    with pytest.raises(LedgerUnusable, match=words):
        south.join(north)
    assert not south.path.exists()


@pytest.mark.parametrize(("kind", "schema"), [("box_painted", 1), ("batch_held", 99)])
def test_an_event_that_this_release_does_not_know_is_refused_and_nothing_of_it_is_kept(
    north: Box, kind: str, schema: int
) -> None:
    before = log_of(north.path)
    with north.ledger() as running:
        newer_event(north, kind, schema)
        for call in (running.catch_up, lambda: decide_group(running, [submission("r2")], TERMS)):
            with pytest.raises(LedgerUnusable, match=rf"does not know \({kind}, schema {schema}\)") as refused:
                call()
            assert refused.value.hint == "Install the version that wrote it."
    assert log_of(north.path) == before
    with slow_machine(), closing(SharedLog(north.address, Keys.beside(north.path))) as shared:
        assert shared.head().position == before[-1].position + 1, "what was refused has changed nothing there"


def test_a_box_that_says_what_this_release_does_not_know_is_a_box_that_says_nothing(north: Box) -> None:
    """What boxes say of themselves is no event, so a newer form of it stops nobody."""
    rows_of(north.address, "INSERT INTO boxes (name, about) VALUES ('south', '{\"version\": [\"2\"]}')")
    standing = fleet.standing(north.address)
    assert replace(standing, boxes=[]).position == log_of(north.path)[-1].position
