"""Forgetting in a fleet of whole daemons: texts leave all boxes, and so does the key that opens old copies of the
database, whatever step of that kills a daemon."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyledger.ledger.shared.key_file import KeyFile
from comfyledger.ledger.shared.rotation import want_next
from support.box_houses import BoxHouse
from support.fleet_boxes import Box
from support.ledger_kinds import NEEDS_POSTGRES
from support.postgres import shared_cluster
from support.processes import Doomed
from support.waiting import until
from support.wire_app import Frame
from whole.conftest import check_laws

pytestmark = NEEDS_POSTGRES
SECRET, KEPT = (f"{words}: {secrets.token_hex(16)}" for words in ("nobody may know", "this stays"))
LOOK = "comfyledger.workers.fleet.key_rotation.LOOK_S"
STEPS = ("keys.made", "keys.learned", "keys.page", "keys.rewrapped")


def keys_of(house: BoxHouse) -> set[int]:
    return set(KeyFile(house.state / "fleet.keys").read())


def holding(folder: Path, text: bytes) -> list[str]:
    """The files below a folder that have a text. Files come and go meanwhile."""
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


async def asked(house: BoxHouse, request_id: str, note: str) -> Frame:
    async with house.app() as app:
        batch = await app.submit(request_id, quantity=1, metadata={"note": note})
        await app.settled(batch["batch_id"])
        return batch


def texts(house: BoxHouse) -> str:
    """What a new box would read, with the database and the keys of this one."""
    return "\n".join(Box(house.state, house.address).texts())


async def begin(*boxes: BoxHouse) -> None:
    """The first one begins the fleet, if there is none."""
    for house in boxes:
        house.daemon.constants = {**house.daemon.constants, LOOK: 0.2}
        if not house.replica.exists():
            await house.comfyui.begin()
            house.configure()
            await asyncio.to_thread(house.join, None if house is boxes[0] else boxes[0])
        await house.daemon.begin()


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[tuple[BoxHouse, BoxHouse]]:
    address = shared_cluster().database()
    both = BoxHouse(tmp_path, "north", address), BoxHouse(tmp_path, "south", address)
    yield both
    for house in both:
        house.end()


async def test_what_one_box_forgets_leaves_every_box_and_the_next_key_leaves_no_way_back(
    houses: tuple[BoxHouse, BoxHouse],
) -> None:
    north, south = houses
    await begin(north, south)
    batch = await asked(south, "r1", SECRET)
    await asked(north, "r2", KEPT)
    await until(lambda: all(holding(house.state, SECRET.encode()) for house in houses), "both have it")
    old = KeyFile(north.state / "fleet.keys").read()[1]
    async with north.app() as app:
        await app.ask("forget", batch_id=batch["batch_id"])
    want_next(north.address)
    await until(lambda: keys_of(north) == keys_of(south) == {2}, "both have the next key alone")
    for text in (SECRET.encode(), old, old.hex().encode()):
        await until(lambda text=text: not any(holding(one.state, text) for one in houses), "it is gone")  # type: ignore[misc]
    assert KEPT in await asyncio.to_thread(texts, north)
    for house in houses:
        check_laws(house)


@pytest.mark.parametrize("step", STEPS)
async def test_a_daemon_that_dies_at_any_step_of_a_rotation_loses_no_text(
    houses: tuple[BoxHouse, BoxHouse], step: str
) -> None:
    north, _ = houses
    north.daemon = doomed(north, step)
    await begin(north)
    await asked(north, "r1", KEPT)
    want_next(north.address)
    await until(lambda: north.daemon.exit_code() is not None, f"it dies at {step}")
    assert north.daemon.exit_code() == -signal.SIGKILL
    assert KEPT in await asyncio.to_thread(texts, north)
    north.daemon = doomed(north)
    await begin(north)
    await until(lambda: keys_of(north) == {2}, "it goes on")
    await asked(north, "r2", "after that")
    found = await asyncio.to_thread(texts, north)
    assert KEPT in found
    assert "after that" in found


def doomed(house: BoxHouse, step: str = "") -> Doomed:
    made = Doomed(house, step)
    made.constants = house.daemon.constants
    return made
