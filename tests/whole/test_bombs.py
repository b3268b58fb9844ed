"""Pictures that are small as files and huge as pictures cost no memory, and what kills the daemon is found out."""

from __future__ import annotations

import signal

from support.processes import House
from support.waiting import until

BOMBS = 8
"""More than are fetched and checked at once."""
PEAK_BYTES_MAX = 300 * 1_048_576


async def test_many_images_of_a_gigabyte_need_no_memory_and_delay_nobody(house: House) -> None:
    await house.begin(depth=BOMBS)
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        bombs = await app.submit("bombs", username="Zara", quantity=BOMBS)
        house.comfyui.control(view_of={bombs["batch_id"].lower(): "bomb"}, hold=[])
        other = await app.submit("other", quantity=10)
        (batch,) = await app.settled(other["batch_id"])
        (bombed,) = await app.settled(bombs["batch_id"], deadline_s=200.0)
    house.check_stored(batch)
    assert [image["state"] for image in bombed["images"]] == ["stored"] * BOMBS
    assert {(image["width"], image["height"]) for image in bombed["images"]} == {(16_384, 16_384)}
    assert house.daemon.peak_bytes() < PEAK_BYTES_MAX


async def test_a_file_that_kills_the_daemon_is_abandoned_and_others_are_stored(
    house: House,
) -> None:
    await house.begin()
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        bomb = await app.submit("bomb", username="Zara", quantity=1)
        house.comfyui.control(view_of={bomb["batch_id"].lower(): "bomb"})
        other = await app.submit("other", quantity=2)
        house.comfyui.control(hold=[])
        folder = house.state / "spool" / bomb["batch_id"]
        for _ in range(3):
            await until(lambda: list(folder.glob(".*.pinned")), "the file is being checked")
            house.daemon.signal(signal.SIGKILL)
            assert list(folder.glob(".*.pinned"))
            await house.daemon.begin()
    async with house.app() as app:
        (lost, batch) = await app.settled(bomb["batch_id"], other["batch_id"])
    house.check_stored(batch)
    image = lost["images"][0]
    assert (image["state"], image["code"]) == ("failed", "poison")
    assert "died 3 times while it checked this file" in image["text"]
    assert not folder.exists()
