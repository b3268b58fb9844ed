"""Who comes in: the token, the Host and the Origin, checked before anything is read."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from websockets.exceptions import InvalidStatus

from comfyledger import __version__
from comfyledger.errors import CODES
from comfyledger.server.rate_limit import BURST_S, LINES_PER_SECOND
from comfyledger.server.tokens import find_token
from support.waiting import DEADLINE_S

PAGE = "https://app.example"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def refused(http: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and error of a GET, which is as far as a websocket's handshake comes that is refused."""
    async with http.get(url, headers=headers) as answer:
        frame = await answer.json()
        assert (frame["type"], frame["id"]) == ("error", None)
        assert frame["data"]["code"] in CODES
        assert frame["data"]["message"].endswith(".")
        assert frame["data"]["hint"]
        return answer.status, frame["data"]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x", "{token}", "Bearer \xff"]
)
async def test_without_the_token_nobody_comes_in(
    door: Any, http: aiohttp.ClientSession, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.format(token=door.token)}
    with door.unchanged():
        status, error = await refused(http, f"{door.url}/ws", **headers)
    assert (status, error["code"]) == (401, "unauthorized")
    assert door.token not in str(error)


async def test_two_authorization_headers_are_refused_whichever_is_right(door: Any, http: aiohttp.ClientSession) -> None:
    right, wrong = ("Authorization", f"Bearer {door.token}"), ("Authorization", "Bearer wrong")
    for path in ("/ws", "/metrics", "/v1/server"):
        for headers in ([right, wrong], [wrong, right], [right, right]):
            async with http.get(door.url + path, headers=headers) as answer:
                told = await answer.json(content_type=None)
                assert (answer.status, told.get("data", told)["code"]) == (401, "unauthorized"), (path, headers)


async def test_a_handshake_without_the_token_is_answered_with_the_error(door: Any) -> None:
    with pytest.raises(InvalidStatus) as answered:
        await door.connect(additional_headers={})
    assert answered.value.response.status_code == 401
    assert b'"unauthorized"' in answered.value.response.body


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8188", ""])
async def test_a_page_that_is_not_allowed_is_refused_even_with_the_token(
    door: Any, http: aiohttp.ClientSession, origin: str
) -> None:
    headers = {"Authorization": f"Bearer {door.token}", "Origin": origin}
    for path in ("/ws", "/healthz"):
        status, error = await refused(http, door.url + path, **headers)
        assert (status, error["code"]) == (403, "forbidden_origin")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8189", "127.0.0.1.evil.example", "[::2]:8189"])
async def test_a_host_that_is_not_this_machine_is_refused_even_with_the_token(
    door: Any, http: aiohttp.ClientSession, host: str
) -> None:
    headers = {"Authorization": f"Bearer {door.token}", "Host": host}
    for path in ("/ws", "/healthz"):
        status, error = await refused(http, door.url + path, **headers)
        assert (status, error["code"]) == (421, "forbidden_host")


