"""Laws of the transfer: which faults leave it open whether something was stored, and what it costs in memory."""

from __future__ import annotations

import asyncio
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from comfyledger.plugin_api import ImageFault, LaneFault
from comfyledger_cloudinary.answers import Answer
from comfyledger_cloudinary.transfer import PIECE_BYTES, Cargo, Patience, Transfer, frame
from support.waiting import pause

pytestmark = pytest.mark.usefixtures("quick_time")

FIELDS = {"public_id": "Zoé/a", "context": "a=b|c", "signature": "0f"}
OK = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Sink:
    """A server that says what a test wants it to say, and remembers what it was sent."""

    def __init__(self, talk: Talk) -> None:
        self.connections = 0
        self.url = ""
        self._talk = talk
        self._tasks: set[asyncio.Task[Any] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        try:
            await self._talk(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def end(self) -> None:
        for task in self._tasks:
            if task is not None:
                task.cancel()


@asynccontextmanager
async def sink(talk: Talk) -> AsyncIterator[Sink]:
    made = Sink(talk)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1_1/demo/image/upload"
    try:
        yield made
    finally:
        server.close()
        made.end()


async def head_of(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    head = await reader.readuntil(b"\r\n\r\n")
    return head, int(head.lower().partition(b"content-length:")[2].split()[0])


def answering(text: bytes) -> Talk:
    """Takes one whole request after the other and answers each alike."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            left = (await head_of(reader))[1]
            while left:
                left -= len(await reader.read(min(left, 65_536)))
            writer.write(text)

    return talk


def resets(*, before: int | None) -> Talk:
    """Resets the connection after so many bytes of the body, or after all."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = (await head_of(reader))[1]
        await reader.readexactly(size if before is None else before)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return talk


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def refuses_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head_of(reader)
    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nlate")
    await asyncio.Event().wait()


def cargo_in(folder: Path, size: int = 700_000) -> Cargo:
    path = folder / "image.png"
    path.write_bytes(b"\x89" * size)
    return Cargo(path, size, 'Zoé "1".png')


@asynccontextmanager
async def transfer(connections: int = 2, **times: float) -> AsyncIterator[Transfer]:
    made = Transfer(connections, Patience(**{"connect_s": 5.0, "send_s": 5.0, "answer_s": 5.0, **times}))
    try:
        yield made
    finally:
        await made.close()


async def sent(talk: Talk, cargo: Cargo, **times: float) -> Answer | LaneFault | ImageFault:
    async with sink(talk) as server, transfer(**times) as carrying:
        return await carrying.send(server.url, FIELDS, cargo)


def code(found: object) -> str:
    assert isinstance(found, LaneFault)
    return found.code


async def test_the_body_is_a_multipart_form_with_the_file_last(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, size = await head_of(reader)
        seen.append(head.partition(b"\r\n")[2] + await reader.readexactly(size))
        writer.write(OK)

    found = await sent(talk, cargo_in(tmp_path, 2 * PIECE_BYTES + 1))
    assert isinstance(found, Answer)
    assert (found.status, found.headers["x-one"], found.body) == (200, "1", b"{}")
    *fields, file = message_from_bytes(seen[0], policy=policy.HTTP).iter_parts()
    content = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in fields}
    assert content == {key: value.encode() for key, value in FIELDS.items()}
    assert file.get_payload(decode=True) == b"\x89" * (2 * PIECE_BYTES + 1)


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    head, tail = frame("B", {"a": "b"}, 'x"\r\nEvil: 1.png')
    assert head.count(b"\r\n") == 8
    assert b'filename="x%22%0D%0AEvil: 1.png"' in head
    assert tail == b"\r\n--B--\r\n"


async def test_what_cannot_be_reached_was_not_sent(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        async with transfer() as carrying:
            for url in (f"http://127.0.0.1:{taken.getsockname()[1]}/", "http://nowhere.invalid/"):
                assert code(await carrying.send(url, FIELDS, cargo_in(tmp_path))) == "not_reached"


async def test_a_server_that_speaks_no_tls_was_not_sent_anything(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await reader.read()

    async with sink(talk) as server, transfer() as carrying:
        found = await carrying.send(server.url.replace("http:", "https:"), FIELDS, cargo_in(tmp_path))
    assert code(found) == "not_reached"


@pytest.mark.parametrize("before", [1, 300_000, None])
async def test_a_reset_once_the_body_has_begun_leaves_it_unknown(before: int | None, tmp_path: Path) -> None:
    assert code(await sent(resets(before=before), cargo_in(tmp_path))) == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"not http at all\r\n\r\n",
    ],
)
async def test_a_cut_off_or_broken_answer_leaves_it_unknown(text: bytes, tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await head_of(reader))[1])
        writer.write(text)

    assert code(await sent(talk, cargo_in(tmp_path))) == "unknown"


async def test_a_server_that_takes_nothing_and_one_that_says_nothing_end_in_time(tmp_path: Path) -> None:
    stuck = await sent(hangs, cargo_in(tmp_path, 30_000_000), send_s=0.2)
    assert code(stuck) == "unknown"
    silent = await sent(answering(b""), cargo_in(tmp_path), answer_s=0.2)
    assert code(silent) == "unknown"


async def test_an_answer_that_drips_ends_in_time(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await head_of(reader))[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await pause(0.02)

    assert code(await sent(talk, cargo_in(tmp_path), answer_s=0.2)) == "unknown"


async def test_a_refusal_before_the_body_has_left_ends_its_connection(tmp_path: Path) -> None:
    cargo = cargo_in(tmp_path, 30_000_000)
    async with sink(refuses_early) as server, transfer(connections=1, send_s=2.0) as carrying:
        for _ in range(2):
            found = await carrying.send(server.url, FIELDS, cargo)
            assert isinstance(found, Answer)
            assert (found.status, found.body) == (413, b"late")
        assert server.connections == 2


async def test_an_absurdly_long_answer_is_not_taken_in_whole(tmp_path: Path) -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"
    found = await sent(answering(text + bytes(8_000_000)), cargo_in(tmp_path), answer_s=2.0)
    assert isinstance(found, Answer)
    assert len(found.body) < 2_000_000


async def test_html_of_a_proxy_comes_back_as_it_is(tmp_path: Path) -> None:
    found = await sent(answering(b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>"), cargo_in(tmp_path))
    assert found == Answer(502, {"content-length": "6"}, b"<html>")


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    text = b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    found = await sent(answering(text), cargo_in(tmp_path))
    assert isinstance(found, Answer)
    assert found.status == 307


async def test_a_file_of_another_size_is_not_sent(tmp_path: Path) -> None:
    cargo = cargo_in(tmp_path)
    async with sink(answering(OK)) as server, transfer() as carrying:
        for wrong in (Cargo(cargo.path, 699_999, "a"), Cargo(cargo.path, 700_001, "a"), Cargo(tmp_path / "x", 1, "a")):
            found = await carrying.send(server.url, FIELDS, wrong)
            assert isinstance(found, ImageFault)
            assert found.code == "altered"
        assert server.connections == 0


async def test_a_file_that_shrinks_on_the_way_is_told_and_never_padded(tmp_path: Path) -> None:
    cargo = cargo_in(tmp_path, 60_000_000)
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        with cargo.path.open("r+b") as file:
            file.truncate(1_000)
        while piece := await reader.read(1_000_000):
            seen.append(piece)

    found = await sent(talk, cargo)
    assert isinstance(found, ImageFault)
    assert found.code == "altered"
    assert sum(map(len, seen)) < 60_000_000


async def test_connections_are_kept_and_are_as_many_as_are_used_at_once(tmp_path: Path) -> None:
    cargo = cargo_in(tmp_path, 5_000)
    async with sink(answering(OK)) as server, transfer(connections=4) as carrying:
        for _ in range(10):
            found = await asyncio.gather(*(carrying.send(server.url, FIELDS, cargo) for _ in range(4)))
            assert all(isinstance(one, Answer) for one in found)
        assert server.connections == 4


async def test_memory_stays_flat_whatever_the_size(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    async with sink(answering(OK)) as server, transfer() as carrying:
        await carrying.send(server.url, FIELDS, cargo_in(tmp_path))
        tracemalloc.start()
        try:
            assert isinstance(await carrying.send(server.url, FIELDS, Cargo(path, 100_000_000, "a")), Answer)
            assert tracemalloc.get_traced_memory()[1] < 8 * PIECE_BYTES
        finally:
            tracemalloc.stop()


async def test_a_cancelled_transfer_ends_and_the_next_one_works(tmp_path: Path) -> None:
    begun = asyncio.Event()
    answers = iter([hangs, answering(OK)])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await next(answers)(reader, writer)

    cargo = cargo_in(tmp_path)
    async with sink(talk) as server, transfer(connections=1) as carrying:
        task = asyncio.create_task(carrying.send(server.url, FIELDS, cargo))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(await carrying.send(server.url, FIELDS, cargo), Answer)
