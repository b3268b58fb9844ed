"""What a box of a fleet opens at its start: its keys have to be there, the database need not."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.settings import Settings
from comfyledger.settings.sections import Box as BoxSection
from comfyledger.settings.sections import LedgerFile
from comfyledger.startup.fleet import share
from support.fleet_boxes import Box
from support.ledger_kinds import NEEDS_POSTGRES
from support.ports import closed_port
from support.postgres import shared_cluster

pytestmark = NEEDS_POSTGRES


@pytest.fixture
def north(tmp_path: Path) -> Box:
    box = Box(tmp_path / "north", shared_cluster().database()).init()
    box.submit("r1", "a text")
    return box


async def position_of(box: Box, address: str) -> int:
    settings = Settings(state_dir=str(box.folder), ledger=LedgerFile(shared=address), box=BoxSection(name="north"))
    async with AsyncExitStack() as stack:
        with closing(Ledger.open(box.path, replica=True)) as replica:
            return share(replica, settings, {}, stack).head.position


async def test_without_the_database_a_box_has_what_its_replica_has(north: Box) -> None:
    away = f"postgresql://owner@127.0.0.1:{closed_port()}/x"
    assert await position_of(north, away) == await position_of(north, north.address) > 0


@pytest.mark.parametrize("away", [False, True])
async def test_without_its_keys_a_box_does_not_start_and_says_how_it_gets_them(north: Box, away: bool) -> None:
    address = f"postgresql://owner@127.0.0.1:{closed_port()}/x" if away else north.address
    (north.folder / "fleet.keys").unlink()
    with pytest.raises(LedgerUnusable, match=r"fleet\.keys is missing") as refused:
        await position_of(north, address)
    assert "comfyledger fleet join --key-file" in str(refused.value.hint)


async def test_keys_that_cannot_be_read_are_named(north: Box) -> None:
    (north.folder / "fleet.keys").unlink()
    (north.folder / "fleet.keys").mkdir()
    with pytest.raises(LedgerUnusable, match="cannot be used: Is a directory"):
        await position_of(north, north.address)
