"""What clients see of each ComfyUI: whether it works, what it has of ours, and what it has done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyledger.server import tokens
from support.waiting import until
from support.wire_app import App, Frame, Refusal


async def only_one(app: App) -> Frame:
    (backend,) = (await app.ask("server_info"))["backends"]
    return dict(backend)


async def test_a_paused_backend_drains_until_its_files_are_here(door: Any) -> None:
    door.sim.breakpoints.hold(["in_node"])
    async with door.app() as app:
        batch = await app.submit("r1", quantity=2)
        await until(lambda: door.sim.breakpoints.held_at, "one runs")

        async def both_there() -> Frame | None:
            work = (await only_one(app))["work"]
            return work if (work.get("running"), work.get("waiting")) == (1, 1) else None

        assert (await until(both_there, "one runs and one waits"))["places"] == 2
        assert "state" not in await only_one(app)  # connected, the default
        await app.ask("pause", scope="backend:main")
        assert (await only_one(app))["state"] == "draining"
        door.sim.breakpoints.hold([])

        async def drained() -> bool:
            return bool((await only_one(app))["state"] == "paused")

        await until(drained, "nothing is left")
        images = (await app.ask("list_images", batch_id=batch["batch_id"]))["images"]
        assert {image["state"] for image in images} <= {"kept", "stored"}
        work = (await only_one(app))["work"]
        assert work["ended"]["finished"] == 2
        assert work["images_per_hour"] > 0
        await app.ask("resume", scope="backend:main")
        assert "state" not in await only_one(app)


async def test_a_backend_in_trouble_is_away_with_the_reason(door: Any) -> None:
    async with door.app() as app:
        await door.sim.stop()

        async def away() -> Frame | None:
            one = await only_one(app)
            return one if one.get("state") == "away" and ": " in one["problem"] else None

        assert (await until(away, "it is away"))["problem"].startswith("not_reached: ")


async def test_what_waits_is_told_with_the_time_that_a_prompt_took(door: Any) -> None:
    async with door.app() as app:
        done = await app.submit("r1", quantity=2)
        await app.settled(done["batch_id"])
        door.sim.breakpoints.hold(["in_node"])
        await app.submit("r2", quantity=6)

        async def waiting() -> Frame | None:
            (one,) = (await app.ask("server_info"))["demand"]
            return dict(one) if (one["queued"], one["running"]) == (3, 3) else None

        found = await until(waiting, "three short ones are there and three wait")
        assert (found["needs"], found["tags"], found["backend"]) == ("any", [], "")
        assert found["queued_s"] > 0
        assert found["backends_wanted"] >= 1
        door.sim.breakpoints.hold([])


async def test_a_token_of_one_label_sees_no_work_of_others(door: Any) -> None:
    async with door.app() as app:
        batch = await app.submit("r1", quantity=1)
        await app.settled(batch["batch_id"])
        assert {"work", "warm"} <= (await only_one(app)).keys()
    token = tokens.add(Path(door.folder) / "state" / "tokens.json", "ours", "submit", 0.0)
    door.context.access.keyring.refresh()
    async with door.connect(additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        app = App(socket)
        assert not {"work", "warm"} & (await only_one(app)).keys()
        assert "demand" not in await app.ask("server_info")
        await app.close()


async def test_only_a_backend_that_is_configured_can_be_moved_away_from(door: Any) -> None:
    async with door.app() as app:
        for scope in ("backend:gone", "user:Areg", "backend:", ""):
            with pytest.raises(Refusal, match="unknown_scope"):
                await app.ask("move", scope=scope)
        assert "state" not in await only_one(app), "a refused move pauses nothing"


async def test_what_no_other_may_take_stays_and_the_answer_says_so(door: Any) -> None:
    door.sim.breakpoints.hold(["in_node"])
    async with door.app() as app:
        await app.submit("r1", quantity=1)
        await until(lambda: door.sim.breakpoints.held_at, "it runs")

        async def there() -> bool:
            return bool((await app.ask("read_log", kinds=["prompt_accepted"]))["events"])

        await until(there, "it is accepted")
        moved = await app.ask("move", scope="backend:main")
        assert (moved["moved"], moved["stays"]) == (0, {"nowhere": 1})
        assert "is taken by no other ComfyUI that works" in moved["hint"]
        assert (await only_one(app))["state"] == "draining"
        door.sim.breakpoints.hold([])
