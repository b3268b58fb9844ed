"""Sockets lie: whatever ComfyUI's does, completions are found, with few calls and little memory."""

from __future__ import annotations

import signal
import time
from typing import Any

from support.processes import SWEEP_S, House
from support.waiting import pause, until
from support.wire_app import App, Frame, coloured, of_kind

GRACE_S = 1.0
PEAK_BYTES_MAX = 200_000_000


async def backend(app: App) -> Frame:
    (info,) = (await app.ask("server_info"))["backends"]
    return {"deaf": 0, "reconnects": 0, "sweeps": 0, **info}


async def settled_despite(house: House, app: App, request_id: str, **fault: Any) -> None:
    """Turn a fault on while a prompt works. Its completion is found all the same."""
    house.comfyui.control(hold=["in_node"])
    color = len(house.comfyui.posted()) + 1
    asked = await app.submit(request_id, images=[{"inputs": {"color": color}}])
    await until(lambda: house.comfyui.control()["held_at"] == "in_node", "the prompt works")
    house.comfyui.control(**fault)
    house.comfyui.control(hold=[])
    (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)


async def connected_again(app: App, reconnects: int) -> Frame:
    async def connected() -> Frame | None:
        info = await backend(app)
        return info if info["connected"] and info["reconnects"] == reconnects else None

    info: Frame = await until(connected, f"connected again, {reconnects} reconnects")
    return info


async def test_a_socket_that_ends_in_any_way_is_replaced_and_costs_no_completion(house: House) -> None:
    await house.begin()
    faults: list[dict[str, Any]] = [
        {"drop_sockets": True},
        {"break_sockets": "too_big"},
        {"break_sockets": "mid_frame"},
    ]
    async with house.app() as app:
        for count, fault in enumerate(faults, 1):
            await settled_despite(house, app, f"r{count}", **fault)
            await connected_again(app, count)
        info = await backend(app)
    assert info["deaf"] == 0
    assert len(house.comfyui.posted()) == len(set(house.comfyui.posted())) == len(faults)


async def test_an_open_silent_socket_is_detected_replaced_counted_and_logged(side_by_side: Any) -> None:
    """The end of the old socket comes late: a client id that was used again would make the new one a zombie."""
    await side_by_side(open_and_silent, [{"deaf": True}, {"break_sockets": "half_open"}, {"break_sockets": "zombie"}])


async def open_and_silent(house: House, fault: dict[str, Any]) -> None:
    await house.begin()
    async with house.app() as app:
        await settled_despite(house, app, "r1", **fault)
        await settled_despite(house, app, "r2")
        info = await connected_again(app, 1)
        assert info["deaf"] == 1
        house.comfyui.control(deaf=False, mend_sockets=True)
        await settled_despite(house, app, "r3")
        assert (await backend(app))["deaf"] == 1
    await until(lambda: "comfyui.socket_deaf" in house.daemon.last_words(), "it is logged")
    (said,) = [fact for fact in house.daemon.facts() if fact["event"] == "comfyui.socket_deaf"]
    assert said["level"] == "warning"
    assert said["silent_for_s"] >= GRACE_S
    assert len(house.comfyui.posted()) == 3


async def test_a_restart_behind_a_half_open_socket_is_not_blamed_on_a_person(house: House) -> None:
    """No end of the connection is told, and both prompts are gone: one ran, one waited. A person has the same look."""
    await house.begin()
    house.configure(comfyui="connect_timeout_s = 1.0")
    house.daemon.signal(signal.SIGTERM)
    await house.daemon.begin()
    house.comfyui.control(hold=["in_node"])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await until(lambda: len(house.comfyui.queue()["queue_pending"]) == 1, "one runs and one waits")
        await until(lambda: house.comfyui.control()["held_at"] == "in_node", "one runs")
        house.comfyui.control(break_sockets="half_open", forget=True, hold=[])
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
        info = await backend(app)
    house.check_stored(batch)
    assert of_kind(log, "prompt_removed") == of_kind(log, "batch_held") == []
    assert len(of_kind(log, "prompt_lost")) == 2
    assert (info["deaf"], info["reconnects"]) == (1, 1)
    assert len(house.comfyui.posted()) == len(set(house.comfyui.posted())) == 4


async def test_a_long_render_needs_few_calls_and_little_memory(house: House) -> None:
    await house.begin()
    house.comfyui.control(hold=["in_node"])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(5))
        await until(lambda: len(house.comfyui.posted()) == 3, "the queue is full")
        began, before = time.monotonic(), len(house.comfyui.requests())
        await until(lambda: time.monotonic() - began > 2 * SWEEP_S, "a quiet while has passed")
        calls = len(house.comfyui.requests()) - before
        assert calls / (time.monotonic() - began) <= 3 * 2 / SWEEP_S
        house.comfyui.control(flood_per_s=5_000)
        await answers(app, 100)
        house.comfyui.control(big_frame_bytes=50_000_000)
        await answers(app, 100)
        house.comfyui.control(hold=[], flood_per_s=0)
        (batch,) = await app.settled(asked["batch_id"])
        info = await backend(app)
    house.check_stored(batch)
    assert (info["deaf"], info["reconnects"]) == (0, 0)
    assert info["sweeps"] >= 2
    assert len(house.comfyui.posted()) == 5
    assert house.daemon.peak_bytes() < PEAK_BYTES_MAX


async def answers(app: App, times: int) -> None:
    """The daemon answers all the while."""
    for _ in range(times):
        await app.ask("list_batches")
        await pause(0.005)
