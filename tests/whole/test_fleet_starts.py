"""How a box starts and ends as a service: with and without its database, and beside a newer release."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from comfyledger.app import EXIT_UNUSABLE
from comfyledger.maintenance.doctor.fleet import fleet
from comfyledger.settings import Settings
from comfyledger.settings.sections import Box as BoxSection
from comfyledger.settings.sections import LedgerFile
from support.box_houses import BoxHouse
from support.command_line import command
from support.fleet_boxes import Box, newer_event
from support.ledger_builders import log_of
from support.ledger_kinds import NEEDS_POSTGRES
from support.postgres import Cluster, running
from support.waiting import until
from support.wire_app import Refusal
from whole.conftest import check_laws

pytestmark = NEEDS_POSTGRES


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@pytest.fixture
async def north(tmp_path: Path, cluster: Cluster) -> AsyncIterator[BoxHouse]:
    """A box of a fleet whose daemon does not run yet."""
    house = BoxHouse(tmp_path, "north", cluster.database())
    await house.comfyui.begin()
    house.configure()
    house.join()
    yield house
    house.end()


async def test_a_box_starts_without_its_database_and_joins_when_it_is_there(north: BoxHouse, cluster: Cluster) -> None:
    await north.daemon.begin()
    await until(lambda: "fleet.joined" in north.daemon.last_words(), "it takes part")
    north.kill()
    cluster.kill()
    north.daemon.log.unlink()
    await north.daemon.begin()
    async with north.app() as app:
        with pytest.raises(Refusal) as refused:
            await app.submit("r1", quantity=1)
        assert refused.value.code == "log_unreachable"
        cluster.begin()
        await until(lambda: "fleet.joined" in north.daemon.last_words(), "it takes part")
        batch = await app.submit("r1", quantity=1)
        (settled,) = await app.settled(batch["batch_id"])
    assert settled["status"] == "settled"
    north.expected_errors |= {"ledger.log_unreachable", "fleet.away"}
    check_laws(north)


async def test_a_box_of_an_older_release_ends_with_what_it_does_not_know_and_leaves_its_replica_as_it_was(
    north: BoxHouse,
) -> None:
    await north.daemon.begin()
    await until(lambda: "fleet.joined" in north.daemon.last_words(), "it takes part")
    newer_event(Box(north.state, north.address), "box_painted", 1)
    await until(lambda: north.daemon.exit_code() is not None, "it ends")
    assert north.daemon.exit_code() == EXIT_UNUSABLE
    assert "does not know (box_painted, schema 1)" in north.daemon.last_words()
    kinds = {line.kind for line in log_of(north.replica)}
    assert "box_joined" in kinds
    assert "box_painted" not in kinds
    north.daemon.start()
    await until(lambda: north.daemon.exit_code() is not None, "it ends again")
    assert north.daemon.exit_code() == EXIT_UNUSABLE


async def test_the_doctor_names_boxes_whose_daemons_were_told_different_things(north: BoxHouse, tmp_path: Path) -> None:
    south = BoxHouse(tmp_path, "south", north.address)
    try:
        await south.comfyui.begin()
        south.configure('[naming]\nfolder = "{username}/other"')
        south.join(north)
        for house in (north, south):
            await house.daemon.begin()
        settings = Settings(
            state_dir=str(north.state), ledger=LedgerFile(shared=north.address), box=BoxSection(name="north")
        )

        async def differences() -> list[str]:
            found = await asyncio.to_thread(fleet, settings, {})
            return [one.sentence for one in found if "differ in" in one.sentence]

        await until(differences, "both have said what they have")
        assert await differences() == ["The boxes differ in naming: north / south."]
    finally:
        south.end()


async def test_backup_and_audit_of_a_replica_need_no_database(north: BoxHouse, cluster: Cluster) -> None:
    await north.daemon.begin()
    async with north.app() as app:
        batch = await app.submit("r1", quantity=1)
        await app.settled(batch["batch_id"])
    cluster.kill()
    copied = await command(north, "backup", str(north.folder / "backup.db"))
    assert copied["position"] == log_of(north.folder / "backup.db")[-1].position
    assert (await command(north, "audit"))["findings"] == []


async def test_a_second_box_of_the_same_name_takes_no_part_and_the_first_goes_on(
    north: BoxHouse, tmp_path: Path
) -> None:
    twin = BoxHouse(tmp_path, "twin", north.address)
    twin.name = north.name
    try:
        await north.daemon.begin()
        await until(lambda: "fleet.joined" in north.daemon.last_words(), "it takes part")
        await twin.comfyui.begin()
        twin.configure()
        twin.join(north)
        twin.daemon.start()
        await until(lambda: twin.daemon.exit_code() is not None, "it ends")
        assert twin.daemon.exit_code() == EXIT_UNUSABLE, twin.daemon.last_words()
        assert "Another daemon takes part as the box north" in twin.daemon.last_words()
        assert north.knows("north") == (True, 1)
    finally:
        twin.end()
    check_laws(north)
