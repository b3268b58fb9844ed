"""A stream of Server-Sent Events over a daemon that is killed while it sends."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import aiohttp

from support.event_stream import follow
from support.processes import House
from support.waiting import DEADLINE_S

PAGES = 4
"""How often the daemon is killed."""


async def test_a_stream_goes_on_over_killed_daemons_without_gap_or_duplicate(house: House) -> None:
    await house.begin(seconds_per_image=0.1)
    async with house.app() as app:
        batches = [(await app.submit(f"r{number}", quantity=6))["batch_id"] for number in range(PAGES)]
    seen: list[int] = []
    last_id = ""
    for kill in range(1, PAGES + 1):
        last_id, found = await followed(house, last_id, least=8)
        seen += found
        house.daemon.signal(signal.SIGKILL)
        await house.daemon.begin()
        assert len(seen) >= 8 * kill
    async with house.app() as app:
        await app.settled(*batches)
        positions = [event["position"] for event in await app.log()]
    _, found = await followed(house, last_id, least=positions[-1] - seen[-1])
    assert seen + found == positions


async def followed(house: House, last_id: str, least: int) -> tuple[str, list[int]]:
    """At least so many events after an id, or all that come until the connection breaks; and the last id."""
    seen: list[int] = []
    async with aiohttp.ClientSession() as session:
        url, token = f"{house.daemon.url}/v1/events", house.daemon.token
        async with follow(session, url, token, last_id) as stream:
            with suppress(EOFError, aiohttp.ClientError, ConnectionError):
                while len(seen) < least:
                    sent = await asyncio.wait_for(stream.next(), DEADLINE_S)
                    assert sent.last_id.endswith(f":{sent.data['position']}")
                    seen.append(sent.data["position"])
            return stream.last_id, seen
