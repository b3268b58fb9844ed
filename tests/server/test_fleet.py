"""Two boxes on one log: whichever door a client uses, it sees and steers the whole fleet."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.core.commands import LeaveBox
from comfyledger.errors import Refused
from comfyledger.sim.comfyui.server import SimOptions, serve
from comfyledger.workers.fleet import heard
from support.boxes import Boxes, know_each_other, quick_beats, two_boxes
from support.ledger_kinds import NEEDS_POSTGRES, slow_machine
from support.waiting import until

pytestmark = NEEDS_POSTGRES


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    async with two_boxes(tmp_path) as doors:
        yield doors


async def info(door: Any) -> wire.Info:
    async with Client(door.url, door.token) as client:
        return await client.server_info()


async def got(door: Any, path: str) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {door.token}"}
    async with aiohttp.request("GET", door.url + path, headers=headers) as answer:
        return answer.status, await answer.read()


def states(found: wire.Info) -> dict[str, str]:
    return {one.name: one.state for one in found.backends}


async def test_each_door_shows_the_comfyuis_and_the_boxes_of_all(two: Any) -> None:
    for door, own in zip(two, ("north", "south"), strict=True):
        found = await info(door)
        assert states(found) == {"north.main": "connected", "south.main": "connected"}
        shown = [(one.name, one.state, one.term, one.own) for one in found.boxes]
        assert shown == [(name, "present", 1, name == own) for name in ("north", "south")]
        assert {one.url for one in found.boxes} == {door.url for door in two}


async def test_each_comfyui_is_counted_in_the_metrics_of_its_own_box_only(two: Any) -> None:
    for door, own, other in zip(two, ("north", "south"), ("south", "north"), strict=True):
        page = (await got(door, "/metrics"))[1].decode()
        assert f'comfyledger_comfyui_connected{{backend="{own}.main"}} 1.0' in page
        assert f'backend="{other}.main"' not in page
        assert "comfyledger_box_is_member 1.0" in page
        assert "comfyledger_box_present 2.0" in page


async def test_a_box_is_ready_while_any_comfyui_of_the_fleet_is_connected(two: Any) -> None:
    north, south = two
    await north.sim.stop()
    await until(lambda: not north.backends.all["north.main"].watcher.is_up, "its own ComfyUI is away")
    assert (await got(north, "/readyz"))[0] == 200
    await south.sim.stop()
    elsewhere = north.context.fleet.backends_elsewhere
    await until(lambda: not any(one.connected for _, one in elsewhere()), "the other box says that its own is away too")
    assert (await got(north, "/readyz"))[0] == 503


async def test_a_box_that_takes_no_part_is_not_ready(door: Any) -> None:
    door.context.engine._state.is_member = False
    status, body = await got(door, "/readyz")
    assert (status, json.loads(body)["reasons"][0]["code"]) == (503, "fenced")


async def test_what_a_silent_box_has_is_away(two: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(heard, "SILENT_S", -1.0)
    found = await info(two[0])
    away = next(one for one in found.backends if one.name == "south.main")
    assert (away.state, away.connected) == ("away", False)
    assert re.fullmatch(r"box south was last heard \d+ s ago", away.problem)
    assert [one.state for one in found.boxes] == ["present", "silent"]


async def test_the_comfyuis_of_a_box_that_left_are_away_until_it_is_given_up(tmp_path: Path) -> None:
    boxes = Boxes(tmp_path)
    with slow_machine(), quick_beats():
        async with boxes.opened("north") as north:
            async with boxes.opened("south") as south:
                await until(lambda: know_each_other(north, south), "the boxes know each other")
            await north.context.engine.command(LeaveBox("test", "south", 1, "lease"))
            found = await info(north)
            assert states(found) == {"north.main": "connected", "south.main": "away"}
            assert found.backends[1].problem == "box south has left the fleet"
            assert found.boxes[1].state == "left"
            async with Client(north.url, north.token) as client:
                await client.give_up_box("south")
            found = await info(north)
            assert (states(found), found.boxes[1].state) == ({"north.main": "connected"}, "given_up")


async def test_a_daemon_without_a_fleet_has_no_boxes(door: Any) -> None:
    assert (await info(door)).boxes == []
    assert b"comfyledger_box_is_member 1.0" not in (await got(door, "/metrics"))[1]


# ---- what other boxes have counts


NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}


@pytest_asyncio.fixture
async def unlike(tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    """Two boxes: the ComfyUI of `south` alone has the tag `flux`."""
    boxes = Boxes(tmp_path)
    with slow_machine(), quick_beats():
        async with (
            boxes.opened("north") as north,
            boxes.opened("south", backends={"main": 'tags = ["flux"]'}) as south,
        ):
            await until(lambda: know_each_other(north, south), "the boxes know each other")
            yield north, south


async def test_what_only_the_comfyui_of_another_box_can_render_is_rendered_there(unlike: Any) -> None:
    north, _ = unlike
    async with Client(north.url, north.token) as client:
        needing = await client.submit(**NAMES, quantity=1, needs=["flux"], request_id="needs")
        pinned = await client.submit(**NAMES, quantity=1, backend="south.main", request_id="pinned")
        for batch in (needing, pinned):
            assert [one.state for one in (await client.wait(batch.batch_id)).images] == ["stored"]
            (prompt,) = await north.context.reader.prompts(batch.batch_id)
            assert prompt.backend == "south.main"


async def test_a_tag_that_no_box_has_is_refused_with_what_each_comfyui_lacks(unlike: Any) -> None:
    async with Client(unlike[0].url, unlike[0].token) as client:
        with pytest.raises(Refused, match=r"south\.main: '48gb'") as refused:
            await client.submit(**NAMES, quantity=1, needs=["flux", "48gb"], request_id="r")
        assert refused.value.code == "no_backend"


async def test_the_comfyui_of_another_box_is_paused_drained_and_moved_away_from(unlike: Any) -> None:
    north, south = unlike
    async with Client(north.url, north.token) as client:
        await client.pause("backend:south.main")
        batch = await client.submit(**NAMES, quantity=1, backend="south.main", request_id="r")
        await until(lambda: south.context.view.is_paused("backend/south.main"), "south has heard of the pause")
        assert states(await client.server_info())["south.main"] == "paused"
        assert (await client.move("backend:south.main")).moved == 0
        await client.resume("backend:south.main")
        assert (await client.wait(batch.batch_id)).images[0].state == "stored"


async def test_one_is_added_to_the_box_that_is_asked_and_removed_at_any(tmp_path: Path) -> None:
    boxes = Boxes(tmp_path)
    with slow_machine(), quick_beats():
        async with await serve(SimOptions(output=tmp_path / "added")) as other, AsyncExitStack() as stack:
            allowed = f'[backends]\nallowed = ["{other.url}"]\n'
            north = await stack.enter_async_context(boxes.opened("north", allowed))
            south = await stack.enter_async_context(boxes.opened("south", allowed))
            await until(lambda: know_each_other(north, south), "the boxes know each other")
            at_north = await stack.enter_async_context(Client(north.url, north.token))
            at_south = await stack.enter_async_context(Client(south.url, south.token))
            with pytest.raises(Refused, match="a ComfyUI of the box south") as refused:
                await at_north.add_backend("south.gpu-7", other.url)
            assert refused.value.hint == f"Add it at the box south, at {south.url}, or give it a name without a dot."
            assert (await at_north.add_backend("gpu-7", other.url)).name == "north.gpu-7"
            await until(lambda: "north.gpu-7" in north.backends.all, "north uses it")
            await until(lambda: south.context.added.is_present("north.gpu-7"), "south has heard of it")
            assert "north.gpu-7" not in south.backends.all
            await at_south.remove_backend("north.gpu-7")
            await until(lambda: "north.gpu-7" not in north.backends.all, "north uses it no more")


async def test_what_a_comfyui_of_another_box_runs_is_moved_from_any_door(tmp_path: Path) -> None:
    boxes = Boxes(tmp_path)
    with slow_machine(), quick_beats():
        async with boxes.opened("north") as north, boxes.opened("south", seconds_per_image=600) as south:
            await until(lambda: know_each_other(north, south), "the boxes know each other")
            async with Client(north.url, north.token) as client:
                await client.pause("backend:north.main")
                batch = await client.submit(**NAMES, quantity=1, request_id="r")

                def is_there() -> bool:
                    return len(north.context.view.attempts_at("south.main")) == 1

                await until(is_there, "south renders it")
                await client.resume("backend:north.main")
                moved = await client.move("backend:south.main")
                assert (moved.moved, moved.stays) == (1, {})
                assert [image.state for image in (await client.wait(batch.batch_id)).images] == ["stored"]
                await until(lambda: states_of(south) == "paused", "south has taken it out of its queue")


def states_of(door: Any) -> str:
    return next(str(one.state) for one in door.context.backends(door.context.view.open_work()))


async def test_only_the_box_of_a_comfyui_can_try_it_at_once(two: Any) -> None:
    north, south = two
    await south.sim.stop()
    async with Client(south.url, south.token) as client:
        await client.submit(**NAMES, quantity=1, backend="south.main", request_id="r")
        await until(lambda: north.context.view.in_trouble("backend/south.main"), "north knows of the trouble")
        assert (await client.resume("backend:south.main")).tried
    async with Client(north.url, north.token) as client:
        with pytest.raises(Refused) as refused:
            await client.resume("backend:south.main")
        assert (refused.value.code, refused.value.hint) == ("other_box", f"Ask the box south, at {south.url}.")
