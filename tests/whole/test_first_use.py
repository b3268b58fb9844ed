"""The first number of a series: what the stores hold already decides."""

from __future__ import annotations

import asyncio
import re
import shlex

import pytest

from support.cloudinary_process import CloudHouse
from support.command_line import said
from support.processes import House
from support.waiting import until
from support.wire_app import App, Refusal

OLDER = (1, 56, 57, 20251121, 20251122)
WAITING = "[limits]\nfirst_use_wait_s = 30"


async def test_who_comes_with_57_images_goes_on_at_58(house: House) -> None:
    folder = house.images / "Areg" / "characters" / "opal-fever" / "images"
    folder.mkdir(parents=True)
    for number in range(1, 58):
        (folder / f"Areg_opal-fever_image_{number}.{'jpg' if number == 57 else 'png'}").write_bytes(b"an older image")
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1")
        await app.settled(asked["batch_id"])
    assert asked["numbers"] == [58, 59, 60]
    assert len(house.stored()) == 60


async def test_while_a_store_is_missing_no_number_is_given_and_the_reason_shown(house: House) -> None:
    await house.begin("[limits]\nfirst_use_wait_s = 2.5")
    unmounted = house.folder / "unmounted"
    async with house.app() as app, house.app() as watcher:
        before = await app.submit("r1")
        await app.settled(before["batch_id"])
        house.images.rename(unmounted)
        position = (await watcher.ask("server_info"))["position"]
        waiting = asyncio.create_task(app.submit("r2", "Mina"))
        await until(lambda: app.pushed, "the app is told to wait")
        (question,) = (await watcher.ask("server_info"))["waiting"]
        assert "mounted?" in question["reason"]
        assert question["requests"] == 1
        with pytest.raises(Refusal, match="series_unanswered") as refused:
            await waiting
        assert "mounted?" in refused.value.data["message"]
        assert (await watcher.ask("server_info"))["position"] == position
        assert not house.images.exists(), "an unmounted disk was taken for an empty one"
        unmounted.rename(house.images)
        asked = await app.submit("r2", "Mina")
        await app.settled(asked["batch_id"])
    assert asked["numbers"] == [1, 2, 3]
    assert not asked.get("repeated", False)


async def test_a_number_far_above_the_others_waits_for_a_persons_command(house: House) -> None:
    for user in ("Areg", "日本"):
        folder = house.images / user / "characters" / "opal-fever" / "images"
        folder.mkdir(parents=True)
        for number in OLDER:
            (folder / f"{user}_opal-fever_image_{number}.png").write_bytes(b"an older image")
    await house.begin(WAITING)
    async with house.app() as app, house.app() as watcher:
        assert await decided(house, app, watcher, "Areg", "--ignore-outlier") == [58, 59, 60]
        assert await decided(house, app, watcher, "日本", "--accept-outlier") == [20251123, 20251124, 20251125]


async def test_an_accounts_number_far_above_the_others_waits_for_a_person(cloud: CloudHouse) -> None:
    await cloud.begin(WAITING)
    for user in ("Areg", "Mina"):
        for number in OLDER:
            cloud.account.put(f"{user}/characters/opal-fever/images/{user}_opal-fever_image_{number}")
    async with cloud.app() as app, cloud.app() as watcher:
        assert await decided(cloud, app, watcher, "Areg", "--ignore-outlier") == [58, 59, 60]
        assert await decided(cloud, app, watcher, "Mina", "--accept-outlier") == [20251123, 20251124, 20251125]


async def decided(house: House, app: App, watcher: App, user: str, option: str) -> list[int]:
    """The numbers that a batch gets which waits until the command with this option was run as it is written."""
    waiting = asyncio.create_task(app.submit(user, user))

    async def reason() -> str:
        reasons = [str(question["reason"]) for question in (await watcher.ask("server_info"))["waiting"]]
        return next((one for one in reasons if "far above" in one), "")

    told = await until(reason, "the daemon says that the number is far above")
    assert "image_20251121" in told
    assert "(the next number below 20251121 is 57)" in told
    assert not waiting.done()
    shown = [await said(house, "status"), await said(house, "watch"), await said(house, "explain", user)]
    commands = re.findall(r"`comfyledger (import [^`]+)`", told)
    assert all(command in text for text in shown[:2] for command in commands)
    (command,) = (one for one in commands if one.endswith(option))
    await said(house, *shlex.split(command))
    given = await waiting
    await app.settled(given["batch_id"])  # `watch` follows what is open
    numbers: list[int] = given["numbers"]
    return numbers
