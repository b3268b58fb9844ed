"""What docs/fleet.md tells a person to do when the database lost events, done by its commands, with whole daemons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.box_houses import BoxHouse
from support.command_line import command, said
from support.ledger_builders import log_of
from support.ledger_kinds import NEEDS_POSTGRES
from support.postgres import shared_cluster
from support.waiting import until
from whole.conftest import check_laws

pytestmark = NEEDS_POSTGRES
MARGIN = 1_000


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[BoxHouse, BoxHouse]]:
    """Boxes that have stored three images each."""
    address = shared_cluster().database()
    north, south = BoxHouse(tmp_path, "north", address), BoxHouse(tmp_path, "south", address)
    for house in (north, south):
        await house.comfyui.begin()
        house.configure()
        house.join(None if house is north else north)
        await house.daemon.begin()
    for house in (north, south):
        async with house.app() as app:
            batch = await app.submit(f"of-{house.name}")
            await app.settled(batch["batch_id"])
    end = log_of(north.replica)[-1].position
    await until(lambda: log_of(south.replica)[-1].position >= end, "both have all")
    yield north, south
    for house in (north, south):
        house.end()


async def test_a_fleet_goes_on_in_an_empty_database_by_the_steps_of_the_manual(
    two: tuple[BoxHouse, BoxHouse], tmp_path: Path
) -> None:
    north, south = two
    before = north.stored()
    for house in two:
        house.daemon.end()
    had = log_of(south.replica)
    await command(south, "backup", str(tmp_path / "backup.db"))
    restored = await command(south, "restore", str(tmp_path / "backup.db"), "--replace")
    assert restored["epoch"] != restored["epoch_before"]
    address = shared_cluster().database()
    for house in two:
        house.address = address
        house.configure()
    await command(south, "fleet", "init")
    key = tmp_path / "key"
    key.write_text(await said(south, "fleet", "key", "--config", str(south.folder / "config.toml")))
    joined = await command(north, "fleet", "join", "--anew", "--key-file", str(key))
    assert Path(joined["aside"]).exists()
    for house in two:
        await house.daemon.begin()
    async with north.app() as app:
        batch = await app.submit("later")
        (settled,) = await app.settled(batch["batch_id"])
        again = await app.submit("of-south")
    assert settled["status"] == "settled"
    assert min(settled_numbers(settled)) > 6 + MARGIN
    assert again["numbers"] == [4, 5, 6], "a request from before gets its first answer"
    assert log_of(north.replica)[: len(had)] == had
    assert before.items() <= north.stored().items()
    for house in two:
        check_laws(house)


def settled_numbers(batch: dict[str, object]) -> list[int]:
    images = batch["images"]
    assert isinstance(images, list)
    return [image["number"] for image in images]
