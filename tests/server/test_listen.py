"""Where the door listens: a Unix socket and its rights, addresses that must be meant, connections without a request."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from websockets.exceptions import InvalidStatus

from comfyledger import settings
from comfyledger.client import Client
from comfyledger.errors import Refused
from comfyledger.server import connections, listen
from comfyledger.server.app_keys import SPARED_EACH
from comfyledger.server.tokens import add
from support.waiting import DEADLINE_S, pass_time, pause, until

pytestmark = pytest.mark.usefixtures("quick_time")

PATH = "door.sock"


@contextlib.asynccontextmanager
async def at_socket(open_door: Any, folder: Path, more: str = "") -> AsyncIterator[Path]:
    path = folder / PATH
    async with open_door(folder, f'unix_path = "{path}"\n{more}') as door:
        assert door.url == f"unix:{path}"
        yield path


async def exchange(path: Path, head: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await reader.read()
    finally:
        writer.close()


async def test_a_socket_for_this_machine_is_there_beside_the_port(open_door: Any, tmp_path: Path) -> None:
    local = tmp_path / "state" / PATH
    async with open_door(tmp_path) as door:
        told = json.loads((tmp_path / "state" / "door.json").read_text())
        assert (told["url"], told["socket"]) == (door.url, str(local))
        assert stat.S_IMODE(local.stat().st_mode) == 0o660
        assert b"200 OK" in await exchange(local, "GET /healthz HTTP/1.1\r\nHost: localhost")
        assert b"401 " in await exchange(local, "GET /metrics HTTP/1.1\r\nHost: localhost")
        async with Client(state_dir=tmp_path / "state") as client:
            assert (await client.server_info()).position == 0
    assert not local.exists()


async def test_a_socket_for_this_machine_is_there_beside_another_one(open_door: Any, tmp_path: Path) -> None:
    async with at_socket(open_door, tmp_path):
        local = tmp_path / "state" / PATH
        assert b"200 OK" in await exchange(local, "GET /healthz HTTP/1.1\r\nHost: localhost")


async def test_a_configured_socket_at_its_very_place_is_the_one(open_door: Any, tmp_path: Path) -> None:
    local = tmp_path / "state" / PATH
    async with open_door(tmp_path, f'unix_path = "{local}"\nunix_mode = 0o600') as door:
        assert (door.url, stat.S_IMODE(local.stat().st_mode)) == (f"unix:{local}", 0o600)
        assert b"200 OK" in await exchange(local, "GET /healthz HTTP/1.1\r\nHost: localhost")
    assert not local.exists()


async def test_a_deep_state_folder_has_its_socket_in_the_run_time_folder(
    open_door: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 110)
    deep.mkdir()
    run = tmp_path_factory.mktemp("run")
    run.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    async with open_door(deep):
        (made,) = run.iterdir()
        assert json.loads((deep / "state" / "door.json").read_text())["socket"] == str(made)
        async with Client(state_dir=deep / "state") as client:
            assert (await client.server_info()).position == 0
    assert list(run.iterdir()) == []


def test_a_run_time_folder_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "_TEMPORARY", tmp_path)
    monkeypatch.setattr(listen, "PATH_BYTES_MAX", 1_000)  # so that only the state folder's is too long
    user, deep = os.geteuid(), Path("/" + "x" * 1_000)
    own = tmp_path / f"comfyledger-{user}"
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}

    def last() -> Path:
        return list(listen.socket_paths(deep, environ, user))[-1]

    (tmp_path / "run").mkdir(mode=0o755)
    assert last().parent == own
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert last().parent == own, "it is found again"
    own.chmod(0o770)
    assert last().parent not in {own, tmp_path / "run"}
    own.rmdir()
    own.symlink_to(tmp_path / "run")
    other = last().parent
    assert (other.name.startswith("comfyledger-"), stat.S_IMODE(other.stat().st_mode)) == (True, 0o700)


def test_two_state_folders_never_share_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    monkeypatch.setattr(listen, "PATH_BYTES_MAX", 1_000)
    found = [next(listen.socket_paths(Path(f"/{'x' * 1_000}/{name}"), environ, os.geteuid())) for name in "ab"]
    assert len(set(found)) == 2
    assert all(path.parent == tmp_path for path in found)


async def test_a_file_system_that_holds_no_sockets_keeps_nothing_from_starting(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    make = listen._on_socket

    async def on_socket(path: Path, *rest: Any) -> Any:
        if path.name == PATH:
            raise PermissionError(1, "Operation not permitted")
        return await make(path, *rest)

    monkeypatch.setattr(listen, "_on_socket", on_socket)
    async with open_door(tmp_path), Client(state_dir=tmp_path / "state") as client:
        assert (await client.server_info()).position == 0


async def test_a_socket_of_a_daemon_that_lives_is_never_taken_from_it(open_door: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(state / PATH))
        other.listen()
        with pytest.raises(Refused, match="Another program listens") as caught:
            async with open_door(tmp_path):
                pass
        assert "state_dir" in caught.value.hint
        assert stat.S_ISSOCK((state / PATH).stat().st_mode)


@pytest.mark.parametrize("left", ["socket", "link"])
async def test_only_the_socket_of_a_killed_daemon_is_replaced(open_door: Any, tmp_path: Path, left: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if left == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(state / PATH))
        async with open_door(tmp_path), Client(state_dir=state) as client:
            assert (await client.server_info()).position == 0
        return
    (state / PATH).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="not a socket"):
        async with open_door(tmp_path):
            pass
    assert (state / PATH).is_symlink()


async def test_the_client_finds_a_unix_socket_by_itself(open_door: Any, tmp_path: Path) -> None:
    async with at_socket(open_door, tmp_path), Client(state_dir=tmp_path / "state") as client:
        assert (await client.server_info()).position == 0


async def test_token_and_host_are_asked_for_at_a_unix_socket_too(open_door: Any, tmp_path: Path) -> None:
    async with at_socket(open_door, tmp_path) as path:
        assert b"200 OK" in await exchange(path, "GET /healthz HTTP/1.1\r\nHost: localhost")
        assert b"401 " in await exchange(path, "GET /metrics HTTP/1.1\r\nHost: localhost")
        assert b"421 " in await exchange(path, "GET /healthz HTTP/1.1\r\nHost: evil.example")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_the_socket_has_the_mode_and_group_that_were_asked_for(open_door: Any, tmp_path: Path, mode: int) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    async with at_socket(open_door, tmp_path, f'unix_mode = {mode}\nunix_group = "{group}"') as path:
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, os.getgid())
    assert not path.exists()


async def test_a_socket_that_nobody_listens_at_is_replaced(open_door: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / PATH))
    async with at_socket(open_door, tmp_path) as path:
        assert b"200 OK" in await exchange(path, "GET /healthz HTTP/1.1\r\nHost: localhost")


async def test_somebody_elses_socket_or_file_is_left_alone(open_door: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / PATH))
        other.listen()
        with pytest.raises(Refused, match="Another program listens"):
            async with at_socket(open_door, tmp_path):
                pass
    (tmp_path / PATH).unlink()
    (tmp_path / PATH).write_text("a file")
    with pytest.raises(Refused, match="not a socket"):
        async with at_socket(open_door, tmp_path):
            pass
    assert (tmp_path / PATH).read_text() == "a file"


async def test_who_listens_and_takes_nobody_in_listens_all_the_same(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "ASKING_S", 0.1)
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(tmp_path / PATH))
        other.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / PATH))
        with pytest.raises(Refused, match="Another program listens"):
            async with at_socket(open_door, tmp_path):
                pass


async def test_a_path_that_no_socket_can_have_is_refused_in_words(open_door: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too long"):
        async with at_socket(open_door, tmp_path / ("x" * 120)):
            pass


def test_an_address_that_means_all_is_found_by_clients_of_this_machine() -> None:
    assert listen.url_of("0.0.0.0", 5) == "http://127.0.0.1:5"
    assert listen.url_of("::", 5) == "http://[::1]:5"
    assert listen.url_of("10.0.0.5", 5) == "http://10.0.0.5:5"


async def test_a_group_that_is_not_there_is_refused(open_door: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no group"):
        async with at_socket(open_door, tmp_path, 'unix_group = "no-such-group"'):
            pass


# ---- wider addresses


def mistakes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "config.toml"
    path.write_text(f"[door]\n{text}")
    return [one.path for one in settings.examine(path, None, {}).mistakes]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("host = '::1'", []),
        ("host = '127.0.0.2'", []),
        ("host = '0.0.0.0'", ["door.host", "door.allowed_hosts"]),
        ("host = '0.0.0.0'\nallowed_hosts = ['box']", ["door.host"]),
        ("host = '0.0.0.0'\nbehind_proxy = true", ["door.allowed_hosts"]),
        ("host = '::'\nexposed = true\nauth = 'none'\nallowed_hosts = ['box']", ["door.auth"]),
        ("host = '10.0.0.5'\nbehind_proxy = true\nallowed_hosts = ['box']", []),
        ("host = '10.0.0.5'\nexposed = true\nallowed_hosts = ['box']", []),
    ],
)
def test_an_address_that_others_reach_must_be_meant(tmp_path: Path, text: str, wrong: list[str]) -> None:
    assert mistakes(tmp_path, text) == wrong


# ---- connections that say nothing


@pytest.mark.parametrize("said", [b"", b"GET /ws HT", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "])
async def test_a_connection_that_does_not_come_to_its_request_is_closed(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(listen, "REQUEST_S", 0.2)
    async with open_door(tmp_path) as door:
        reader, writer = await asyncio.open_connection(*address(door))
        writer.write(said)
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.read() == b""
        writer.close()


async def test_a_header_that_comes_in_drops_is_cut_off_all_the_same(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "REQUEST_S", 0.3)
    async with open_door(tmp_path) as door:
        reader, writer = await asyncio.open_connection(*address(door))
        dripping = asyncio.create_task(drip(writer))
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        dripping.cancel()
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /healthz HTTP/1.1\r\nX-A: ")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"a")
            await writer.drain()
            await pause(0.02)


async def test_two_thousand_silent_connections_keep_nobody_out_who_has_the_token(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANONYMOUS_S", 60.0)
    async with open_door(tmp_path, "connections_max = 40") as door:
        silent = [await asyncio.open_connection(*address(door)) for _ in range(2_000)]
        async with door.app() as app:
            assert (await app.ask("server_info"))["position"] == 0
            there = [reader for reader, _ in silent if not reader.at_eof()]
            assert len(there) <= connections.ANONYMOUS_MAX
        for _, writer in silent:
            writer.close()


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nX-A: ", id="headers that do not end"),
        pytest.param(HEALTH, id="a sign of life"),
        pytest.param(HEALTH * 50, id="many of them"),
        pytest.param(UPGRADE + b"\r\n", id="a websocket without a token"),
        pytest.param(UPGRADE + b"Authorization: Bearer wrong\r\n\r\n", id="one with a wrong token"),
        pytest.param(b"POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", id="half a body"),
    ],
)
@pytest.mark.parametrize("where", ["port", "socket"])
async def test_who_shows_no_token_has_seconds_whatever_it_says(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, where: str
) -> None:
    monkeypatch.setattr(connections, "ANONYMOUS_S", 0.3)
    monkeypatch.setattr(listen, "REQUEST_S", 60.0)
    path = tmp_path / PATH
    async with open_door(tmp_path, f'unix_path = "{path}"' if where == "socket" else "") as door:
        if where == "socket":
            reader, writer = await asyncio.open_unix_connection(path)
        else:
            reader, writer = await asyncio.open_connection(*address(door))
        writer.write(said)
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                while await reader.read(65_536):
                    pass
        writer.close()


async def test_who_showed_the_token_once_is_not_shown_out(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANONYMOUS_S", 60.0)
    monkeypatch.setattr(listen, "REQUEST_S", 600.0)
    async with open_door(tmp_path) as door, door.app() as app:
        reader, writer = await asyncio.open_connection(*address(door))
        request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {door.token}\r\n\r\n"
        for _ in range(6):
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert "200 OK" in head
            await reader.readexactly(int(head.partition("Content-Length: ")[2].split()[0]))
            await app.ask("server_info")
            pass_time(15.0)  # less than the websockets wait for a pong
        writer.close()


async def test_silent_connections_at_the_port_take_no_place_at_a_unix_socket(open_door: Any, tmp_path: Path) -> None:
    made = connections.Connections(10, anonymous_max=2)
    loop = asyncio.get_running_loop()
    told: list[str] = []
    for number, family in enumerate([socket.AF_INET, socket.AF_UNIX, socket.AF_INET, socket.AF_INET]):
        stranger(made, family, lambda number=number: told.append(str(number)), loop)
    assert told == ["0"], "the one that stood there longest, of its kind"


def stranger(
    made: connections.Connections, family: int, closed: Any, loop: asyncio.AbstractEventLoop
) -> connections.Connection:
    handler, transport = Mock(), Mock(spec=asyncio.WriteTransport)
    transport.get_extra_info.return_value.family = family
    transport.get_write_buffer_size.return_value = 0
    transport.close = closed
    connection = connections.Connection(made, handler)
    connection.connection_made(transport)
    return connection


async def test_at_the_limit_an_idle_connection_is_closed_and_a_busy_one_stays() -> None:
    made = connections.Connections(2)
    told: list[int] = []
    loop = asyncio.get_running_loop()
    guests = [stranger(made, socket.AF_INET, lambda n=n: told.append(n), loop) for n in range(4)]
    with made.answering(guests[0].handler):
        for guest in guests[:3]:
            made.authenticate(guest.handler)
        assert told == [1]
        with made.answering(guests[2].handler), pytest.raises(Refused, match="2 connections already"):
            made.authenticate(guests[3].handler)


async def test_a_label_that_fills_the_door_leaves_places_to_the_others(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "connections_max = 3") as door, contextlib.AsyncExitStack() as stack:
        state = tmp_path / "state" / "tokens.json"
        token = add(state, "greedy", "submit", 0.0)
        headers = {"additional_headers": {"Authorization": f"Bearer {token}"}}

        async def connected() -> bool:
            with contextlib.suppress(InvalidStatus):  # the new token is read within a second
                await stack.enter_async_context(door.connect(**headers))
                return True
            return False

        await until(connected)
        for _ in range(2):
            await stack.enter_async_context(door.connect(**headers))
        with pytest.raises(InvalidStatus) as refusal:
            await door.connect(**headers)
        assert refusal.value.response.status_code == 503
        for _ in range(SPARED_EACH):
            await stack.enter_async_context(door.connect())
        with pytest.raises(InvalidStatus):
            await door.connect()


def address(door: Any) -> tuple[str, int]:
    host, _, port = door.url.removeprefix("http://").partition(":")
    return host, int(port)
