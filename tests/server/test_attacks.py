"""Attacks as raw bytes: broken frames, bombs, paths that climb, texts that would be templates, terminals or lines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from support.waiting import DEADLINE_S, pause
from support.wire_app import SMALL, Refusal

TEXT, CONTINUATION, PING, CLOSE = 0x1, 0x0, 0x9, 0x8
FIN, RSV1 = 0x80, 0x40
HOSTILE = (
    *("../../../etc/cron.d/x", "..\\..\\x", "/etc/passwd", "C:\\x", "a\0b", "CON", "a/../../b", "%2e%2e%2f", "."),
    *("{number}", "{username}", "{0}", "{x.__class__}", "%date:yyyy%", "${HOME}", "$(id)", "`id`", "%(asctime)s"),
    *("\x1b[2J\x1b]0;owned\x07", "a\r\nlevel=error", "\u202egnp.exe", "<script>alert(1)</script>"),
    "'; DROP TABLE events;--",
)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]
ROOTS = (
    "../state/token",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "a%00b",
    "%ff",
    "C:%5cx",
)


# ---- frames


def frame(head: int, payload: bytes, *, masked: bool = True, claims: int | None = None) -> bytes:
    """One frame as RFC 6455 (section 5.2) has it, or not."""
    size = len(payload) if claims is None else claims
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    else:
        length = bytes([mask | 126]) + struct.pack("!H", size) if size < 65_536 else b""
        length = length or bytes([mask | 127]) + struct.pack("!Q", size)
    key = b"\1\2\3\4" if masked else b""
    body = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload)) if masked else payload
    return bytes([head]) + length + key + body


@asynccontextmanager
async def raw_socket(door: Any, extra: str = "") -> AsyncIterator[Stream]:
    """A websocket of which the test writes every byte, and the head of the answer to its handshake."""
    url = URL(door.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}"
        f"Authorization: Bearer {door.token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader, writer, head
    finally:
        writer.close()


ASK = json.dumps({"type": "server_info", "id": 1, "data": {}}).encode()
BOMB = zlib.compressobj(wbits=-15)
BOMBED = BOMB.compress(b"0" * 50_000_000) + BOMB.flush(zlib.Z_SYNC_FLUSH)[:-4]
BROKEN: dict[str, bytes] = {
    "an opcode that does not exist": frame(FIN | 0x3, ASK),
    "a reserved bit": frame(FIN | 0x20 | TEXT, ASK),
    "a compressed frame that nobody agreed to": frame(FIN | RSV1 | TEXT, BOMBED[:60_000]),
    "a continuation of nothing": frame(FIN | CONTINUATION, ASK),
    "a text within a text": frame(TEXT, b"{") + frame(FIN | TEXT, ASK),
    "a ping of 200 bytes": frame(FIN | PING, b"x" * 200),
    "a ping in parts": frame(PING, b"x"),
    "a close of one byte": frame(FIN | CLOSE, b"x"),
    "a close with a code that is not to be sent": frame(FIN | CLOSE, struct.pack("!H", 1005)),
    "a frame of 2^63 bytes": frame(FIN | TEXT, b"", claims=2**63 - 1),
    "a frame of 9 MB": frame(FIN | TEXT, b"", claims=9 * 2**20),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
async def test_a_frame_that_breaks_the_protocol_closes_its_connection_only(door: Any, broken: bytes) -> None:
    async with door.raw() as other:
        with door.unchanged():
            async with raw_socket(door) as (reader, writer, head):
                assert head.startswith(b"HTTP/1.1 101")
                writer.write(broken)
                async with asyncio.timeout(DEADLINE_S):
                    await reader.read()  # until the end
            assert (await other.ask("server_info"))["type"] == "result"


async def test_a_message_in_very_many_parts_ends_at_the_limit(door: Any) -> None:
    async with raw_socket(door) as (reader, writer, _):
        writer.write(frame(TEXT, b"["))
        part = frame(CONTINUATION, b"x" * 60_000)
        said = b"reset"
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                for _ in range(1_000):
                    writer.write(part)
                    await writer.drain()
                said = await reader.read()
        assert said == b"reset" or struct.pack("!H", 1009) in said
    async with door.raw() as raw:
        assert (await raw.ask("server_info"))["type"] == "result"


async def test_compression_is_not_agreed_to_so_that_nothing_small_becomes_large(door: Any) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    async with raw_socket(door, offer) as (_, _, head):
        assert head.startswith(b"HTTP/1.1 101")
        assert b"sec-websocket-extensions" not in head.lower()


async def test_a_frame_that_never_ends_holds_a_bounded_amount_and_stops_nobody(door: Any) -> None:
    async with raw_socket(door) as (_, writer, _), door.raw() as other:
        writer.write(frame(FIN | TEXT, b"x" * 1_000, claims=8_000_000))
        await writer.drain()
        assert (await other.ask("server_info"))["type"] == "result"


# ---- HTTP


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/ws", b"x" * 1_000_000),
        ("PUT", "/images/x", b"x"),
        ("DELETE", "/images/x", b""),
        ("TRACE", "/", b""),
        ("GET", "/" + "a" * 20_000, b""),
    ],
)
async def test_what_is_not_asked_for_so_is_refused(door: Any, method: str, path: str, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {door.token}", "Content-Encoding": "identity"}
    with door.unchanged():
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, door.url + path, headers=headers, data=body) as said,
        ):
            assert 400 <= said.status < 500
        async with door.raw() as raw:
            assert (await raw.ask("server_info"))["type"] == "result"


async def test_a_client_that_leaves_within_its_body_costs_no_error(door: Any) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    head = f"POST /v1/pause HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {door.token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with capture_logs() as logged:
        with socket.create_connection((host, int(port))) as leaving:
            await asyncio.to_thread(leaving.sendall, head.encode())
            await asyncio.to_thread(leaving.shutdown, socket.SHUT_WR)
            assert await asyncio.to_thread(leaving.recv, 1) == b""
        async with asyncio.timeout(DEADLINE_S):
            while not (seen := [one["event"] for one in logged if one["event"].startswith("door.")]):
                await pause(0.02)
    assert seen == ["door.client_left"]


async def test_headers_without_end_are_cut_off(door: Any) -> None:
    url = URL(door.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    said = b""
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for number in range(2_000):
                writer.write(b"X-%d: " % number + b"a" * 1_000 + b"\r\n")
                await writer.drain()
            writer.write(b"\r\n")
            said = await reader.read(1_000)
    assert b" 400 " in said or b" 431 " in said or not said
    writer.close()


@pytest.mark.parametrize("path", ROOTS)
async def test_a_path_never_becomes_a_path_of_a_disk(door: Any, path: str) -> None:
    headers = {"Authorization": f"Bearer {door.token}"}
    url = URL(f"{door.url}/images/{path}", encoded=True)
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as said:
        assert said.status in {400, 404}
        assert door.token not in await said.text()


# ---- what people type


async def test_whatever_is_typed_ends_below_the_stores_root_under_a_plain_name(door: Any, tmp_path: Path) -> None:
    async with door.app() as app:
        batches = []
        for number, text in enumerate(HOSTILE):
            frame = await _submitted(app, f"user-{number}", username=text, character="x")
            frame = frame or await _submitted(app, f"both-{number}", username=f"a{text}b", character="x")
            batches += [frame, await _submitted(app, f"character-{number}", username="x", character=f"a{text}b")]
        given = [batch for batch in batches if batch]
        for batch in given:
            await app.settled(batch["batch_id"])
    assert len(given) >= len(HOSTILE)
    root = door.folder / "images"
    files = {str(path.relative_to(root).with_suffix("")) for path in root.rglob("*") if path.is_file()} - {
        ".comfyledger"
    }
    assert files == {name for batch in given for name in batch["public_ids"]}
    steering = ("\x1b", "\x07", "\n", "\r", "\0", "\u202e", "\\", "%", "..")
    assert not [name for name in files if any(sign in name for sign in steering)]
    numbers = [name.rpartition("_")[2] for name in files]
    assert all(number.isascii() and number.isdigit() for number in numbers)
    stray = {path.name for path in tmp_path.iterdir()} - {"config.toml", "state", "images", "output", "output-input"}
    assert not stray


async def _submitted(app: Any, request_id: str, **asked: Any) -> dict[str, Any] | None:
    """The batch; None if nothing usable remains of the name."""
    try:
        return dict(await app.submit(request_id, asked.pop("username"), inputs=SMALL, quantity=1, **asked))
    except Refusal as refusal:
        if refusal.code != "name_unusable":
            raise
        return None


async def test_nothing_that_was_typed_reaches_comfyuis_file_names(door: Any) -> None:
    async with door.app() as app:
        batch = await _submitted(app, "r", username="a%date%b", character="{number}")
        assert batch is not None
        await app.settled(batch["batch_id"])
    (path,) = [path for path in (door.folder / "output").rglob("*") if path.is_file()]
    assert path.relative_to(door.folder / "output").parts[:2] == ("comfyledger", batch["batch_id"].lower())
    assert path.name == "1-a1_00001_.png"


async def test_a_graph_that_names_files_elsewhere_gets_no_number(door: Any) -> None:
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    load = {"class_type": "LoadImage", "inputs": {"image": "../../../etc/passwd"}}
    async with door.raw() as raw:
        with door.unchanged():
            asked = {"request_id": "r", "username": "a", "character": "b", "quantity": 1}
            frame = await raw.ask("submit_batch", workflow={"1": load, "9": save}, **asked)
    assert (frame["data"]["code"], frame["data"]["path"]) == ("workflow_unsafe_path", "$.data.workflow.1.image")


async def test_a_denied_node_class_is_refused_in_graphs_of_requests_only(open_door: Any, tmp_path: Path) -> None:
    empty = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    asked = {"username": "a", "character": "b", "quantity": 1}
    async with open_door(tmp_path, '[limits]\nnode_classes_denied = ["Empty*"]') as door, door.raw() as raw:
        with door.unchanged():
            frame = await raw.ask("submit_batch", request_id="r", workflow={"1": empty, "9": save}, **asked)
        assert (frame["data"]["code"], frame["data"]["path"]) == ("workflow_node_denied", "$.data.workflow.1")
        assert (await raw.ask("submit_batch", request_id="r", workflow="empty-image", **asked))["type"] == "result"
