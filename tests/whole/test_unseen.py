"""A ComfyUI that was never seen, and one that is down when the daemon starts."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from support.processes import House
from support.waiting import until
from support.wire_app import Frame, Refusal

WRONG: dict[str, Any] = {"workflow": "text-to-image", "quantity": 1, "inputs": {"checkpoint": "none-such.safetensors"}}
UNCHECKED = "not checked: ComfyUI could not be asked"
DOCUMENT = {"nodes": [], "links": [], "version": 0.4}


async def refusal(app: Any, **asked: Any) -> Frame:
    with pytest.raises(Refusal) as refused:
        await app.submit("refused", **asked)
    return dict(refused.value.data)


async def known(app: Any) -> int | None:
    """How many node classes the daemon knows of its ComfyUI."""
    count: int | None = (await app.ask("server_info"))["backends"][0].get("node_classes")
    return count


async def test_a_comfyui_that_was_never_seen_is_asked_at_first_contact(house: House) -> None:
    await house.comfyui.begin()
    house.comfyui.signal(signal.SIGKILL)
    house.configure()
    await house.daemon.begin()
    async with house.app() as app:
        assert await known(app) is None
        wrong, right = await app.submit("wrong", **WRONG), await app.submit("right")
        assert all(UNCHECKED in answer["found"][0] for answer in (wrong, right))
        assert (await refusal(app, workflow=DOCUMENT, inputs={}))["code"] == "backend_unknown"
        await house.comfyui.begin()
        (settled,) = await app.settled(right["batch_id"])
        assert (await known(app) or 0) > 0
    house.daemon.signal(signal.SIGKILL)
    await house.daemon.begin()
    async with house.app() as app:
        held = await app.batch(wrong["batch_id"])
    assert settled["stored"] == 3
    assert (held["held"], held["pending"]) == ("unfit", 1)
    assert "none-such.safetensors" in held["held_text"]
    assert len(house.comfyui.posted()) == 3


async def test_a_daemon_that_starts_before_its_comfyui_knows_what_it_has(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        await until(lambda: known(app), "ComfyUI has said what it has")
        assert (await refusal(app, **WRONG))["code"] == "workflow_failed_validation"
    house.comfyui.signal(signal.SIGKILL)
    house.daemon.signal(signal.SIGKILL)
    await house.daemon.begin()
    async with house.app() as app:
        assert (await known(app) or 0) > 0
        assert UNCHECKED in (await app.submit("wrong", **WRONG))["found"][0]
        right = await app.submit("right")
        assert UNCHECKED not in right["found"][0]
        assert (await refusal(app, workflow=DOCUMENT, inputs={}))["code"] == "workflow_no_output"
        await house.comfyui.begin()
        (settled,) = await app.settled(right["batch_id"])
    assert settled["stored"] == 3
