"""Several ComfyUIs under one daemon: what happens when one of them dies, or goes out of the configuration."""

from __future__ import annotations

import signal
from typing import Any

from comfyledger.maintenance.doctor.comfyui import NO_ID
from support.command_line import command
from support.fleet import Fleet
from support.waiting import until
from support.wire_app import App, Frame


async def left_at_b(fleet: Fleet) -> str:
    """Eight images, two of them at each stand-in when `b` goes out of the configuration. Returns the batch id."""
    await fleet.begin_all()
    for one in fleet.standins.values():
        one.control(hold=["in_node"])
    async with fleet.app() as app:
        batch_id = str((await app.submit("r1", quantity=8))["batch_id"])

        async def accepted() -> bool:
            return len((await app.ask("read_log", kinds=["prompt_accepted"]))["events"]) == 4

        await until(accepted, "two are at each")
    assert fleet.daemon.signal(signal.SIGTERM) == 0
    fleet.configure_for(["a"])
    fleet.standins["a"].control(hold=[])
    await fleet.daemon.begin()
    async with fleet.app() as app:
        await app.counted("stored", 6, batch_id)
        await until(lambda: lane_of(app), "the lane says why")
    return batch_id


async def lane_of(app: App) -> Frame | None:
    lanes = (await app.ask("server_info"))["lanes"]
    return next((one for one in lanes if one["lane"] == "backend/b" and one.get("code") == "unconfigured"), None)


async def test_what_was_at_a_removed_backend_waits_for_it_and_everybody_says_so(fleet: Fleet) -> None:
    batch_id = await left_at_b(fleet)
    async with fleet.app() as app:
        lane = await lane_of(app)
        assert lane is not None
        assert "Put the section back, or cancel" in lane["text"]
        owed = (await app.ask("explain", what=batch_id))["owed"]
        assert any("There is no [comfyui.b] any more. Put the section back" in one["text"] for one in owed)
        assert {index for one in owed for index in one["images"]} == waiting(await app.batch(batch_id))
    said = await command(fleet, "doctor")
    (line,) = [one for one in said["diagnoses"] if one["area"] == "comfyui b"]
    assert line["sentence"].startswith("2 prompts are at the ComfyUI b, which is not configured any more")
    assert fleet.daemon.signal(signal.SIGTERM) == 0
    fleet.configure_for(["a", "b"])
    fleet.standins["b"].control(hold=[])
    await fleet.daemon.begin()
    async with fleet.app() as app:
        (batch,) = await app.settled(batch_id)
        assert await lane_of(app) is None
    fleet.check_stored(batch)
    posted = [[one for one in standin.posted() if one != NO_ID] for standin in fleet.standins.values()]
    assert [len(ids) for ids in posted] == [6, 2], "nothing was sent a second time"


async def test_what_was_at_a_removed_backend_can_be_given_up(fleet: Fleet) -> None:
    batch_id = await left_at_b(fleet)
    async with fleet.app() as app:
        await app.ask("cancel", batch_id=batch_id)
        (batch,) = await app.settled(batch_id)
        assert sorted(image["state"] for image in batch["images"]) == ["cancelled"] * 2 + ["stored"] * 6

        async def nothing_left() -> bool:
            return not await lane_of(app) and not (await app.ask("server_info"))["open"]["prompts"]

        await until(nothing_left, "nothing waits for the removed backend")


def waiting(batch: Frame) -> set[Any]:
    return {image["index"] for image in batch["images"] if image["state"] == "pending"}
