"""A box asks another one for a file, whatever the clocks of the two show."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from comfyledger.ledger.ports import BoxSeen
from comfyledger.workers.fleet.about import About
from comfyledger.workers.fleet.heard import Heard
from comfyledger.workers.fleet.peer_key import PeerKey
from comfyledger.workers.fleet.peers import PeerAway, Peers

HERE_S, SECRET, BYTES = 1_000_000.0, b"s" * 32, b"the bytes of an input"


class South:
    """A box whose clock is wrong, and its door."""

    def __init__(self, ahead_s: float) -> None:
        self.clock_s = HERE_S + ahead_s
        self._key = PeerKey(SECRET, lambda: self.clock_s)

    async def answer(self, request: web.Request) -> web.Response:
        is_allowed = self._key.allows(request.path, request.query["expires"], request.query["signature"])
        return web.Response(body=BYTES) if is_allowed else web.Response(status=403)


@pytest.fixture(params=[0.0, 7_200.0, -7_200.0], ids=["equal", "ahead", "behind"])
async def south(request: pytest.FixtureRequest) -> AsyncIterator[tuple[South, str]]:
    one, app = South(request.param), web.Application()
    app.router.add_get("/{path:.*}", one.answer)
    async with TestServer(app) as server:
        yield one, str(server.make_url(""))


async def test_a_box_gives_its_files_to_another_one_whose_clock_is_hours_off(south: tuple[South, str]) -> None:
    one, url = south
    heard = Heard("north", lambda: 0.0)
    heard.take([BoxSeen("south", url, About(at_s=one.clock_s - 2.0).encoded(), 0, 1, age_s=2.0)])
    async with aiohttp.ClientSession() as session:
        peers = Peers(heard, session, PeerKey(SECRET, lambda: HERE_S))
        async with peers.input("south", "a" * 64) as pieces:
            assert pieces is not None
            assert b"".join([piece async for piece in pieces]) == BYTES


async def test_a_box_that_does_not_tell_its_clock_is_asked_by_the_own_one(south: tuple[South, str]) -> None:
    one, url = south
    heard = Heard("north", lambda: 0.0)
    heard.take([BoxSeen("south", url, "{}", 0, 1, age_s=2.0)])
    async with aiohttp.ClientSession() as session:
        peers = Peers(heard, session, PeerKey(SECRET, lambda: HERE_S))
        if one.clock_s == HERE_S:
            async with peers.input("south", "a" * 64) as pieces:
                assert pieces is not None
        else:
            with pytest.raises(PeerAway, match="status 403"):
                async with peers.input("south", "a" * 64):
                    raise AssertionError("it was answered")
