"""How files go into ComfyUI's input folder and are asked for again: whole, in pieces, and each call ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, cast

import aiohttp
import pytest
from aiohttp import web

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.input_folder import (
    UPLOAD_PIECE_BYTES,
    NotRead,
    NotTaken,
    UploadForm,
    check_taken,
    telling_etag,
)
from comfyledger.comfyui.transfer import FileMissing, NotGiven, NotReached
from support.input_folder import InputFolder, input_folder
from support.waiting import pause

NAME = "comfyledger/ab/abc.png"
BODY = os.urandom(3 * UPLOAD_PIECE_BYTES + 7)
WRITTEN = {"name": "abc.png", "subfolder": "comfyledger/ab", "type": "input"}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[InputFolder, ComfyUI]]:
    async with input_folder(tmp_path) as pair:
        yield pair


async def read(comfyui: ComfyUI, name: str = NAME, etag: str = "") -> tuple[bytes, str] | None:
    async with comfyui.input_file(name, etag) as found:
        return None if found is None else (b"".join([piece async for piece in found.pieces]), found.etag)


# Uploads


@pytest.mark.parametrize("body", [BODY, b"", b"x", b"\r\n--\r\n"])
async def test_a_file_arrives_as_it_is_in_place_of_another(pair: tuple[InputFolder, ComfyUI], body: bytes) -> None:
    server, comfyui = pair
    server.put(NAME, b"something else")
    await comfyui.upload(NAME, io.BytesIO(body), len(body))
    assert server.path(NAME).read_bytes() == body
    assert server.fields == {"type": "input", "subfolder": "comfyledger/ab", "overwrite": "true"}
    assert (comfyui.files_uploaded, comfyui.bytes_uploaded) == (1, len(body))


async def test_a_name_at_the_top_level_has_no_subfolder(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    await comfyui.upload("comfyledger-abc.png", io.BytesIO(b"x"), 1)
    assert server.path("comfyledger-abc.png").read_bytes() == b"x"


class Zeros:
    """A large file that nobody has. It notes how much of it is read at once."""

    def __init__(self) -> None:
        self.most = 0
        self.taken = 0

    def read(self, most: int) -> bytes:
        self.most = max(self.most, most)
        self.taken += most
        return bytes(most)


async def test_a_large_file_is_read_in_pieces_and_announced_with_its_length() -> None:
    form, zeros, told = UploadForm(NAME, 64 * 1_048_576), Zeros(), [0]
    size = 0
    async for piece in form.body(cast(BinaryIO, zeros), told.append):
        size += len(piece)
    assert str(size) == form.headers["Content-Length"]
    assert zeros.most <= UPLOAD_PIECE_BYTES
    assert told == sorted(told)
    assert told[-1] == 64 * 1_048_576


class Broken(io.BytesIO):
    def read(self, most: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("file", [io.BytesIO(b"too short"), Broken()])
async def test_a_file_that_cannot_be_read_to_its_end_is_no_fault_of_comfyui(
    pair: tuple[InputFolder, ComfyUI], file: BinaryIO
) -> None:
    server, comfyui = pair
    with pytest.raises(NotRead):
        await comfyui.upload(NAME, file, 1_000_000)
    assert server.uploaded == []


@pytest.mark.parametrize(
    ("status", "body", "code", "final"),
    [
        (413, b"413: Request Entity Too Large", "input_too_large", True),
        (400, b"", "http_400", True),
        (404, b"404: Not Found", "http_404", True),
        (500, b"500 Internal Server Error", "http_500", False),
        (200, json.dumps(WRITTEN | {"name": "abc (1).png"}).encode(), "renamed", True),
        (200, json.dumps(WRITTEN | {"subfolder": ""}).encode(), "renamed", True),
        (200, json.dumps(WRITTEN | {"type": "temp"}).encode(), "renamed", True),
        (200, b"{}", "renamed", True),
    ],
)
def test_what_comfyui_does_not_take_is_the_files_fault(status: int, body: bytes, code: str, final: bool) -> None:
    with pytest.raises(NotTaken) as refused:
        check_taken(NAME, 7, status, body)
    assert (refused.value.code, refused.value.final) == (code, final)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>login</html>", "unknown_answer"),
        (200, b"", "unknown_answer"),
        (401, b"", "http_401"),
        (403, b"", "http_403"),
        (429, b"", "http_429"),
        (502, b"", "http_502"),
        (503, b"", "http_503"),
    ],
)
def test_what_a_proxy_answers_is_the_lanes_fault(status: int, body: bytes, code: str) -> None:
    with pytest.raises(NotReached) as trouble:
        check_taken(NAME, 7, status, body)
    assert (trouble.value.code, trouble.value.sent) == (code, True)


async def test_the_separators_of_windows_are_the_same_place(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    server.answers["/upload/image"] = web.json_response(WRITTEN | {"subfolder": "comfyledger\\ab"})
    await comfyui.upload(NAME, io.BytesIO(b"x"), 1)
    assert server.asked == ["POST /upload/image"]


async def test_an_upload_is_redirected_nowhere(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    server.answers["/upload/image"] = web.Response(status=307, headers={"Location": "/elsewhere?key=1"})
    with pytest.raises(NotReached) as trouble:
        await comfyui.upload(NAME, io.BytesIO(b"x"), 1)
    assert trouble.value.code == "redirected"
    assert "key" not in trouble.value.text
    assert server.asked == ["POST /upload/image"]


async def test_a_refusal_before_the_end_of_a_large_file_is_heard(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    server.answers["/upload/image"] = web.Response(status=413)
    zeros = Zeros()
    with pytest.raises(NotTaken) as refused:
        await comfyui.upload(NAME, cast(BinaryIO, zeros), 1024**3)
    assert refused.value.code == "input_too_large"
    assert zeros.taken < 1024**3 // 2


async def test_nobody_listens(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        comfyui = ComfyUI(http, "http://127.0.0.1:1", connect_timeout_s=2, request_timeout_s=2)
        with pytest.raises(NotReached) as trouble:
            await comfyui.upload(NAME, io.BytesIO(b"x"), 1)
    assert (trouble.value.code, trouble.value.sent) == ("not_reached", False)


@pytest.mark.usefixtures("quick_time")
@pytest.mark.parametrize("takes", [0, 100_000, 10**9])
async def test_an_upload_that_does_not_go_on_ends(takes: int) -> None:
    """The server takes nothing, some, or all of it, and never answers."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = takes
        while left > 0 and (piece := await reader.read(min(left, 65_536))):
            left -= len(piece)
        await pause(1_000)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as http:
        comfyui = ComfyUI(http, url, connect_timeout_s=2, request_timeout_s=0.4, transfer_min_bytes_per_s=100_000_000)
        with pytest.raises(NotReached) as trouble:
            await comfyui.upload(NAME, cast(BinaryIO, Zeros()), 32 * 1_048_576)
    server.close()
    assert (trouble.value.code, trouble.value.sent) == ("too_slow", True)


