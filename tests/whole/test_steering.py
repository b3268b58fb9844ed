"""What people do to work that runs: cancel, pause, and wait for their turn beside others."""

from __future__ import annotations

import signal

from support.processes import House
from support.waiting import until
from support.wire_app import coloured


async def test_a_cancelled_batch_stops_at_comfyui_and_keeps_its_numbers(house: House) -> None:
    await house.begin(seconds_per_image=2.0)
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(12))
        await app.counted("stored", 1, asked["batch_id"])
        changed = await app.ask("cancel", batch_id=asked["batch_id"])
        (batch,) = await app.settled(asked["batch_id"])
        assert changed["images"] == batch["cancelled"] > 0
        assert batch["stored"] + batch["cancelled"] == 12
        await until(lambda: not any(house.comfyui.queue().values()), "ComfyUI has nothing of ours")
        assert len(house.comfyui.ledger()["files"]) - batch["stored"] <= 1, "what nobody wants was rendered"
        house.comfyui.control(seconds_per_image=0)
        after = await app.submit("r2", quantity=1)
        assert after["numbers"] == [13]
        await app.settled(after["batch_id"])
    kept = {image["public_id"] for image in batch["images"] if image["state"] == "stored"}
    assert set(house.stored()) == kept | set(after["public_ids"])


async def test_a_pause_of_everything_lets_nothing_new_out_until_it_is_undone(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        await app.ask("pause")
        asked = await app.submit("r1", quantity=3)
        info = await app.ask("server_info")
        assert [(lane["lane"], lane["paused"]) for lane in info["lanes"]] == [("everything", True)]
        assert (await app.batch(asked["batch_id"]))["pending"] == 3
        assert house.comfyui.posted() == []
        await app.ask("resume")
        (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == 3


async def test_a_pause_of_one_user_leaves_the_others_alone(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        await app.ask("pause", scope="user:AREG")
        held = await app.submit("r1", "Areg")
        free = await app.submit("r2", "Mina")
        await app.settled(free["batch_id"])
        assert (await app.batch(held["batch_id"]))["pending"] == 3
        assert len(house.comfyui.posted()) == 3
        await app.ask("resume", scope="user:areg")
        await app.settled(held["batch_id"])
    assert len(house.stored()) == 6


async def test_two_users_take_turns_however_much_the_first_has_asked_for(house: House) -> None:
    await house.begin(depth=1)
    async with house.app() as app:
        await app.ask("pause")
        long = await app.submit("r1", "Areg", images=coloured(12))
        short = await app.submit("r2", "Mina", images=coloured(4))
        await app.ask("resume")
        await app.settled(short["batch_id"], long["batch_id"])
    files = [one["path"].split("/")[1] for one in house.comfyui.ledger()["files"]]
    turns = ["A" if batch == long["batch_id"].lower() else "M" for batch in files]
    assert "".join(turns) in {"AMAMAMAM" + "A" * 8, "MAMAMAMA" + "A" * 8}


async def test_a_batch_that_becomes_urgent_is_rendered_first_also_after_a_restart(house: House) -> None:
    await house.begin(depth=1)
    async with house.app() as app:
        await app.ask("pause")
        long = await app.submit("r1", "Areg", images=coloured(6))
        urgent = await app.submit("r2", "Mina", images=coloured(3))
        changed = await app.ask("set_priority", batch_id=urgent["batch_id"], priority="high")
        assert changed["images"] == 3
        assert (await app.ask("set_priority", batch_id=urgent["batch_id"], priority="high"))["images"] == 0
    house.daemon.signal(signal.SIGKILL)
    await house.daemon.begin()
    async with house.app() as app:
        assert (await app.batch(urgent["batch_id"]))["priority"] == "high"
        await app.ask("resume")
        await app.settled(urgent["batch_id"], long["batch_id"])
    files = [one["path"].split("/")[1] for one in house.comfyui.ledger()["files"]]
    assert files[:3] == [urgent["batch_id"].lower()] * 3
