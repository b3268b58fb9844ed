"""Where the connections to added ComfyUIs go: to what a name means now, and never to a link-local address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from websockets.exceptions import InvalidStatus

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.direct import direct_websocket
from comfyledger.comfyui.transfer import NotReached
from comfyledger.workers.backends.guard import address_of, guarded_session, why_never_at
from comfyledger.workers.resolving import NotAllowed

LINK_LOCAL = ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]


class House:
    """A server on loopback that counts its connections, and what the name gpu.example means."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[web.BaseRequest] = []
        self.port = 0
        self.moved_to = ""
        self.means = ["127.0.0.1"]
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._resolve)

    @property
    def url(self) -> str:
        return f"http://gpu.example:{self.port}"

    async def _resolve(self, host: str, port: int, **_: Any) -> Any:
        assert host in {"gpu.example", *LINK_LOCAL}
        means = self.means if host == "gpu.example" else [host]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in means
        ]

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        if self.moved_to:
            return web.Response(status=302, headers={"Location": self.moved_to})
        if request.path != "/ws":
            return web.json_response({"system": {}}, headers={"Connection": "close"})
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.close()
        return answer


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    runner = web.ServerRunner(web.Server((made := House(monkeypatch)).take), shutdown_timeout=0.1)
    await runner.setup()
    site = web.SockSite(runner, socket.create_server(("127.0.0.1", 0)))
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def client(session: aiohttp.ClientSession, url: str) -> ComfyUI:
    return ComfyUI(session, url, connect_timeout_s=2, request_timeout_s=2, address_of=address_of)


async def open_websocket(comfyui: ComfyUI) -> None:
    """As the watcher does."""
    address = await comfyui.websocket_address()
    async with direct_websocket(comfyui.websocket_url, comfyui.login, 2, address):
        pass


async def test_a_name_of_this_network_is_called_under_its_own_name(house: House) -> None:
    async with guarded_session() as session:
        comfyui = client(session, house.url)
        await comfyui.system_stats()
        await open_websocket(comfyui)
        house.means = ["127.0.0.2", "127.0.0.3"]
        assert await comfyui.websocket_address() == "127.0.0.2"
    assert [request.host for request in house.asked] == [f"gpu.example:{house.port}"] * 2


@pytest.mark.parametrize("address", LINK_LOCAL)
async def test_a_name_that_means_a_link_local_address_is_never_called(house: House, address: str) -> None:
    house.means = ["127.0.0.1", address]
    async with guarded_session() as session:
        comfyui = client(session, house.url)
        with pytest.raises(NotReached, match="link-local"):
            await comfyui.system_stats()
        with pytest.raises(NotAllowed, match="link-local"):
            await open_websocket(comfyui)
    assert house.asked == []


async def test_what_a_name_means_is_judged_at_each_connection(house: House) -> None:
    async with guarded_session() as session:
        comfyui = client(session, house.url)
        await comfyui.system_stats()
        house.means = ["169.254.169.254"]
        with pytest.raises(NotReached, match="link-local"):
            await comfyui.system_stats()
    assert len(house.asked) == 1


async def test_a_redirect_is_not_followed(house: House) -> None:
    house.moved_to = "http://169.254.169.254/latest"
    async with guarded_session() as session:
        comfyui = client(session, house.url)
        with pytest.raises(NotReached, match="not followed"):
            await comfyui.system_stats()
        with pytest.raises(InvalidStatus):
            await open_websocket(comfyui)
    assert len(house.asked) == 2


@pytest.mark.parametrize("address", [*LINK_LOCAL, "0.0.0.0", "224.0.0.1"])
def test_an_address_is_judged_where_it_is_written(address: str) -> None:
    assert why_never_at(f"http://[{address}]:8188" if ":" in address else f"http://{address}:8188/comfy")


@pytest.mark.parametrize("host", ["10.0.0.7", "127.0.0.1", "[::1]", "[fd00::7]", "localhost", "gpu.example"])
def test_names_and_addresses_of_this_network_may_be_called(host: str) -> None:
    assert why_never_at(f"http://{host}:8188") == ""
