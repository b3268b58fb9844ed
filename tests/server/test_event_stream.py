"""Events over HTTP as Server-Sent Events: the subscriptions of the websocket, for browsers and shells."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from comfyledger.server import tokens
from comfyledger.server.app_keys import SPARED_EACH
from comfyledger.server.v1 import events
from support.event_stream import follow
from support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.usefixtures("quick_time")

BATCH = {"username": "Areg", "character": "Opal Fever", "quantity": 2}


async def test_a_stream_has_every_event_of_a_subscription(door: Any) -> None:
    async with door.app() as app, aiohttp.ClientSession() as session:
        made = await app.ask("submit_batch", request_id="r1", **BATCH)
        await app.settled(made["batch_id"])
        async with door.raw() as raw:
            await raw.ask("subscribe")
            told = [(await raw.receive())["data"] for _ in range(door.position)]
        async with follow(session, f"{door.url}/v1/events", door.token) as stream:
            sent = [await stream.next() for _ in told]
    for event, frame in zip(sent, told, strict=True):
        assert (event.kind, event.data) == (frame["kind"], {k: v for k, v in frame.items() if k != "subscription"})
        assert event.last_id == f"{frame['epoch']}:{frame['position']}"


async def test_a_stream_continues_after_the_last_id_without_gap_or_duplicate(door: Any) -> None:
    async with door.app() as app, aiohttp.ClientSession() as session:
        seen, last_id = [], ""
        for number in range(3):
            made = await app.ask("submit_batch", request_id=f"r{number}", **BATCH)
            await app.settled(made["batch_id"])
            async with follow(session, f"{door.url}/v1/events", door.token, last_id) as stream:
                while not seen or seen[-1] < door.position:
                    seen.append((await stream.next()).data["position"])
                last_id = stream.last_id
    assert seen == list(range(1, door.position + 1))


async def test_a_stream_that_gave_no_event_yet_says_where_it_began(door: Any) -> None:
    async with door.app() as app, aiohttp.ClientSession() as session:
        await app.ask("pause", scope="user:Areg")
        began = door.position
        async with follow(session, f"{door.url}/v1/events?after=-1", door.token) as stream:
            told = (await stream.answer.content.readuntil(b"\n\n")).decode()
        last_id = told.partition("id: ")[2].strip()
        assert last_id == f"{door.context.view.epoch}:{began}"
        await app.ask("resume", scope="user:Areg")
        async with follow(session, f"{door.url}/v1/events?after=-1", door.token, last_id) as stream:
            assert (await stream.next()).data["position"] == began + 1


async def test_a_stream_shows_the_kinds_of_one_batch_if_asked(door: Any) -> None:
    async with door.app() as app, aiohttp.ClientSession() as session:
        await app.ask("submit_batch", request_id="r0", **BATCH)
        made = await app.ask("submit_batch", request_id="r1", **BATCH)
        url = f"{door.url}/v1/events?batch_id={made['batch_id']}&kinds=batch_requested,batch_settled"
        async with follow(session, url, door.token) as stream:
            first, last = await stream.next(), await stream.next()
    assert [first.kind, last.kind] == ["batch_requested", "batch_settled"]
    assert first.data["stream"] == last.data["stream"] == made["batch_id"]


async def test_progress_has_no_id_so_that_a_stream_continues_after_an_event(open_door: Any, tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, seconds_per_image=0.2) as door,
        door.app() as app,
        aiohttp.ClientSession() as session,
        follow(session, f"{door.url}/v1/events?progress=true", door.token) as stream,
    ):
        sampled = {"workflow": "text-to-image", "inputs": {"width": 64, "height": 64, "steps": 4}}
        await app.ask("submit_batch", request_id="r1", **BATCH, **sampled)
        before = ""
        while (sent := await stream.next()).kind != "progress":
            before = sent.last_id
        assert sent.last_id == before
        assert sent.data["images"] == [1]


async def test_a_quiet_stream_is_kept_alive(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    async with (
        aiohttp.ClientSession() as session,
        follow(session, f"{door.url}/v1/events?after=-1", door.token) as stream,
        asyncio.timeout(DEADLINE_S),
    ):
        await stream.answer.content.readuntil(b"\n\n:\n\n:\n\n")


@pytest.mark.parametrize("held_by", ["the kernel", "the server"])
async def test_a_client_that_never_reads_is_cut_off(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_by: str
) -> None:
    """Also if all that waits for it fits into buffers, so that no sender waits."""
    monkeypatch.setattr(events, "STALL_S", 3.0)
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 1.0)
    if held_by == "the server":
        monkeypatch.setattr(events, "_limit_silence", leave_the_kernel_no_room)
    async with open_door(tmp_path, "connections_max = 1") as door, aiohttp.ClientSession() as session:
        async with door.app() as app:
            made = await app.ask("submit_batch", request_id="r1", **{**BATCH, "quantity": 15})
            await app.settled(made["batch_id"])

        async def is_room() -> bool:
            headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {door.token}"}
            async with session.get(f"{door.url}/v1/events", headers=headers) as answer:
                return answer.status == 200

        silent = [await asyncio.to_thread(ask_and_never_read, door) for _ in range(SPARED_EACH)]
        await until(lambda: is_false(is_room), "the silent clients took all connections")
        await until(is_room, "the silent clients are gone")
        for one in silent:
            one.close()


async def is_false(condition: Callable[[], Awaitable[bool]]) -> bool:
    return not await condition()


def leave_the_kernel_no_room(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)


def ask_and_never_read(door: Any) -> socket.socket:
    """A client that asks for a stream, and whose kernel has little room for it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    host, port = door.url.removeprefix("http://").split(":")
    made.connect((host, int(port)))
    head = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {door.token}\r\n"
    made.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    return made


