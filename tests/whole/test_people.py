"""People at ComfyUI's own page, and people who pause: their will is respected, said, and outlives a kill."""

from __future__ import annotations

import json
import signal
import urllib.request
from typing import Any

from support.processes import EarlierStandIn, House, StandIn
from support.waiting import DEADLINE_S, until
from support.wire_app import App, coloured, of_kind


def at_comfyuis_page(house: House, path: str, body: dict[str, Any]) -> None:
    """What the page of ComfyUI sends when somebody presses a button."""
    request = urllib.request.Request(
        house.comfyui.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=DEADLINE_S).close()


async def held(app: App, batch_id: str) -> str:
    """Wait until a batch is held; the reason."""
    await app.ask("subscribe", batch_id=batch_id, kinds=["batch_held"])
    (event, *_) = await until(lambda: of_kind(app.events, "batch_held"), "the batch is held")
    return str(event["data"]["reason"])


async def test_a_queue_that_somebody_cleared_is_not_filled_again(house: House) -> None:
    """One image runs, two wait and are taken away; the batch says why it stands, others go on."""
    await house.begin()
    house.comfyui.control(hold=["in_node"])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(6))
        await until(lambda: len(house.comfyui.queue()["queue_pending"]) == 2, "two wait at ComfyUI")
        at_comfyuis_page(house, "/queue", {"clear": True})
        assert await held(app, asked["batch_id"]) == "removed"
        house.comfyui.control(hold=[])
        other = await app.submit("r2", "Mina", quantity=2)
        await app.settled(other["batch_id"])
        batch = await app.counted("stored", 1, asked["batch_id"])
        assert (batch["status"], batch["pending"]) == ("held", 5)
        assert len(house.comfyui.posted()) == 3 + 2
        await app.ask("resume", scope=f"batch:{asked['batch_id']}")
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    house.check_stored(batch)
    assert {event["data"]["by"] for event in of_kind(log, "prompt_removed")} == {"foreign"}
    assert of_kind(log, "prompt_failed") == []


async def test_a_prompt_that_somebody_interrupted_is_not_run_again(house: House) -> None:
    await house.begin(depth=1)
    house.comfyui.control(hold=["in_node"])
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await until(lambda: house.comfyui.control()["held_at"] == "in_node", "one runs")
        at_comfyuis_page(house, "/interrupt", {})
        house.comfyui.control(hold=[])
        assert await held(app, asked["batch_id"]) == "interrupted"
        other = await app.submit("r2", "Mina", quantity=1)
        await app.settled(other["batch_id"])
        assert len(house.comfyui.posted()) == 2
        await app.ask("resume", scope=f"batch:{asked['batch_id']}")
        (batch,) = await app.settled(asked["batch_id"])
    assert house.comfyui.ended()[0] == "execution_interrupted"
    house.check_stored(batch)


async def test_a_history_that_somebody_cleared_takes_no_finished_image_away(side_by_side: Any) -> None:
    """Both have ended and nobody has looked yet: their files lie under the names that they must have."""
    await side_by_side(history_cleared, [StandIn, EarlierStandIn])


async def history_cleared(house: House, version: type[StandIn]) -> None:
    house.comfyui = version(house.folder, 0.0)
    await house.comfyui.begin()
    house.configure()
    await house.daemon.begin()
    house.comfyui.control(slow={"/history/": 1.0, "/api/jobs/": 1.0, "/queue": 1.0})
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await until(lambda: house.comfyui.ended() == ["execution_success"] * 2, "both have run")
        at_comfyuis_page(house, "/history", {"clear": True})
        house.comfyui.control(slow={})
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    house.check_stored(batch)
    assert len(house.comfyui.posted()) == 2
    assert of_kind(log, "batch_held") == of_kind(log, "prompt_removed") == []


async def test_what_people_paused_is_paused_after_a_kill(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        await app.ask("pause")
        asked = await app.submit("r1", quantity=1)
        batch = f"batch:{asked['batch_id']}"
        for scope in ("backend:main", "user:areg", batch):
            await app.ask("pause", scope=scope)
    house.daemon.signal(signal.SIGKILL)
    await house.daemon.begin()
    async with house.app() as app:
        info = await app.ask("server_info")
        paused = {lane["lane"] for lane in info["lanes"] if lane["paused"]}
        assert paused == {"everything", "backend/main", "user/areg"}
        assert (await app.batch(asked["batch_id"]))["held"] == "person"
        other = await app.submit("r2", "Mina", quantity=1)
        await app.ask("resume")
        assert house.comfyui.posted() == []
        await app.ask("resume", scope="backend:main")
        await app.settled(other["batch_id"])
        for scope in ("user:areg", batch):
            assert len(house.comfyui.posted()) == 1
            await app.ask("resume", scope=scope)
        await app.settled(asked["batch_id"])
    assert len(house.stored()) == 2
