"""The write-ahead log goes after a kill: the daemon does not start as if nothing had been, and each way on is safe."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from support.command_line import command
from support.processes import House
from support.waiting import until
from support.wire_app import Refusal


async def refused(house: House) -> str:
    house.daemon.start()
    assert house.daemon._popen is not None
    await until(lambda: house.daemon._popen and house.daemon._popen.poll() is not None, "it has ended")
    assert house.daemon._popen.poll() == 5
    return str(house.daemon.errors()[-1]["error"])


async def test_a_daemon_without_its_write_ahead_log_gives_no_number_again(side_by_side: Any) -> None:
    await side_by_side(without_its_log, ["first run", "later run"])


async def without_its_log(house: House, run: str) -> None:
    house.expected_errors = {"daemon.ended"}
    await house.begin()
    if run == "later run":
        async with house.app("app") as app:
            await app.settled((await app.submit("before", quantity=1))["batch_id"])
        house.daemon.signal(signal.SIGTERM)
        await house.daemon.begin()
    async with house.app("app") as app:
        await app.ask("pause", scope="backend:main")
        asked = await app.submit("lost", quantity=20)
        position, given = asked["position"], [image["number"] for image in asked["images"]]
        epoch = (await app.ask("server_info"))["epoch"]
    house.daemon.signal(signal.SIGKILL)
    log, moved = house.state / "ledger.db-wal", house.folder / "moved"
    log.rename(moved)

    said = await refused(house)
    assert "has lost its end" in said
    assert f"position {position} was acknowledged" in said
    assert all(way in said for way in ("ledger.db-wal back", "restore FILE", "restore --accept-loss"))

    moved.rename(log)
    await house.daemon.begin()
    async with house.app("app") as app:
        again = await app.submit("lost", quantity=20)
        assert (again["batch_id"], again["repeated"]) == (asked["batch_id"], True)
        more = await app.submit("more", quantity=20)
        given += [image["number"] for image in more["images"]]
    house.daemon.signal(signal.SIGKILL)
    log.unlink()

    await refused(house)
    accepted = await command(house, "restore", "--accept-loss")
    assert accepted["acknowledged"] == more["position"] > position
    await house.daemon.begin()
    async with house.app("app") as app:
        assert (await app.ask("server_info"))["epoch"] == accepted["epoch"] != epoch
        with pytest.raises(Refusal, match="epoch_changed"):
            await app.ask("subscribe", epoch=epoch, after=position)
        new = await app.submit("more", quantity=20)
        numbers = [image["number"] for image in new["images"]]
        assert min(numbers) > max(given) + 900
        await app.ask("resume", scope="backend:main")
        await app.settled(new["batch_id"])