async def test_a_stream_ends_when_its_token_is_revoked(door: Any) -> None:
    path = door.folder / "state" / "tokens.json"
    token = tokens.add(path, "shop", "read", 0.0)
    await until(lambda: door.context.access.keyring.who(token) is not None, "the token is known")
    async with (
        aiohttp.ClientSession() as session,
        follow(session, f"{door.url}/v1/events", token) as stream,
    ):
        tokens.revoke(path, "shop")
        with pytest.raises(EOFError):
            await stream.next()


async def test_streams_count_as_connections(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "connections_max = 2") as door, aiohttp.ClientSession() as session:
        url = f"{door.url}/v1/events"
        async with follow(session, url, door.token), follow(session, url, door.token):
            assert SPARED_EACH == 2
            headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {door.token}"}
            async with session.get(url, headers=headers) as refused:
                told = await refused.json()
            assert (refused.status, told["code"], refused.headers["Retry-After"]) == (503, "busy", "1")
        await until(lambda: not door.context.progress._listeners, "nobody listens")


async def test_a_label_sees_its_own_events_only(door: Any) -> None:
    token = tokens.add(door.folder / "state" / "tokens.json", "shop", "submit", 0.0)
    await until(lambda: door.context.access.keyring.who(token) is not None, "the token is known")
    async with door.app() as app, aiohttp.ClientSession() as session:
        made = await app.ask("submit_batch", request_id="r1", **BATCH)
        await app.settled(made["batch_id"])
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(
            f"{door.url}/v1/batches?wait=20", json={**BATCH, "request_id": "r1"}, headers=headers
        ) as answer:
            own = (await answer.json())["batch_id"]
        async with follow(session, f"{door.url}/v1/events", token) as stream:
            sent = [await stream.next()]
            while sent[-1].kind != "batch_settled":
                sent.append(await stream.next())
    assert {event.data["stream"] for event in sent} == {own}


def test_an_id_is_read_as_it_is_written() -> None:
    assert events._ID.fullmatch("01M82DA8V724WA3CWZEFZYJASQ:14")
    for odd in ("", "14", ":14", "a:", "a:-1", "a:1.0", "a:١", "a b:1", "a:1\n"):
        assert events._ID.fullmatch(odd) is None
    assert re.fullmatch(r":\n\n", events.KEEP_ALIVE.decode())


@pytest.mark.parametrize(
    ("accepted", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("text/html, text/event-stream;q=0.5", True),
        ("*/*", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream2", False),
    ],
)
def test_the_accepted_type_says_whether_it_is_a_stream(accepted: str, is_stream: bool) -> None:
    assert events.wants_stream(make_mocked_request("GET", "/v1/events", {"Accept": accepted})) is is_stream
