"""Two boxes on one log: a client that goes from one door to the other misses no event and gets none twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.errors import Refused
from comfyledger.queries import subscription
from support.boxes import two_boxes
from support.ledger_kinds import NEEDS_POSTGRES
from support.waiting import until

pytestmark = NEEDS_POSTGRES
NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    async with two_boxes(tmp_path) as doors:
        yield doors


async def some(client: Client, count: int, after: int, epoch: str | None) -> list[wire.LoggedEvent]:
    """The next events after a position."""
    found: list[wire.LoggedEvent] = []
    async with contextlib.aclosing(client.subscribe(after=after, epoch=epoch)) as pushed:
        async for item in pushed:
            assert isinstance(item, wire.LoggedEvent)
            found.append(item)
            if len(found) == count:
                return found
    raise AssertionError("a subscription does not end by itself")


async def test_a_client_that_goes_from_box_to_box_gets_each_event_once(two: Any) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(door.url, door.token)) for door in two]

        async def submit(number: int) -> None:
            batch = await clients[number % 2].submit(**NAMES, quantity=2, request_id=f"r{number}")
            await clients[number % 2].wait(batch.batch_id)

        work = [asyncio.create_task(submit(number)) for number in range(6)]
        seen: list[wire.LoggedEvent] = []
        for turn in range(20):
            after, epoch = (seen[-1].position, seen[-1].epoch) if seen else (0, None)
            seen += await some(clients[turn % 2], 3, after, epoch)
        await asyncio.gather(*work)
    assert [event.position for event in seen] == list(range(1, len(seen) + 1))
    assert len({event.epoch for event in seen}) == 1
    lines = list(two[0].context.view.lines_after(0, len(seen)) or ())
    assert [event.kind for event in seen] == [line.kind for line in lines]


async def behind(two: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """A position that north has told, and south does not have."""
    north, south = two
    monkeypatch.setattr(south.context.engine, "catch_up", lambda: None)
    async with Client(north.url, north.token) as client:
        await client.pause("backend:south.main")
    await until(lambda: north.context.view.position > south.context.view.position, "south is behind")
    return north.position, north.context.view.epoch


async def test_a_position_that_a_box_does_not_have_yet_is_waited_for(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    position, epoch = await behind(two, monkeypatch)
    async with two[1].app() as app:
        asked = asyncio.create_task(app.ask("subscribe", after=position, epoch=epoch))
        assert (await app.ask("server_info"))["position"] < position, "other requests are answered meanwhile"
        assert not asked.done()
        monkeypatch.undo()
        assert (await asked)["position"] == position


async def test_a_box_that_stays_behind_says_so(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "REACHED_S", 0.05)
    position, epoch = await behind(two, monkeypatch)
    async with two[1].raw() as raw:
        for kind in ("subscribe", "read_log"):
            answer = await raw.ask(kind, after=position, epoch=epoch)
            assert (answer["data"]["code"], answer["data"]["path"]) == ("behind", "$.data.after")
            assert answer["data"]["retry_after_s"] > 0


async def test_the_client_asks_a_box_again_that_is_behind(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "REACHED_S", 0.05)
    position, epoch = await behind(two, monkeypatch)
    async with Client(two[1].url, two[1].token) as client, Client(two[0].url, two[0].token) as other:
        next_one = asyncio.create_task(some(client, 1, position, epoch))
        await until(lambda: client._link._pending != {}, "it has asked")
        monkeypatch.undo()
        await other.resume("backend:south.main")
        assert (await next_one)[0].position == position + 1


async def test_without_a_fleet_a_position_beyond_the_log_is_refused_at_once(door: Any) -> None:
    async with Client(door.url, door.token) as client:
        with pytest.raises(Refused) as refused:
            await some(client, 1, door.position + 1, door.context.view.epoch)
    assert refused.value.code == "unknown_position"
