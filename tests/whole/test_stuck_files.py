"""A file that never comes, or comes from somewhere else, is its prompt's trouble and nobody else's."""

from __future__ import annotations

from typing import Any

from support.processes import QUICK, House
from support.waiting import until
from support.wire_app import App, of_kind

SHORT = "request_timeout_s = 1.0"


async def begin(house: House, config: str = "", comfyui: str = SHORT) -> None:
    await house.comfyui.begin()
    house.configure(config, comfyui=comfyui)
    await house.daemon.begin()


async def stuck_batch(app: App, house: House, fault: str, quantity: int = 1) -> str:
    """A batch whose files all meet the fault, for ever: it is in force before a file can be asked for."""
    house.comfyui.control(hold=["history"])
    asked = await app.submit("stuck", username="Zara", quantity=quantity)
    batch_id: str = asked["batch_id"]
    house.comfyui.control(view_of={batch_id.lower(): fault}, hold=[])
    return batch_id


def views(house: House) -> int:
    """How often a file was asked for."""
    return sum(one["path"] == "/view" for one in house.comfyui.requests())


async def test_one_file_that_never_comes_costs_nobody_else_anything(side_by_side: Any) -> None:
    await side_by_side(one_file_never_comes, ["hang", "drip", "reset", "redirect", "endless"])


async def one_file_never_comes(house: House, fault: str) -> None:
    await begin(house, "[spool]\nimage_bytes_max = 2_000_000")
    async with house.app() as app:
        stuck = await stuck_batch(app, house, fault)
        await until(lambda: views(house), "the file is asked for")
        other = await app.submit("other", quantity=10)
        (batch,) = await app.settled(other["batch_id"])
        (lost,) = await app.settled(stuck)
        log = await app.log()
    house.check_stored(batch)
    assert of_kind(log, "lane_paused") == []
    image = lost["images"][0]
    assert image["state"] == "failed"
    code, words = {
        "hang": ("too_slow", "ComfyUI did not begin to send the file within 1 s."),
        "drip": ("too_slow", "ComfyUI sent"),
        "reset": ("broken", "truncated: The connection broke"),
        "redirect": ("redirected", "not followed"),
        "endless": ("broken", "too_large"),
    }[fault]
    assert image["code"] == code
    assert words in image["text"]
    attempts = 1 if fault in {"redirect", "endless"} else 3
    assert [event["data"]["code"] for event in of_kind(log, "prompt_failed")] == [code] * attempts


async def test_files_that_drip_do_not_take_every_place(house: House) -> None:
    house.daemon.constants = {**QUICK, "comfyledger.workers.comfyui.fetch.SLOW_AFTER_S": 0.5}
    await begin(house, "[limits]\nfetches_max = 2", comfyui="request_timeout_s = 600.0")
    async with house.app() as app:
        stuck = await stuck_batch(app, house, "drip", quantity=3)
        await until(lambda: views(house) >= 2, "two drip")
        other = await app.submit("other", quantity=10)
        (batch,) = await app.settled(other["batch_id"])
        house.check_stored(batch)
        assert {image["state"] for image in (await app.batch(stuck))["images"]} == {"pending"}


async def test_what_came_of_a_prompt_is_kept_when_one_of_its_files_does_not(house: House) -> None:
    await begin(house)
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        asked = await app.submit("r1", quantity=4, images_per_prompt=4)
        place = asked["batch_id"].lower() + "/1-a1_00002_"
        house.comfyui.control(view_of={place: "redirect"}, hold=[])
        (batch,) = await app.settled(asked["batch_id"])
        states = [image["state"] for image in batch["images"]]
        assert states == ["stored", "failed", "stored", "stored"]
        assert len(house.comfyui.ended()) == 1
        house.comfyui.control(view_of={})
        await app.ask("retry", batch_id=asked["batch_id"])
        batch = await app.counted("stored", 4, asked["batch_id"])
    house.check_stored(batch)


async def test_a_comfyui_that_redirects_all_calls_pauses_its_lane(house: House) -> None:
    await begin(house)
    house.comfyui.control(refuse={"/": {"status": 302, "next": 10_000}})
    async with house.app() as app:
        asked = await app.submit("r1", quantity=2)

        await until(lambda: troubles(house), "the lane is in trouble")
        house.comfyui.control(refuse={})
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)
    assert set(troubles(house)) == {"redirected"}


def troubles(house: House) -> list[str]:
    """The codes with which a lane stood still."""
    return [fact["code"] for fact in house.daemon.facts() if fact["event"] == "lane.stuck"]
