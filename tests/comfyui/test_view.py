"""How files come from a ComfyUI that hangs, drips, redirects or packs: each transfer ends, and says how."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from comfyledger.client.connecting import _Direct
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.direct import Direct, redirection_of
from comfyledger.comfyui.kept_connections import KeptConnections
from comfyledger.comfyui.messages import ViewFile
from comfyledger.comfyui.transfer import ANSWER_BYTES_MAX, PIECE_BYTES, FileMissing, NotGiven, NotReached
from support.waiting import pause

pytestmark = pytest.mark.usefixtures("quick_time")

FILE = ViewFile("1.png", "", "output")
BASE_S = 0.4
PATIENT_S = 20.0
"""For laws that are not about time."""
MIN_BYTES_PER_S = 10_000
Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Speaker:
    """A server that says to each request what a test put there, byte by byte, and counts the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.speak: Speak = said(b"")
        self.asked: list[str] = []


def said(*parts: bytes, after_s: float = 0.0) -> Speak:
    """The parts one after the other, with time between them."""

    async def speak(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            if after_s:
                await pause(after_s)

    return speak


def head(status: str = "200 OK", *lines: str, length: int | None = None) -> bytes:
    sized = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *sized, *lines, "", ""]).encode()


@asynccontextmanager
async def speaking() -> AsyncIterator[Speaker]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
            speaker.asked.append(asked.split(b"\r\n")[0].decode())
            await speaker.speak(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    speaker = Speaker(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        yield speaker


@pytest.fixture
async def speaker() -> AsyncIterator[Speaker]:
    async with speaking() as speaker:
        yield speaker


@pytest.fixture(params=[None, KeptConnections], ids=["aiohttp", "kept"])
def kept(request: pytest.FixtureRequest) -> Iterator[KeptConnections | None]:
    """Both ways of making the frequent calls."""
    kept = request.param and request.param()
    yield kept
    if kept is not None:
        kept.close()


@pytest.fixture
async def comfyui(speaker: Speaker, kept: KeptConnections | None) -> AsyncIterator[ComfyUI]:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        yield client_of(http, speaker, BASE_S, kept)


@pytest.fixture
async def patient(speaker: Speaker, kept: KeptConnections | None) -> AsyncIterator[ComfyUI]:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        yield client_of(http, speaker, PATIENT_S, kept)


def client_of(http: aiohttp.ClientSession, speaker: Speaker, base_s: float, kept: KeptConnections | None) -> ComfyUI:
    return ComfyUI(
        http,
        speaker.url,
        connect_timeout_s=2,
        request_timeout_s=base_s,
        transfer_min_bytes_per_s=MIN_BYTES_PER_S,
        kept=kept,
    )


async def brought(comfyui: ComfyUI, file: ViewFile = FILE) -> bytes:
    async with comfyui.view(file) as pieces:
        return b"".join([piece async for piece in pieces])


async def not_given(comfyui: ComfyUI, file: ViewFile = FILE) -> NotGiven:
    since = asyncio.get_running_loop().time()
    with pytest.raises(NotGiven) as trouble:
        await brought(comfyui, file)
    assert asyncio.get_running_loop().time() - since < 20 * BASE_S
    return trouble.value


@pytest.mark.parametrize("location", ["/view?again", "http://user:pass@127.0.0.1:1/login?key=1", "//[", ""])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_followed_by_no_call(
    speaker: Speaker, patient: ComfyUI, status: str, location: str
) -> None:
    speaker.speak = said(head(status, f"Location: {location}", length=0))
    trouble = await not_given(patient)
    assert (trouble.code, trouble.final, len(speaker.asked)) == ("redirected", True, 1)
    assert "not followed" in trouble.text
    assert "pass" not in trouble.text
    assert "key" not in trouble.text
    calls = [
        patient.system_stats(),
        patient.object_info(),
        patient.history("p"),
        patient.post_prompt({}, prompt_id="p", client_id="c", outputs=["9"]),
    ]
    for call in calls:
        with pytest.raises(NotReached) as refused:
            await call
        assert (refused.value.code, refused.value.text.partition(" is ")[2]) == (
            "redirected",
            trouble.text.partition(" is ")[2],
        )
    assert len(speaker.asked) == 1 + len(calls)


@pytest.mark.parametrize("connection", [Direct, _Direct])
async def test_a_redirected_socket_goes_nowhere_else(speaker: Speaker, connection: type[Direct]) -> None:
    async with speaking() as other:
        speaker.speak = said(head("302 Found", f"Location: {other.url}/ws", length=0))
        with pytest.raises(InvalidStatus) as refused:
            await connection(f"ws{speaker.url[4:]}/ws", proxy=None)
    assert (len(speaker.asked), other.asked) == (1, [])
    assert "not followed" in redirection_of(refused.value)


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [
        ("201 Created", "http_201", True),
        ("204 No Content", "http_204", True),
        ("206 Partial Content", "http_206", True),
        ("401 Unauthorized", "http_401", True),
        ("418 Teapot", "http_418", True),
        ("429 Too Many", "http_429", False),
        ("500 Oh", "http_500", False),
        ("502 Bad Gateway", "http_502", False),
    ],
)
async def test_what_is_no_200_is_no_file(
    speaker: Speaker, patient: ComfyUI, status: str, code: str, final: bool
) -> None:
    speaker.speak = said(head(status, length=0))
    trouble = await not_given(patient)
    assert (trouble.code, trouble.final) == (code, final)


@pytest.mark.parametrize("status", ["400 Bad", "403 Forbidden", "404 Not Found"])
async def test_a_file_that_comfyui_does_not_have_is_missing(speaker: Speaker, patient: ComfyUI, status: str) -> None:
    speaker.speak = said(head(status, length=0))
    with pytest.raises(FileMissing):
        await brought(patient)


async def test_a_web_page_is_no_file(speaker: Speaker, patient: ComfyUI) -> None:
    speaker.speak = said(head("200 OK", "Content-Type: text/html; charset=utf-8", length=5) + b"login")
    assert (await not_given(patient)).code == "web_page"


@pytest.mark.parametrize("name", ["1.png", "1.glb", "1.svg", "1.json", "1.html", "1.txt", "1.dat", "1"])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "application/problem+json"])
async def test_a_page_or_message_without_the_name_of_the_file_is_no_file(
    speaker: Speaker, patient: ComfyUI, name: str, kind: str
) -> None:
    speaker.speak = said(head("200 OK", f"Content-Type: {kind}", length=7) + b'{"a":1}')
    assert (await not_given(patient, ViewFile(name, "", "output"))).code == "web_page"


