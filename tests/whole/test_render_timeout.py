"""Rendering that fails or does not end: tried again as often as it may be, then failed in words; too long is a failure,
and only what is ours is cancelled."""

from __future__ import annotations

import signal

from support.processes import Doomed, House, StandIn
from support.waiting import until
from support.wire_app import App, Frame, of_kind

TIMEOUT_S = 1.0


async def begin(house: House, seconds_per_image: float) -> None:
    house.comfyui = StandIn(house.folder, seconds_per_image)
    await house.comfyui.begin()
    house.configure(comfyui=f"render_timeout_s = {TIMEOUT_S}")
    await house.daemon.begin()


def cancelled(house: House) -> list[str]:
    return [one["prompt_id"] for one in house.comfyui.requests() if one["path"].endswith("/cancel")]


async def log_of(app: App, asked: Frame, kind: str) -> list[Frame]:
    return [event for event in of_kind(await app.log(), kind) if event["stream"] == asked["batch_id"]]


async def test_a_prompt_that_runs_too_long_is_cancelled_and_rendered_again(house: House) -> None:
    await begin(house, seconds_per_image=60.0)
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: cancelled(house), "the prompt is cancelled")
        house.comfyui.control(seconds_per_image=0.0)
        (batch,) = await app.settled(asked["batch_id"])
        failed, *more = await log_of(app, asked, "prompt_failed")
        assert batch["stored"] == 1
        assert (failed["data"]["code"], failed["data"]["again"]) == ("timeout", True)
        assert "render_timeout_s" in failed["texts"][failed["data"]["words"]]
        *overdue, last = house.comfyui.posted()
        assert cancelled(house) == overdue
        assert (len(overdue), last in overdue) == (1 + len(more), False), (
            "the next one may begin before ComfyUI is fast"
        )


async def test_after_a_crash_an_overdue_cancel_is_not_blamed_on_a_person(house: House) -> None:
    """ComfyUI's history says how long it ran; an interruption before its time was a person's will."""
    house.daemon = Doomed(house, "prompt.ended")
    await begin(house, seconds_per_image=60.0)
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        assert house.daemon.signal(signal.SIGCONT) == -signal.SIGKILL, "it did not die there"
    house.comfyui.control(seconds_per_image=0.0)
    house.daemon = Doomed(house)
    await house.daemon.begin()
    async with house.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
        (failed,) = await log_of(app, asked, "prompt_failed")
        assert (failed["data"]["code"], failed["data"]["again"]) == ("timeout", True)
        assert await log_of(app, asked, "batch_held") == []
    assert batch["stored"] == 1
    assert len(cancelled(house)) == 1


async def test_a_prompt_that_finishes_while_it_is_cancelled_is_taken(house: House) -> None:
    await begin(house, seconds_per_image=0.0)
    house.comfyui.control(hold=["in_node"], step=1)
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: cancelled(house), "the prompt is cancelled")
        house.comfyui.control(hold=[])
        (batch,) = await app.settled(asked["batch_id"])
        assert batch["stored"] == 1
        assert await log_of(app, asked, "prompt_failed") == []
        assert len(house.comfyui.posted()) == 1


async def test_an_error_of_a_node_is_retried_and_fails_with_comfyuis_text(house: House) -> None:
    await house.begin("[limits]\nrender_attempts_max = 2")
    house.comfyui.control(fail_next=3, fail_text="The lamp broke")
    async with house.app() as app:
        gone = await app.submit("r1", quantity=1)
        (lost,) = await app.settled(gone["batch_id"])
        mended = await app.submit("r2", quantity=1)
        (saved,) = await app.settled(mended["batch_id"])
        failures = [event["data"]["again"] for event in await log_of(app, gone, "prompt_failed")]
    (image,) = lost["images"]
    assert failures == [True, False]
    assert (image["state"], image["code"]) == ("failed", "execution_error")
    assert "The lamp broke" in image["text"]
    assert saved["stored"] == 1
    assert len(house.comfyui.posted()) == 4
