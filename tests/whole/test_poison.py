"""A prompt that takes ComfyUI down is found, run alone and parked as `poison`, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from support.processes import House
from support.waiting import pause, until
from support.wire_app import App, Frame, coloured, of_kind

STRIKES_MAX = 2
POISON = 666


async def begin(house: House) -> None:
    await house.begin(f"[limits]\npoison_strikes_max = {STRIKES_MAX}", seconds_per_image=0.3)
    hold(house)


def hold(house: House) -> None:
    house.comfyui.control(hold=["in_node"], seconds_per_image=0)


async def fall_whenever_the_poison_runs(house: House) -> None:
    """ComfyUI runs one node after the other, and is killed while it is at the poison."""
    while True:
        await pause(0.01)
        if house.comfyui.control()["held_at"] is None:
            continue
        if any(entry[2]["1"]["inputs"]["color"] == POISON for entry in house.comfyui.queue()["queue_running"]):
            await house.comfyui.restart()
            hold(house)
        else:
            house.comfyui.control(step=1)


@contextlib.asynccontextmanager
async def falling(house: House) -> AsyncIterator[None]:
    task = asyncio.create_task(fall_whenever_the_poison_runs(house))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def images(poison_at: int) -> list[Frame]:
    made = coloured(4)
    made[poison_at - 1] = {"inputs": {"color": POISON}}
    return made


async def log_of(app: App, batch: Frame, kind: str) -> list[Frame]:
    events = await app.log()
    return [event["data"] for event in of_kind(events, kind) if event["stream"] == batch["batch_id"]]


async def test_a_poison_is_parked_and_bystanders_are_stored(house: House) -> None:
    await begin(house)
    async with house.app() as app:
        bad = await app.submit("bad", images=images(2))
        good = await app.submit("good", "Mina", images=coloured(3))
        async with falling(house):
            bad, good = await app.settled(bad["batch_id"], good["batch_id"])
        assert [image["state"] for image in bad["images"]] == ["stored", "failed", "stored", "stored"]
        assert [image["state"] for image in good["images"]] == ["stored"] * 3
        assert bad["images"][1]["code"] == "poison"
        assert bad["images"][1]["text"] == "ComfyUI stopped each time it ran this prompt."
        lost = await log_of(app, bad, "prompt_lost") + await log_of(app, good, "prompt_lost")
        struck = [(event["prompt"], event["attempt"]) for event in lost if event.get("running")]
        assert struck == [(2, 1), (2, 2)]
        assert len(lost) <= STRIKES_MAX + 2, "only what was beside the first fall is lost with it"
        posted = house.comfyui.posted()
        assert len(posted) == len(set(posted)) <= 7 + len(lost) - 1

        house.comfyui.control(hold=[])
        await app.ask("retry", batch_id=bad["batch_id"])
        cured = await app.counted("stored", 4, bad["batch_id"])
        assert cured["images"][1]["state"] == "stored"
        assert cured["images"][1]["public_id"] == bad["images"][1]["public_id"]
    assert len(house.stored()) == 7


async def test_a_daemon_that_dies_together_with_comfyui_blames_nobody(house: House) -> None:
    await begin(house)
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: house.comfyui.control()["held_at"], "the prompt runs")
        await until(lambda: log_of(app, asked, "prompt_accepted"), "the daemon knows that ComfyUI has it")
    house.daemon.signal(signal.SIGKILL)
    await house.comfyui.restart()
    await house.daemon.begin()
    async with house.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
        assert batch["stored"] == 1
        assert [event.get("running", False) for event in await log_of(app, batch, "prompt_lost")] == [False]