async def test_an_allowed_page_comes_in_with_the_token_and_not_without(
    open_door: Any, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with open_door(tmp_path, f'allowed_origins = ["{PAGE}"]\nallowed_hosts = ["box.example"]') as door:
        async with door.raw(origin=PAGE) as raw:
            assert (await raw.ask("server_info"))["type"] == "result"
        status, error = await refused(http, f"{door.url}/ws", Origin=PAGE, Host="Box.Example:8189")
        assert (status, error["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(("behind_proxy", "expected"), [("true", 200), ("false", 403)])
async def test_the_own_page_works_behind_a_proxy_with_tls(
    open_door: Any, tmp_path: Path, http: aiohttp.ClientSession, behind_proxy: str, expected: int
) -> None:
    """`/docs` sends its origin with each POST. A proxy passes on the name of the host, and no https."""
    keys = f'behind_proxy = {behind_proxy}\nallowed_hosts = ["box.example"]'
    async with open_door(tmp_path, keys) as door:
        headers = {"Authorization": f"Bearer {door.token}", "Host": "box.example", "Origin": "https://box.example"}
        async with http.post(f"{door.url}/v1/pause", headers=headers) as answer:
            assert answer.status == expected
        headers["Origin"] = "https://evil.example"
        async with http.post(f"{door.url}/v1/pause", headers=headers) as answer:
            assert answer.status == 403


async def test_a_page_may_send_the_token_as_a_subprotocol(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, f'allowed_origins = ["{PAGE}"]') as door:
        offered = {"additional_headers": {}, "origin": PAGE, "subprotocols": ["comfyledger", f"token.{door.token}"]}
        async with door.raw(**offered) as raw:
            assert raw.socket.subprotocol == "comfyledger"
            assert (await raw.ask("server_info"))["type"] == "result"
        with pytest.raises(InvalidStatus):
            await door.connect(**{**offered, "subprotocols": ["comfyledger", "token.wrong"]})


async def test_auth_none_lets_local_programs_in_and_pages_not(
    open_door: Any, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with open_door(tmp_path, 'auth = "none"') as door:
        async with door.raw(additional_headers={}) as raw:
            assert (await raw.ask("server_info"))["type"] == "result"
        assert (await refused(http, f"{door.url}/ws", Origin=PAGE))[0] == 403


async def test_connections_above_the_limit_are_told_so(
    open_door: Any, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with open_door(tmp_path, "connections_max = 2") as door, door.raw(), door.raw():
        status, error = await refused(http, f"{door.url}/ws", Authorization=f"Bearer {door.token}")
        assert (status, error["code"]) == (503, "busy")


async def test_the_door_says_that_it_is_alive_without_a_token(door: Any, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{door.url}/healthz") as answer:
        assert answer.status == 200
        assert await answer.json() == {"status": "alive", "version": __version__, "lanes": {}}


async def test_the_door_names_what_stands_still_to_whoever_asks_for_its_health(
    door: Any, http: aiohttp.ClientSession
) -> None:
    async with door.app() as app:
        await app.ask("pause", scope="store:folder")
    async with http.get(f"{door.url}/healthz") as answer:
        assert (await answer.json())["lanes"] == {"store/folder": "person"}


async def test_the_token_is_made_once_and_is_its_owners_alone(open_door: Any, tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        async with open_door(tmp_path) as door:
            tokens.append(door.token)
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) >= 32
    assert stat.S_IMODE((tmp_path / "state" / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_an_empty_token_file_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    assert len(find_token(tmp_path / "token", {})[0]) >= 32


# ---- as bytes, where no client would send it so


async def answered(door: Any, *lines: str) -> bytes:
    host, _, port = door.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode("latin-1"))
    async with asyncio.timeout(DEADLINE_S):
        answer = await reader.read()
    writer.close()
    return answer.split()[1]


REFUSED = [
    ("GET /healthz HTTP/1.1", "Host: [::1].evil.com"),
    ("GET /healthz HTTP/1.1", "Host: 127.0.0.1:80@evil.com"),
    ("GET /healthz HTTP/1.1", "Host: localhost."),
    ("GET /healthz HTTP/1.1", "Host: "),
    ("GET /healthz HTTP/1.1",),
    ("GET /healthz HTTP/1.0",),
    ("GET /healthz HTTP/1.1", "Host: localhost", "Host: evil.com"),
    ("GET /healthz HTTP/1.1", "Host: evil.com", "Host: localhost"),
    ("GET /healthz HTTP/1.1", "Host: localhost", "Host: localhost"),
    ("GET http://evil.com/healthz HTTP/1.1", "Host: localhost"),
    ("GET http://localhost@evil.com/healthz HTTP/1.1", "Host: localhost"),
    ("GET http://localhost/healthz HTTP/1.1", "Host: evil.com"),
    ("CONNECT evil.com:80 HTTP/1.1", "Host: localhost"),
    ("GET /v1/server HTTP/1.0", "Origin: http://localhost"),
]


async def test_a_request_that_names_another_host_anywhere_is_refused(door: Any) -> None:
    found = {lines: await answered(door, *lines) for lines in REFUSED}
    assert set(found.values()) <= {b"421", b"400"}, found


ANSWERED = [
    ("GET /healthz HTTP/1.1", "Host: LOCALHOST:8189"),
    ("GET /healthz HTTP/1.1", "Host: [::1]:1"),
    ("GET /healthz HTTP/1.0", "Host: 127.0.0.1"),
    ("GET http://localhost/healthz HTTP/1.1", "Host: 127.0.0.1"),
]


async def test_a_request_that_names_this_machine_is_answered(door: Any) -> None:
    found = {lines: await answered(door, *lines) for lines in ANSWERED}
    assert set(found.values()) == {b"200"}, found


@pytest.mark.parametrize("origins", [["https://app.example", "https://evil.example"], ["https://evil.example"]])
async def test_each_origin_must_be_allowed(open_door: Any, tmp_path: Path, origins: list[str]) -> None:
    async with open_door(tmp_path, f'allowed_origins = ["{PAGE}"]') as door:
        headers = [f"Origin: {origin}" for origin in origins]
        assert await answered(door, "GET /healthz HTTP/1.1", "Host: localhost", *headers) == b"403"


MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /%zz\xff\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x1b[2J\x00\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /ws HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\r\n\r\n\r\n",
]


async def test_malformed_http_is_logged_in_lines_of_one_fact_and_seldom(
    door: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = door.url.removeprefix("http://").partition(":")
    began_s = time.monotonic()
    with structlog.testing.capture_logs() as said:
        for _ in range(5):
            for request in MALFORMED:
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(request)
                writer.write_eof()
                async with asyncio.timeout(DEADLINE_S):
                    with contextlib.suppress(ConnectionError):
                        await reader.read()
                writer.close()
    assert "Traceback" not in capfd.readouterr().err
    facts = [one for one in said if one["event"] == "door.malformed"]
    assert 0 < len(facts) <= 1 + LINES_PER_SECOND * (BURST_S + time.monotonic() - began_s)
    assert {one["event"] for one in said} <= {
        "door.malformed",
        "door.refused",
        "engine.started",
        "comfyui.node_classes",
    }
    assert all(len(str(one)) < 500 and "\n" not in one["error"] for one in facts)


async def test_health_names_no_user_to_those_without_a_token(door: Any, http: aiohttp.ClientSession) -> None:
    async with door.app() as app:
        await app.ask("pause", scope="user:Areg")
        await app.ask("pause", scope="user:Vera")
    for path in ("/", "/healthz", "/readyz"):
        async with http.get(door.url + path) as answer:
            text = (await answer.text()).lower()
            assert "areg" not in text
            assert "vera" not in text
    async with http.get(f"{door.url}/healthz") as answer:
        assert (await answer.json())["lanes"] == {"user": "person"}