# Asking again


async def test_a_file_comes_back_once_and_is_then_unchanged(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    server.put(NAME, BODY, age_s=60)
    found = await read(comfyui)
    assert found is not None
    body, etag = found
    assert body == BODY
    assert etag
    assert await read(comfyui, etag=etag) is None


async def test_other_bytes_of_the_same_size_come_although_the_etag_is_known(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    server.put(NAME, b"AAAA", age_s=60)
    found = await read(comfyui)
    assert found is not None
    server.put(NAME, b"BBBB")
    again = await read(comfyui, etag=found[1])
    assert again is not None
    assert again[0] == b"BBBB"


async def test_the_etag_of_a_file_that_has_just_changed_tells_nothing(pair: tuple[InputFolder, ComfyUI]) -> None:
    server, comfyui = pair
    server.put(NAME, BODY)
    assert await read(comfyui) == (BODY, "")


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_file_that_is_not_there_is_missing(pair: tuple[InputFolder, ComfyUI], status: int) -> None:
    server, comfyui = pair
    server.answers["/view"] = web.Response(status=status)
    with pytest.raises(FileMissing):
        await read(comfyui)


@pytest.mark.parametrize(("status", "code"), [(302, "redirected"), (304, "redirected"), (500, "http_500")])
async def test_another_answer_is_no_file(pair: tuple[InputFolder, ComfyUI], status: int, code: str) -> None:
    server, comfyui = pair
    server.answers["/view"] = web.Response(status=status)
    with pytest.raises(NotGiven) as trouble:
        await read(comfyui)
    assert trouble.value.code == code


NOW, SECONDS_AGO, LONG_AGO = (
    "Sun, 29 Nov 2026 13:49:06 GMT",
    "Sun, 29 Nov 2026 13:49:05 GMT",
    "Sun, 29 Nov 2026 13:49:03 GMT",
)


@pytest.mark.parametrize(
    ("headers", "etag"),
    [
        ({"ETag": '"1"', "Date": NOW, "Last-Modified": LONG_AGO}, '"1"'),
        ({"ETag": 'W/"1"', "Date": NOW, "Last-Modified": LONG_AGO}, 'W/"1"'),
        ({"ETag": '"1"', "Date": NOW, "Last-Modified": SECONDS_AGO}, ""),
        ({"ETag": '"1"', "Date": LONG_AGO, "Last-Modified": NOW}, ""),
        ({"ETag": '"1"', "Date": NOW}, ""),
        ({"ETag": '"1"', "Last-Modified": LONG_AGO}, ""),
        ({"ETag": '"1"', "Date": "now", "Last-Modified": LONG_AGO}, ""),
        ({"Date": NOW, "Last-Modified": LONG_AGO}, ""),
    ],
)
def test_an_etag_tells_changes_only_of_a_file_that_has_settled(headers: dict[str, str], etag: str) -> None:
    assert telling_etag(headers) == etag
