"""Sending an input file with the Python client: streamed, answered at any time, sent again when it must be."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.client import Client, uploading
from comfyledger.errors import Refused
from support.door import door, open_door
from support.spool_files import image
from support.waiting import until

__all__ = ["door", "open_door"]

PNG = image()
INFO = wire.InputInfo("sha256:" + "ab" * 32, len(PNG), "png", "image", 16, 16, new=True)
Answering = Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Pipe(io.BytesIO):
    """An open file that can be read once."""

    def seekable(self) -> bool:
        return False


class Server:
    """A server that answers each PUT with the next of its `answers`, and keeps what it was sent."""

    def __init__(self, *answers: Answering) -> None:
        self._answers = list(answers)
        self.heads: list[str] = []
        self.bodies: list[bytes] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await self._answers.pop(0)(self, reader, writer)
            await writer.drain()
        finally:
            writer.close()

    def length(self) -> int:
        (line,) = [line for line in self.heads[-1].splitlines() if line.startswith("Content-Length:")]
        return int(line.split()[1])


def reply(writer: asyncio.StreamWriter, status: int = 201, body: bytes = msgspec.json.encode(INFO)) -> None:
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


async def take_all(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    server.bodies.append(await reader.readexactly(server.length()))
    reply(writer)


async def drop(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts a server at a socket. Gives it and a client that is not connected."""
    started: list[asyncio.Server] = []

    async def serve(*answers: Answering, **more: Any) -> tuple[Server, Client]:
        server = Server(*answers)
        started.append(await asyncio.start_unix_server(server.take, tmp_path / "s"))
        return server, Client(f"unix:{tmp_path / 's'}", "secret", tmp_path, name="my app", **more)

    yield serve
    for one in started:
        one.close()


