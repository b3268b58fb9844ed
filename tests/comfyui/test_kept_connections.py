"""Connections that are kept: when one is used again, what is never sent twice, and what ends each call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from comfyledger.comfyui import kept_connections
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.kept_connections import (
    BUFFER_BYTES_MAX,
    HEAD_BYTES_MAX,
    KEPT_MAX,
    Answer,
    KeptConnections,
    KeptServer,
)
from comfyledger.comfyui.messages import ViewFile
from comfyledger.comfyui.transfer import PIECE_BYTES, NotConnected, NotGiven, NotReached
from support.waiting import pass_time, until

pytest.importorskip("httptools", reason="the extra `speed` is not installed")

SOON_S = 10.0
"""Sooner than any time limit of an idle connection or of a call."""
FAR_TOO_LONG = 16 * HEAD_BYTES_MAX
FILE = ViewFile("ä b.png", "sub folder/&x", "output")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ACCEPTED_BODY = b'{"prompt_id": "p", "number": 1, "node_errors": {}}'
ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ACCEPTED_BODY) + ACCEPTED_BODY
Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers the requests of each connection one after the other, and notes them with the number of the connection.

    `answers`: for each request of all, what is written to it; the last one for all that follow. None closes instead.
    """

    def __init__(self) -> None:
        self.answers: list[bytes | Answering | None] = [OK]
        self.asked: list[tuple[int, bytes]] = []
        self.connections = self.closed = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                sized = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if b"content-length" in line]
                body = await reader.readexactly(int(sized[0])) if sized else b""
                self.asked.append((number, head + body))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.closed += 1
            writer.close()


@asynccontextmanager
async def serving(host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, host, 0)
    shown = f"[{host}]" if ":" in host else host
    server.url = f"http://{shown}:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


@pytest.fixture
def kept() -> Iterator[KeptConnections]:
    kept = KeptConnections()
    yield kept
    kept.close()


def to(kept: KeptConnections, url: str, answer_timeout_s: float = 20.0) -> KeptServer:
    found = kept.to(url, {"Accept-Encoding": "identity"}, connect_timeout_s=5.0, answer_timeout_s=answer_timeout_s)
    assert found is not None
    return found


@asynccontextmanager
async def comfyui_of(url: str, kept: KeptConnections, request_timeout_s: float = 20.0) -> AsyncIterator[ComfyUI]:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        yield ComfyUI(http, url, connect_timeout_s=5.0, request_timeout_s=request_timeout_s, kept=kept)


async def got(answer: Answer) -> bytes:
    async with answer:
        return b"".join([piece async for piece in answer.iter_chunked(PIECE_BYTES)])


async def prompted(comfyui: ComfyUI) -> object:
    return await comfyui.post_prompt({}, prompt_id="p", client_id="c", outputs=["9"])


