"""Fetching an input from a server: only from those that are named, once, directly, and within bounds."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from comfyledger.errors import Refused
from comfyledger.settings import Inputs
from comfyledger.workers.inputs import fetch as fetch_module
from comfyledger.workers.inputs import paced as paced_module
from comfyledger.workers.inputs.fetch import InputFetcher
from comfyledger.workers.inputs.paced import TooSlow, paced
from support.ports import closed_port
from support.spool_files import image
from support.waiting import pass_time

PNG = image()


class Server:
    """A server that answers with `answer`, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[web.Request] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.plain

    async def plain(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=PNG)

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        self.asked.append(request)
        return await self.answer(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    made = Server(0)
    app.router.add_route("*", "/{path:.*}", made.take)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def fetcher(*hosts: str) -> InputFetcher:
    return InputFetcher(Inputs(url_hosts=hosts).origins)


async def get(asking: InputFetcher, url: str) -> tuple[bytes, int, str]:
    async with asking.fetched(url) as file:
        return b"".join([piece async for piece in file.chunks]), file.size_bytes, file.named


async def refused(asking: InputFetcher, url: str) -> Refused:
    with pytest.raises(Refused) as found:
        await get(asking, url)
    assert found.value.path == "$.data.url"
    assert found.value.hint
    return found.value


async def test_a_file_comes_from_a_server_that_is_named_and_nothing_of_ours_goes_there(server: Server) -> None:
    here = f"http://127.0.0.1:{server.port}"
    assert await get(fetcher(here), f"{here}/a%20b/x%20y.png?w=1&h=%2F#part") == (PNG, len(PNG), "x y.png")
    (asked,) = server.asked
    assert asked.raw_path == "/a%20b/x%20y.png?w=1&h=%2F"
    assert set(asked.headers) <= {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}
    assert asked.headers["Accept-Encoding"] == "identity"


async def test_a_proxy_of_the_environment_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    here = f"http://127.0.0.1:{server.port}"
    assert (await get(fetcher(here), f"{here}/x.png"))[0] == PNG


async def test_localhost_may_be_named_as_such(server: Server) -> None:
    here = f"http://localhost:{server.port}"
    assert (await get(fetcher(here), f"{here}/x.png"))[0] == PNG


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}",
        "https://images.example:{port}/x.png",
        "http://images.example/x.png",
        "http://images.example.evil.example:{port}/x.png",
        "http://evil.example:{port}/images.example:{port}",
        "http://evil.example:{port}#@images.example:{port}/",
        "http://IMAGES.example.:{port}/x.png",
    ],
)
async def test_any_other_server_is_refused_without_a_call(server: Server, url: str) -> None:
    found = await refused(fetcher(f"http://images.example:{server.port}"), url.format(port=server.port))
    assert found.code in {"url_not_allowed", "invalid_field"}
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "x.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://me:secret@127.0.0.1:{port}/x.png",
        "http://127.0.0.1:{port}/a b.png",
        "http://127.0.0.1:{port}/\n",
        "http://127.0.0.1:{port}/ü.png",
        "http://127.0.0.1:99999/",
        "http://[::1/x",
    ],
)
async def test_what_is_no_plain_address_is_refused(server: Server, url: str) -> None:
    found = await refused(fetcher(f"http://127.0.0.1:{server.port}"), url.format(port=server.port))
    assert found.code == "invalid_field"
    assert "secret" not in str(found)


async def test_what_a_name_means_now_is_judged_and_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def meaning(*addresses: str) -> Any:
        async def resolve(host: str, port: int, **_: Any) -> Any:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        return resolve

    loop = asyncio.get_running_loop()
    url = f"http://images.example:{server.port}/x.png"
    for addresses in (("127.0.0.1",), ("93.184.215.14", "10.0.0.7"), ("169.254.169.254",)):
        monkeypatch.setattr(loop, "getaddrinfo", meaning(*addresses))
        assert (await refused(fetcher(f"http://images.example:{server.port}"), url)).code == "url_not_allowed"
    assert server.asked == []
    assert asked == ["images.example"] * 3
    monkeypatch.setattr(fetch_module, "why_not", lambda host, address: "")
    monkeypatch.setattr(loop, "getaddrinfo", meaning("127.0.0.1"))
    assert (await get(fetcher(f"http://images.example:{server.port}"), url))[0] == PNG
    assert server.asked[0].host == f"images.example:{server.port}"
    assert asked == ["images.example"] * 4