@pytest.mark.parametrize("body", [b"<html>", b'\n {"error": 1}'])
@pytest.mark.parametrize("kind", ["image/png", "text/plain", "application/octet-stream"])
async def test_what_begins_as_no_picture_does_is_no_picture(
    speaker: Speaker, patient: ComfyUI, kind: str, body: bytes
) -> None:
    speaker.speak = said(head("200 OK", f"Content-Type: {kind}", length=len(body)) + body)
    assert (await not_given(patient)).code == "web_page"


MADE = {
    "1.svg": ("image/svg+xml", b"<svg/>"),
    "1.json": ("application/json", b'{"a": 1}'),
    "1.gltf": ("model/gltf+json", b'{"asset": {}}'),
    "1.html": ("text/html", b"<p>hello"),
    "1.txt": ("text/plain", b"{a prompt}"),
    "1.latent": ("application/octet-stream", b"{\0\0\0\0\0\0\0"),
    "1.xyz": ("application/octet-stream", b"<xyz>"),
}


@pytest.mark.parametrize("name", MADE)
async def test_a_text_that_the_workflow_made_is_a_file(speaker: Speaker, patient: ComfyUI, name: str) -> None:
    kind, body = MADE[name]
    named = f'Content-Disposition: filename="{name}"'
    speaker.speak = said(head("200 OK", f"Content-Type: {kind}", named, length=len(body)) + body)
    assert await brought(patient, ViewFile(name, "", "output")) == body


@pytest.mark.parametrize("name", ["1.svg", "1.gltf", "1.txt", "1.latent", "1.xyz"])
async def test_a_text_of_its_own_type_needs_no_name_in_the_answer(
    speaker: Speaker, patient: ComfyUI, name: str
) -> None:
    kind, body = MADE[name]
    speaker.speak = said(head("200 OK", f"Content-Type: {kind}", length=len(body)) + body)
    assert await brought(patient, ViewFile(name, "", "output")) == body


