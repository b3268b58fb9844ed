"""Boxes of a fleet, as any door shows and gives them up."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from comfyledger.client import Client
from comfyledger.core.commands import JoinBox, LeaveBox
from comfyledger.errors import Refused


async def joined(door: Any, name: str) -> int:
    return int((await door.context.engine.command(JoinBox("test", name))).term)


async def left(door: Any, name: str) -> None:
    await door.context.engine.command(LeaveBox("test", name, await joined(door, name), "lease"))


async def test_a_box_that_left_is_given_up_once(door: Any) -> None:
    await left(door, "north")
    async with Client(door.url, door.token) as client:
        assert (await client.give_up_box("north")).changed
        before = door.position
        assert not (await client.give_up_box("north")).changed
        assert door.position == before


async def test_a_box_that_takes_part_or_never_joined_is_not_given_up(door: Any) -> None:
    await joined(door, "north")
    async with Client(door.url, door.token) as client:
        for name, code in {"north": "box_present", "south": "unknown_box"}.items():
            with door.unchanged(), pytest.raises(Refused) as refused:
                await client.give_up_box(name)
            assert (refused.value.code, refused.value.path) == (code, "$.data.name")


async def test_over_http_the_refusal_is_about_the_path(door: Any) -> None:
    headers = {"Authorization": f"Bearer {door.token}"}
    async with aiohttp.request("POST", f"{door.url}/v1/boxes/north/give-up", json={}, headers=headers) as answer:
        assert (answer.status, (await answer.json())["path"]) == (404, "path.name")