async def test_a_link_local_address_is_refused_even_if_it_is_named() -> None:
    found = await refused(fetcher("http://169.254.169.254"), "http://169.254.169.254/latest/meta-data")
    assert found.code == "url_not_allowed"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: Server, status: int) -> None:
    async def moved(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/other.png"})

    server.answer = moved
    here = f"http://127.0.0.1:{server.port}"
    found = await refused(fetcher(here), f"{here}/x.png")
    assert (found.code, len(server.asked)) == ("url_failed", 1)


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500])
async def test_an_answer_that_is_not_the_file_is_refused(server: Server, status: int) -> None:
    async def other(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    server.answer = other
    here = f"http://127.0.0.1:{server.port}"
    found = await refused(fetcher(here), f"{here}/x.png?key=secret")
    assert (found.code, str(status) in found.message, "secret" in str(found)) == ("url_failed", True, False)


async def test_compressed_bytes_are_refused(server: Server) -> None:
    async def zipped(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(PNG), headers={"Content-Encoding": "gzip"})

    server.answer = zipped
    here = f"http://127.0.0.1:{server.port}"
    assert (await refused(fetcher(here), f"{here}/x.png")).code == "url_failed"


async def test_a_file_that_breaks_off_is_refused(server: Server) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(PNG)
        assert request.transport is not None
        request.transport.close()
        return response

    server.answer = cut
    here = f"http://127.0.0.1:{server.port}"
    found = await refused(fetcher(here), f"{here}/x.png?key=secret")
    assert (found.code, "secret" in str(found)) == ("url_failed", False)


async def test_nobody_listening_is_said() -> None:
    here = f"http://127.0.0.1:{closed_port()}"
    found = await refused(fetcher(here), f"{here}/x.png?key=secret")
    assert (found.code, "secret" in str(found)) == ("url_failed", False)


async def test_a_server_that_never_answers_is_given_up(server: Server) -> None:
    asked = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = silent
    here = f"http://127.0.0.1:{server.port}"
    getting = asyncio.create_task(refused(fetcher(here), f"{here}/x.png"))
    await asked.wait()
    pass_time(60)
    assert (await getting).code == "url_failed"


async def test_only_some_files_are_fetched_at_once_and_who_waits_too_long_is_told(server: Server) -> None:
    asked, answers = asyncio.Semaphore(0), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        asked.release()
        await answers.wait()
        return web.Response(body=PNG)

    server.answer = slow
    here = f"http://127.0.0.1:{server.port}"
    asking = fetcher(here)
    getting = [asyncio.create_task(get(asking, f"{here}/x.png")) for _ in range(fetch_module.FETCHES_MAX)]
    for _ in getting:
        await asked.acquire()
    late = asyncio.create_task(get(asking, f"{here}/x.png"))
    await asyncio.sleep(0)
    pass_time(fetch_module.TURN_S + 1)
    with pytest.raises(Refused) as found:
        await late
    assert (found.value.code, len(server.asked)) == ("busy", fetch_module.FETCHES_MAX)
    answers.set()
    assert {end[0] for end in await asyncio.gather(*getting)} == {PNG}


# ---- the pace


async def pieces(*sent: tuple[float, bytes]) -> list[bytes]:
    """What `paced` lets pass of pieces that take so many seconds each."""
    left = list(sent)

    async def read() -> bytes:
        if not left:
            return b""
        seconds, piece = left.pop(0)
        pass_time(seconds)
        await asyncio.sleep(0)
        return piece

    return [piece async for piece in paced(read)]


async def test_bytes_in_time_pass_whole() -> None:
    assert await pieces((29, b"a"), (0, b"b")) == [b"a", b"b"]
    fast = bytes(paced_module.BYTES_PER_S_MIN * 20)
    assert len(await pieces(*[(20, fast)] * 10)) == 10


async def test_bytes_that_trickle_are_given_up() -> None:
    with pytest.raises(TooSlow, match="fewer than 8192 a second"):
        await pieces(*[(20, b"x")] * 3)


async def test_a_sender_that_stops_is_given_up() -> None:
    never = asyncio.Event()

    async def read() -> bytes:
        await never.wait()
        return b""

    async def consume() -> None:
        async for _ in paced(read):
            pass

    waiting = asyncio.create_task(consume())
    await asyncio.sleep(0)
    pass_time(paced_module.STALL_S + 1)
    with pytest.raises(TooSlow, match="Nothing came"):
        await waiting
