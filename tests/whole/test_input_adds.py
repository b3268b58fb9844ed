"""The daemon dies at every place between the first byte of an input file and its answer: file and event, or neither."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from pathlib import Path

import aiohttp
import pytest

from support.ledger_builders import check_tables, log_of
from support.processes import Doomed, House
from support.spool_files import image
from support.waiting import until

PNG = image()
SHA256 = hashlib.sha256(PNG).hexdigest()
BEFORE = ("input.received", "input.pinned", "input.kept", "group.written:2")
AFTER = ("group.committed:2", "reply.sending")
"""The first group comes with the start of the daemon."""


@pytest.fixture
def house(doomed_house: House) -> House:
    return doomed_house


async def put(house: House) -> tuple[int, str]:
    """Status, and the name or the code. Raises aiohttp.ClientError if the daemon dies meanwhile."""
    headers = {"Authorization": f"Bearer {house.daemon.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.put(f"{house.daemon.url}/v1/inputs", data=PNG) as answer,
    ):
        said = json.loads(await answer.read())
        return answer.status, said.get("input", said.get("code"))


async def die(house: House, place: str) -> None:
    house.daemon = doomed = Doomed(house, place)
    await doomed.begin()
    with pytest.raises(aiohttp.ClientError):
        await put(house)
    await until(lambda: doomed.exit_code() is not None, f"the daemon dies at {place}")
    assert doomed.exit_code() == -signal.SIGKILL, doomed.last_words()


async def live(house: House) -> None:
    house.daemon = Doomed(house)
    await house.daemon.begin()


def files(house: House) -> list[str]:
    found = (house.state / "inputs").rglob("*")
    return sorted(path.name for path in found if path.is_file() and path.name != ".ledger")


def added(path: Path) -> int:
    return sum(line.kind == "input_added" for line in log_of(path / "ledger.db"))


@pytest.mark.parametrize("place", [*BEFORE, *AFTER])
async def test_an_input_has_its_file_and_its_event_or_neither(house: House, place: str) -> None:
    await die(house, place)
    await live(house)
    is_there = place in AFTER
    assert files(house)[-1:] == ([f"{SHA256}.png"] if is_there else [f".{SHA256}.strikes"] * (place == "input.pinned"))
    assert added(house.state) == is_there
    assert await put(house) == (200 if is_there else 201, f"sha256:{SHA256}")
    assert files(house) == [f"{SHA256}.png"]
    assert added(house.state) == 1
    assert house.daemon.errors() == []


async def test_a_file_that_kills_the_daemon_each_time_is_refused_at_last(house: House) -> None:
    for _ in range(3):
        await die(house, "input.pinned")
    await live(house)
    assert await put(house) == (422, "input_broken")
    assert files(house) == [f".{SHA256}.strikes"]


async def test_a_file_whose_disk_is_away_at_a_start_is_there_again_with_it(house: House) -> None:
    await live(house)
    assert (await put(house))[0] == 201
    (name,) = files(house)
    folder, away = house.state / "inputs", house.state / "away"
    house.daemon.signal(signal.SIGTERM)
    folder.rename(away)
    await live(house)
    async with house.app() as app:

        async def is_missing() -> bool:
            return (await app.ask("list_inputs"))["inputs"] == []

        await until(is_missing, "the file is reported as missing")
    house.daemon.signal(signal.SIGTERM)
    shutil.rmtree(folder)
    away.rename(folder)
    await live(house)
    assert files(house) == [name]
    async with house.app() as app:

        async def is_back() -> bool:
            return len((await app.ask("list_inputs"))["inputs"]) == 1

        await until(is_back, "the file is listed again")
    check_tables(house.state / "ledger.db")
