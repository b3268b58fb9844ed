"""Kills in the middle: what the stand-in was asked and what lies on the disk say whether anything happened twice."""

from __future__ import annotations

import signal
from typing import Any

from support.processes import House
from support.waiting import until
from support.wire_app import check_gap_free, coloured

IMAGES = 40


def check_nothing_twice(house: House, batch: dict[str, Any], numbers: list[int]) -> None:
    """Each number first given has one file, each prompt was posted once and rendered once."""
    assert [image["number"] for image in batch["images"]] == numbers == list(range(1, IMAGES + 1))
    house.check_stored(batch)
    assert len(house.stored()) == IMAGES
    posted = house.comfyui.posted()
    assert len(posted) == len(set(posted)) == IMAGES
    assert sorted(house.rendered(batch["batch_id"])) == sorted(f"{number}-a1_00001_.png" for number in numbers)


async def test_a_daemon_that_ends_in_the_middle_goes_on_where_it_was(side_by_side: Any) -> None:
    await side_by_side(ended_in_the_middle, [signal.SIGKILL, signal.SIGTERM])


async def ended_in_the_middle(house: House, number: signal.Signals) -> None:
    await house.begin()
    house.comfyui.control(hold=["start"])
    async with house.app("app") as app:
        asked = await app.submit("r1", images=coloured(IMAGES))
        await house.comfyui.let_run(8)
        await app.counted("stored", 8, asked["batch_id"])
    for stored in (20, 30):
        code = house.daemon.signal(number)
        assert code == (0 if number == signal.SIGTERM else -number)
        assert len(house.stored()) < IMAGES
        await house.daemon.begin()
        async with house.app("app") as app:
            await house.comfyui.let_run(stored - len(house.comfyui.ended()))
            await app.counted("stored", stored, asked["batch_id"])
    house.comfyui.control(hold=[])
    async with house.app("app") as app:
        (batch,) = await app.settled(asked["batch_id"])
        again = await app.submit("r1", images=coloured(IMAGES))
        check_gap_free(await app.log())
    assert again["repeated"]
    assert again["batch_id"] == asked["batch_id"]
    assert again["numbers"] == asked["numbers"]
    check_nothing_twice(house, batch, asked["numbers"])


async def test_a_daemon_killed_during_its_call_checks_before_it_sends_again(house: House) -> None:
    """The stand-in has taken the prompt and has not answered; the daemon cannot know which of the two it was."""
    await house.begin()
    house.comfyui.control(answer_lost_next=1)
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: house.comfyui.ended() == ["execution_success"], "the prompt has run")
        assert (await app.batch(asked["batch_id"]))["pending"] == 1
    house.daemon.signal(signal.SIGKILL)
    await house.daemon.begin()
    async with house.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 1


async def test_files_that_a_killed_comfyui_finished_are_not_rendered_again(house: House) -> None:
    await house.begin()
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        asked = await app.submit("r1", quantity=2, images_per_prompt=2)
        await until(lambda: house.comfyui.ended() == ["execution_success"], "both files are written")
        await house.comfyui.restart()
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 1


async def test_a_comfyui_that_is_killed_in_the_middle_loses_no_image(house: House) -> None:
    await house.begin(seconds_per_image=0.02)
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(IMAGES))
        await app.counted("stored", 10, asked["batch_id"])
        await house.comfyui.restart()
        (batch,) = await app.settled(asked["batch_id"])
        check_gap_free(await app.log())
    assert batch["stored"] == IMAGES
    house.check_stored(batch)
    assert len(house.stored()) == IMAGES
    posted = house.comfyui.posted()
    assert len(posted) == len(set(posted))
    assert len(posted) - IMAGES <= 3, "more was rendered again than was in the queue"
