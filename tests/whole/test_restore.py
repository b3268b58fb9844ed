"""The ledger is lost and put back from a backup: numbers, followers, repeated requests and half-done work go on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.command_line import command
from support.processes import House
from support.wire_app import Refusal, check_gap_free, of_kind

SERIES = Path("Areg/premade_characters/opal-fever/images")


def stored(house: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (house.images / SERIES).iterdir()}


async def test_after_a_restore_no_number_is_given_again_and_work_continues(house: House) -> None:
    (house.images / SERIES).mkdir(parents=True)
    for number in range(1, 55):
        (house.images / SERIES / f"Areg_opal-fever_image_{number}.png").write_bytes(b"from before")
    await house.begin()
    backup = str(house.folder / "backup.db")
    async with house.app("app") as app:
        await app.ask("pause", scope="backend:main")
        known = await app.submit("known", quantity=3, premade=True)
        assert [image["number"] for image in known["images"]] == [55, 56, 57]
        copied = await command(house, "backup", backup)
        await app.ask("resume", scope="backend:main")
        await app.settled(known["batch_id"])
        three = stored(house)
        await app.ask("pause", scope="backend:main")
        lost = await app.submit("lost", quantity=100, premade=True)
        assert lost["images"][-1]["number"] == 157
        epoch, position = (await app.ask("server_info"))["epoch"], lost["position"]

    house.daemon.signal(signal.SIGKILL)
    for path in house.state.glob("ledger.db*"):
        path.unlink()
    said = await command(house, "restore", backup)
    assert (said["position_before"], said["epoch_before"]) == (copied["position"], epoch)
    assert {one["store"]: one["highest"] for one in said["evidence"]} == {"folder": 57}

    await house.daemon.begin()
    async with house.app("app") as app:
        with pytest.raises(Refusal, match="epoch_changed"):
            await app.ask("subscribe", epoch=epoch, after=position)
        assert (await app.ask("server_info"))["epoch"] == said["epoch"] != epoch
        again = await app.submit("known", quantity=3, premade=True)
        assert {key: again[key] for key in ("batch_id", "images")} == {
            key: known[key] for key in ("batch_id", "images")
        }
        following = await app.submit("following", quantity=1, premade=True)
        assert following["images"][0]["number"] == 57 + 1 + 1_000 > 157

        await app.ask("resume", scope="backend:main")
        ended = await app.settled(known["batch_id"], following["batch_id"])
        assert [(batch["stored"], batch["parked"]) for batch in ended] == [(0, 3), (1, 0)]
        await command(house, "recover", "--batch", known["batch_id"], "--new-number", "--yes")
        await app.counted("stored", 3, known["batch_id"])
        log = await app.log()
    check_gap_free(log)
    assert [one["data"]["number"] for one in of_kind(log, "image_renumbered")] == [1_059, 1_060, 1_061]
    parked = [one["data"]["code"] for one in of_kind(log, "image_parked")]
    assert parked == ["collision"] * 3, "ComfyUI made other bytes than those that were stored after the backup"
    assert {name: content for name, content in stored(house).items() if name in three} == three
    assert (await command(house, "audit"))["whole"]
