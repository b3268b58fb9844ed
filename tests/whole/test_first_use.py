"""The first number of a series: what the stores hold already decides."""

from __future__ import annotations

import asyncio

import pytest

from whole_app import Refusal, until
from whole_house import House


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


async def test_while_a_store_is_missing_no_number_is_given_and_the_reason_can_be_seen(house: House) -> None:
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