def parts(*pieces: bytes) -> Answering:
    """Each piece in a packet of its own."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(3):
                await asyncio.sleep(0)

    return answer


# ---- used again, or not


async def test_calls_that_follow_each_other_use_one_connection(server: Server, kept: KeptConnections) -> None:
    to_server = to(kept, server.url)
    for _ in range(3):
        assert await got(await to_server.get("/view", {"filename": "1.png"})) == b"{}"
        assert await got(await to_server.post("/prompt", b"{}")) == b"{}"
    assert [number for number, _ in server.asked] == [1] * 6


async def test_calls_at_once_have_a_connection_each_and_few_are_kept(server: Server, kept: KeptConnections) -> None:
    to_server = to(kept, server.url)
    answers = await asyncio.gather(*(to_server.get("/view", {}) for _ in range(KEPT_MAX + 3)))
    await asyncio.gather(*map(got, answers))
    assert server.connections == KEPT_MAX + 3
    assert len(to_server.idle) == KEPT_MAX
    await until(lambda: server.closed == 3, "the others are closed")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"more",
        OK + OK,
    ],
    ids=["close", "http-1.0", "more-bytes", "a-second-answer"],
)
async def test_a_connection_that_ends_or_says_too_much_is_not_used_again(
    server: Server, kept: KeptConnections, answer: bytes
) -> None:
    server.answers = [answer]
    to_server = to(kept, server.url)
    for _ in range(2):
        assert await got(await to_server.get("/view", {})) == b"{}"
    assert [number for number, _ in server.asked] == [1, 2]


async def test_what_comes_before_anything_was_asked_is_never_taken_for_the_answer(
    server: Server, kept: KeptConnections
) -> None:
    late = asyncio.Event()

    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await late.wait()
        writer.write(OK.replace(b"{}", b"XX"))

    server.answers = [twice, OK]
    to_server = to(kept, server.url)
    assert await got(await to_server.get("/view", {})) == b"{}"
    late.set()
    await until(lambda: not to_server.idle, "the connection is closed", SOON_S)
    assert await got(await to_server.get("/view", {})) == b"{}"


async def test_a_connection_that_was_left_in_the_middle_is_closed(server: Server, kept: KeptConnections) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"]
    to_server = to(kept, server.url)
    async with await to_server.get("/view", {}) as answer:
        assert await answer.read() == b"half"
    assert not to_server.idle
    await until(lambda: server.closed == 1, "it is closed", SOON_S)


async def test_a_caller_that_leaves_before_the_answer_closes_the_connection(
    server: Server, kept: KeptConnections
) -> None:
    server.answers = [b""]
    to_server = to(kept, server.url)
    calling = asyncio.create_task(to_server.post("/prompt", b"{}"))
    await until(lambda: server.asked, "it is asked")
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not to_server.idle
    await until(lambda: server.closed == 1, "it is closed", SOON_S)


async def test_an_idle_connection_is_closed_in_time(
    server: Server, kept: KeptConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_connections, "KEEP_S", 0.05)
    to_server = to(kept, server.url)
    await got(await to_server.get("/view", {}))
    await until(lambda: not to_server.idle, "it is too old")
    await got(await to_server.get("/view", {}))
    assert server.connections == 2
    await until(lambda: server.closed == 2, "both are closed")


async def test_close_ends_all_connections(server: Server, kept: KeptConnections) -> None:
    to_server = to(kept, server.url)
    waiting = await to_server.get("/view", {})
    await got(await to_server.get("/view", {}))
    kept.close()
    await until(lambda: server.closed == 2, "both are closed")
    assert await got(waiting) == b"{}", "what has come is not lost"


# ---- what is sent, and how often


async def test_a_file_is_asked_for_again_if_its_kept_connection_is_closed(
    server: Server, kept: KeptConnections
) -> None:
    server.answers = [OK, None, OK]
    to_server = to(kept, server.url)
    for _ in range(2):
        assert await got(await to_server.get("/view", {})) == b"{}"
    assert [number for number, _ in server.asked] == [1, 1, 2]


async def test_a_file_is_not_asked_for_a_third_time(server: Server, kept: KeptConnections) -> None:
    server.answers = [OK, None, None, OK]
    to_server = to(kept, server.url)
    await got(await to_server.get("/view", {}))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await to_server.get("/view", {})
    assert len(server.asked) == 3


async def test_a_prompt_is_never_sent_twice(server: Server, kept: KeptConnections) -> None:
    server.answers = [ACCEPTED, None, ACCEPTED]
    async with comfyui_of(server.url, kept) as comfyui:
        await prompted(comfyui)
        with pytest.raises(NotReached) as trouble:
            await prompted(comfyui)
    assert (trouble.value.code, trouble.value.sent) == ("not_reached", True)
    assert len(server.asked) == 2


async def test_without_a_connection_nothing_was_sent(kept: KeptConnections) -> None:
    async with comfyui_of("http://127.0.0.1:1", kept) as comfyui:
        for call in (prompted(comfyui), comfyui.has(FILE), comfyui.forget(["p"])):
            with pytest.raises(NotReached) as trouble:
                await call
            assert (trouble.value.code, trouble.value.sent) == ("not_reached", False)
            assert trouble.value.text == "It cannot be reached: Connection refused."
    with pytest.raises(NotConnected):
        await to(kept, "http://127.0.0.1:1").post("/prompt", b"{}")


async def test_a_host_that_is_not_known_is_said_without_numbers(kept: KeptConnections) -> None:
    async with comfyui_of("http://comfyui.invalid", kept) as comfyui:
        with pytest.raises(NotReached) as trouble:
            await prompted(comfyui)
    assert trouble.value.text.startswith("It cannot be reached: ")
    assert "Errno" not in trouble.value.text
    assert not trouble.value.sent


async def test_login_prefix_and_names_arrive_as_they_are_meant(server: Server, kept: KeptConnections) -> None:
    server.answers = [ACCEPTED]
    host = server.url.removeprefix("http://")
    async with comfyui_of(f"http://us%40er:pä@{host}/behind/proxy/".replace("ä", "%C3%A4"), kept) as comfyui:
        await prompted(comfyui)
        assert await comfyui.has(FILE)
    (_, post), (_, get) = server.asked
    assert post.startswith(b"POST /behind/proxy/prompt HTTP/1.1\r\n")
    first, _, rest = get.partition(b"\r\n")
    assert first == b"GET /behind/proxy/view?filename=%C3%A4%20b.png&subfolder=sub%20folder/%26x&type=output HTTP/1.1"
    assert sorted(rest.split(b"\r\n")) == sorted(
        [b"Host: " + host.encode(), b"Accept-Encoding: identity", b"Authorization: Basic dXNAZXI6cMOk", b"", b""]
    )


async def test_an_address_of_version_6_is_called(kept: KeptConnections) -> None:
    try:
        async with serving("::1") as server:
            assert await got(await to(kept, server.url).get("/view", {})) == b"{}"
            assert f"Host: {server.url.removeprefix('http://')}\r\n".encode() in server.asked[0][1]
    except OSError:
        pytest.skip("this machine has no loopback of version 6")


# ---- answers


@pytest.mark.parametrize(
    "answer",
    [
        parts(*(bytes([one]) for one in OK)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    ],
    ids=["byte-by-byte", "chunked", "after-interim-answers"],
)
async def test_an_answer_is_read_however_it_comes(
    server: Server, kept: KeptConnections, answer: bytes | Answering
) -> None:
    server.answers = [answer]
    to_server = to(kept, server.url)
    for _ in range(2):
        found = await to_server.get("/view", {})
        assert (found.status, found.headers.get("Link")) == (200, None)
        assert await got(found) == b"{}"
    assert server.connections == 1


async def test_without_a_length_the_close_is_the_end(server: Server, kept: KeptConnections) -> None:
    async def closing(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{}")
        writer.close()

    server.answers = [closing]
    assert await got(await to(kept, server.url).get("/view", {})) == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * FAR_TOO_LONG,
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * HEAD_BYTES_MAX,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=" + b"x" * FAR_TOO_LONG,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: " + b"x" * FAR_TOO_LONG,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
    ids=["long-header", "many-headers", "long-extension", "long-trailer", "ssh", "upgrade", "bad-length", "bad-chunk"],
)
async def test_what_is_no_answer_ends_the_call_and_the_connection(
    server: Server, kept: KeptConnections, answer: bytes
) -> None:
    server.answers = [answer]
    to_server = to(kept, server.url)
    with pytest.raises(aiohttp.ClientError):
        await got(await to_server.get("/view", {}))
    await until(lambda: server.closed == 1, "it is closed")
    async with comfyui_of(server.url, kept) as comfyui:
        with pytest.raises(NotReached):
            await prompted(comfyui)
        with pytest.raises(NotGiven):
            async with comfyui.view(FILE) as pieces:
                [_ async for _ in pieces]


async def test_no_more_of_a_large_file_is_read_than_is_taken(server: Server, kept: KeptConnections) -> None:
    size = 16 * BUFFER_BYTES_MAX

    async def large(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))

    server.answers = [large]
    to_server, taken = to(kept, server.url), 0
    async with await to_server.get("/view", {}) as answer:
        while piece := await answer.read():
            taken += len(piece)
            for _ in range(20):
                await asyncio.sleep(0)
            assert sum(map(len, answer.pieces)) <= BUFFER_BYTES_MAX + 2 * PIECE_BYTES
    assert taken == size
    assert len(to_server.idle) == 1


# ---- time


async def test_the_answer_to_a_prompt_must_be_whole_in_time(server: Server, kept: KeptConnections) -> None:
    for answer in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"):
        server.answers = [answer]
        async with comfyui_of(server.url, kept, request_timeout_s=0.05) as comfyui:
            with pytest.raises(NotReached) as trouble:
                await prompted(comfyui)
        assert (trouble.value.code, trouble.value.sent) == ("timeout", True)


async def test_the_head_of_a_file_must_come_in_time(server: Server, kept: KeptConnections) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\n"]
    async with comfyui_of(server.url, kept, request_timeout_s=0.05) as comfyui:
        with pytest.raises(NotGiven) as trouble:
            await comfyui.has(FILE)
    assert trouble.value.code == "too_slow"


async def test_a_kept_connection_limits_each_call_anew(server: Server, kept: KeptConnections) -> None:
    to_server = to(kept, server.url, answer_timeout_s=20.0)
    for _ in range(3):
        await got(await to_server.post("/prompt", b"{}"))
        pass_time(11.0)
    await got(await to_server.post("/prompt", b"{}"))
    server.answers = [b""]
    calling = asyncio.create_task(to_server.post("/prompt", b"{}"))
    await until(lambda: len(server.asked) == 5, "it is asked")
    pass_time(SOON_S)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not calling.done(), "the time of an earlier call is over, and its own is not"
    pass_time(11.0)
    with pytest.raises(TimeoutError):
        await calling
    assert server.connections == 1


# ---- left to aiohttp


async def test_a_server_that_sets_cookies_is_left_to_aiohttp(server: Server, kept: KeptConnections) -> None:
    server.answers = [OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"), OK]
    async with comfyui_of(server.url, kept) as comfyui:
        await comfyui.forget(["p"])
        await comfyui.forget(["p"])
        await comfyui.has(FILE)
    assert [b"User-Agent" in asked for _, asked in server.asked] == [False, True, True]


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://ü.example", "http://127.0.0.1:1/?x", "http://h/#x"])
def test_aiohttp_makes_the_calls_that_need_more(kept: KeptConnections, url: str) -> None:
    assert kept.to(url, {}, connect_timeout_s=1.0, answer_timeout_s=1.0) is None


@pytest.mark.parametrize("missing", ["httptools", "aiohappyeyeballs"])
async def test_without_the_extra_aiohttp_makes_the_calls(
    server: Server, kept: KeptConnections, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    async with comfyui_of(server.url, kept) as comfyui:
        await comfyui.forget(["p"])
    assert b"User-Agent" in server.asked[0][1]