# ---- to a daemon


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file", "pipe"])
async def test_a_file_is_sent_however_it_is_given(door: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "portrait.png"
    path.write_bytes(PNG)
    given: Any = {"path": path, "text": str(path), "bytes": PNG, "file": io.BytesIO(PNG), "pipe": Pipe(PNG)}[kind]
    async with Client(state_dir=door.folder / "state", name="app") as client:
        added, again = await client.add_input(given), await client.add_input(PNG)
        listed = await client.list_inputs()
        gone = await client.forget_input(added.input)
        empty = await client.list_inputs()
    assert (added.new, again.new, again.input) == (True, False, added.input)
    assert [(one.input, one.labels) for one in listed.inputs] == [(added.input, ["app"])]
    assert (gone.labels, empty.inputs) == ([], [])


async def test_a_port_works_as_a_socket_does_and_the_name_counts(door: Any, tmp_path: Path) -> None:
    path = tmp_path / "ünknown kind.abc"
    path.write_bytes(b"nobody knows")
    client = Client(door.url, door.token)
    assert (await client.add_input(path)).extension == "abc"
    assert (await client.add_input(b"nobody knows either", name="x.xyz")).extension == "xyz"
    with pytest.raises(Refused) as refused:
        await client.add_input(b"nobody")
    assert (refused.value.code, bool(refused.value.hint)) == ("input_broken", True)


async def test_a_large_file_is_refused_before_it_is_sent(open_door: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.abc"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
    async with open_door(tmp_path, "[inputs]\nbytes_max = 2_000_000_000") as door:
        with pytest.raises(Refused) as refused:
            await Client(door.url, door.token).add_input(path)
    assert refused.value.code == "input_too_large"


@pytest.mark.parametrize("kind", ["path", "pipe"])
async def test_a_large_file_arrives_whole(door: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.abc"
    path.write_bytes(os.urandom(5_000_000))
    given = path if kind == "path" else Pipe(path.read_bytes())
    added = await Client(door.url, door.token).add_input(given, name="x.abc")
    assert added.size_bytes == 5_000_000
    stored = door.context.inputs.open(added.input.removeprefix("sha256:"), "abc")
    assert stored is not None
    with stored:
        assert stored.read() == path.read_bytes()


async def test_a_wrong_token_is_said(door: Any) -> None:
    with pytest.raises(Refused) as refused:
        await Client(door.url, "wrong").add_input(PNG)
    assert refused.value.code == "unauthorized"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
async def test_a_daemon_behind_tls_is_reached(door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a proxy in front, which has a certificate that this machine trusts."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    places = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *places], check=True, capture_output=True)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate, key)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*door.url.removeprefix("http://").split(":"))
        head = await reader.readuntil(b"\r\n\r\n")
        there[1].write(head.replace(b"PUT /behind/", b"PUT /"))
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    proxy = await asyncio.start_server(pass_on, "localhost", 0, ssl=own)
    url = f"https://localhost:{proxy.sockets[0].getsockname()[1]}/behind"
    try:
        with pytest.raises(Refused) as refused:
            await Client(url, door.token, timeout_s=0.1).add_input(PNG)
        assert refused.value.code == "not_running", "nobody vouches for it"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert (await Client(url, door.token).add_input(PNG)).new
    finally:
        proxy.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


# ---- to a server that does not behave


async def test_what_is_sent_is_a_plain_put(served: Any) -> None:
    server, client = await served(take_all)
    assert await client.add_input(PNG, name="a/b c?.png") == INFO
    (head,) = server.heads
    lines = head.splitlines()
    assert lines[0] == "PUT /v1/inputs?name=a%2Fb%20c%3F.png HTTP/1.1"
    assert {"Host: localhost", "Authorization: Bearer secret", "Comfyledger-Client: my app"} <= set(lines)
    assert "Expect: 100-continue" not in lines
    assert server.bodies == [PNG]


async def test_a_large_file_waits_for_consent_but_not_for_ever(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(uploading.ASKED_FIRST_BYTES + 1)
    came: list[bytes] = []

    async def consents(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert "Expect: 100-continue" in server.heads[-1]
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await take_all(server, reader, writer)

    async def refuses(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply(writer, 413, json.dumps(PROBLEM).encode())
        await writer.drain()
        came.append(await reader.read())

    server, client = await served(consents, refuses, take_all)
    assert await client.add_input(content) == INFO
    with pytest.raises(Refused, match="too large"):
        await client.add_input(content)
    await until(lambda: came, "the server has read to the end")
    assert came == [b""], "nothing of it was sent"
    monkeypatch.setattr(uploading, "CONTINUE_S", 0.05)
    assert await client.add_input(content) == INFO
    assert server.bodies == [content, content]


PROBLEM = {
    "type": "urn:comfyledger:error:input_too_large",
    "title": "x",
    "status": 413,
    "code": "input_too_large",
    "detail": "It is too large.",
    "hint": "Make it smaller.",
    "retry_after_s": 2.5,
    "new_field": 1,
}


async def test_an_early_answer_ends_the_sending(served: Any) -> None:
    async def refuses(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)
        reply(writer, 413, json.dumps(PROBLEM).encode())

    _, client = await served(refuses)
    endless = io.BytesIO(bytes(50_000_000))
    with pytest.raises(Refused) as refused:
        await client.add_input(endless)
    assert (refused.value.code, refused.value.hint, refused.value.retry_after_s) == (
        "input_too_large",
        "Make it smaller.",
        2.5,
    )


@pytest.mark.parametrize("given", ["path", "bytes", "file"])
async def test_a_file_is_sent_again_after_a_broken_connection(served: Any, tmp_path: Path, given: str) -> None:
    async def break_off(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.transport.abort()

    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    server, client = await served(drop, break_off, take_all)
    file = io.BytesIO(b"before" + PNG)
    file.seek(6)
    assert await client.add_input({"path": path, "bytes": PNG, "file": file}[given]) == INFO
    assert server.bodies == [PNG]
    assert len(server.heads) == 3


async def test_a_pipe_is_not_sent_twice(served: Any) -> None:
    server, client = await served(drop)
    with pytest.raises(Refused) as refused:
        await client.add_input(Pipe(PNG))
    assert (refused.value.code, len(server.heads)) == ("not_running", 1)


async def test_a_daemon_that_stays_away_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        await Client(f"unix:{tmp_path / 'none'}", "secret", tmp_path, timeout_s=0.2).add_input(PNG)
    assert refused.value.code == "not_running"


async def test_a_file_that_cannot_be_read_is_the_callers(served: Any, tmp_path: Path) -> None:
    server, client = await served(drop)
    with pytest.raises(FileNotFoundError):
        await client.add_input(tmp_path / "none.png")
    assert server.heads == []


async def test_a_file_that_shrinks_while_it_is_sent_is_said(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(uploading.os, "fstat", lambda fd: os.stat_result((0,) * 6 + (len(PNG) + 1,) + (0,) * 3))
    _, client = await served(wait)
    with pytest.raises(OSError, match="shorter"):
        await client.add_input(path)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (502, b"<html>Bad gateway</html>", "not_running"),
        (413, b"<html>Too large</html>", "protocol_version"),
        (302, b"", "protocol_version"),
        (200, b"{}", "protocol_version"),
        (404, json.dumps({**PROBLEM, "code": "unknown_path"}).encode(), "unknown_path"),
    ],
)
async def test_an_answer_that_is_not_the_daemons_is_said(served: Any, status: int, body: bytes, code: str) -> None:
    async def other(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply(writer, status, body)

    _, client = await served(*[other] * 9, timeout_s=0.05)
    with pytest.raises(Refused) as refused:
        await client.add_input(PNG)
    assert refused.value.code == code


async def test_a_chunked_answer_of_a_proxy_is_read(served: Any) -> None:
    async def chunked(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = msgspec.json.encode(INFO)
        writer.write(b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    _, client = await served(chunked)
    assert await client.add_input(PNG) == INFO


async def test_a_name_that_would_end_a_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        await Client(f"unix:{tmp_path / 's'}", "secret", tmp_path, name="a\r\nX: y", timeout_s=0.1).add_input(PNG)
    assert refused.value.code in {"invalid_field", "not_running"}