@pytest.mark.parametrize(("name", "taken"), [("1.png", True), ("1.svg", True), ("1.txt", False), ("1.xyz", False)])
async def test_of_a_file_that_only_its_length_proves_the_length_is_known(
    speaker: Speaker, patient: ComfyUI, name: str, taken: bool
) -> None:
    file, named = ViewFile(name, "", "output"), f'Content-Disposition: filename="{name}"'
    speaker.speak = said(head("200 OK", named, "Transfer-Encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n")
    assert await brought(patient, file) == b"body"
    speaker.speak = said(head("200 OK", named) + b"body")
    if taken:
        assert await brought(patient, file) == b"body"
    else:
        trouble = await not_given(patient, file)
        assert (trouble.code, trouble.final) == ("no_length", True)


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "speak",
    [
        hang,
        said(*[bytes([byte]) for byte in head(length=9)], after_s=0.05),
        said(head(length=10**9), *[b"x"] * 400, after_s=0.05),
        said(head(length=10**9), b"x" * 2_000, *[b"x"] * 400, after_s=0.05),
        said(head("200 OK", "Transfer-Encoding: chunked"), *[b"1\r\nx\r\n"] * 400, after_s=0.05),
        said(head("200 OK", "Transfer-Encoding: chunked"), *[b"0"] * 400, after_s=0.05),
    ],
    ids=["hangs", "drips its head", "drips", "begins and drips", "drips chunks", "drips within a chunk"],
)
async def test_what_comes_too_slowly_is_cut_whatever_it_announced(
    speaker: Speaker, comfyui: ComfyUI, speak: Speak
) -> None:
    speaker.speak = speak
    trouble = await not_given(comfyui)
    assert (trouble.code, trouble.final) == ("too_slow", False)


async def test_a_slow_line_may_take_longer_than_one_call(speaker: Speaker, comfyui: ComfyUI) -> None:
    parts = [b"x" * 2_000] * 30
    speaker.speak = said(head(length=60_000), *parts, after_s=0.05)
    since = asyncio.get_running_loop().time()
    assert await brought(comfyui) == b"".join(parts)
    assert asyncio.get_running_loop().time() - since > 2 * BASE_S


async def test_who_takes_long_over_a_piece_does_not_make_the_file_slow(speaker: Speaker, comfyui: ComfyUI) -> None:
    speaker.speak = said(head(length=3), b"a", b"b", b"c")
    async with comfyui.view(FILE) as pieces:
        found = []
        async for piece in pieces:
            await pause(2 * BASE_S)
            found.append(piece)
    assert b"".join(found) == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        head(length=9) + b"less",
        head("200 OK", "Transfer-Encoding: chunked") + b"4\r\nless\r\n",
        head("200 OK", "Content-Encoding: gzip", length=9) + gzip.compress(b"a file", mtime=0)[:9],
        b"",
    ],
    ids=["announced longer", "chunked", "packed", "nothing"],
)
async def test_what_does_not_come_to_its_end_is_cut_short(speaker: Speaker, comfyui: ComfyUI, answer: bytes) -> None:
    speaker.speak = said(answer)
    assert (await not_given(comfyui)).code == "cut_short"


@pytest.mark.parametrize("does", [True, False])
async def test_what_was_packed_without_being_asked_is_unpacked(speaker: Speaker, does: bool) -> None:
    packed = gzip.compress(b"a file" * 99)
    speaker.speak = said(head("200 OK", "Content-Encoding: gzip", length=len(packed)) + packed)
    async with aiohttp.ClientSession(auto_decompress=does) as http:
        comfyui = ComfyUI(http, speaker.url, connect_timeout_s=2, request_timeout_s=2)
        assert await brought(comfyui) == b"a file" * 99


async def test_a_packed_bomb_comes_in_small_pieces_and_ends_at_a_bound(speaker: Speaker, comfyui: ComfyUI) -> None:
    packed = gzip.compress(bytes(ANSWER_BYTES_MAX + 1))
    speaker.speak = said(head("200 OK", "Content-Encoding: gzip", length=len(packed)) + packed)
    async with comfyui.view(FILE) as pieces:
        sizes = [len(piece) async for piece in pieces]
    assert (max(sizes), sum(sizes)) == (PIECE_BYTES, ANSWER_BYTES_MAX + 1)
    with pytest.raises(NotReached) as refused:
        await comfyui.object_info()
    assert refused.value.code == "answer_too_large"


async def test_an_encoding_that_nobody_knows_is_said(speaker: Speaker, comfyui: ComfyUI) -> None:
    speaker.speak = said(head("200 OK", "Content-Encoding: br", length=1) + b"x")
    assert (await not_given(comfyui)).code == "encoded"
    speaker.speak = said(head("200 OK", "Content-Encoding: gzip", length=6) + b"no zip")
    assert (await not_given(comfyui)).code == "encoded"


async def test_a_packed_answer_is_read(speaker: Speaker, comfyui: ComfyUI) -> None:
    packed = gzip.compress(json.dumps({"system": {"comfyui_version": "0.29.0"}}).encode())
    speaker.speak = said(head("200 OK", "Content-Encoding: gzip", length=len(packed)) + packed)
    assert (await comfyui.system_stats())["system"] == {"comfyui_version": "0.29.0"}
