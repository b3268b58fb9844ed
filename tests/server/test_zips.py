"""Zips of images: what is in them, what is not and why, who may read them, and that a broken file ends no other."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, BinaryIO

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from yarl import URL

from comfyledger.errors import Refused
from comfyledger.server import tokens
from comfyledger.server.v1 import zips
from comfyledger.server.zip_stream import PIECE_BYTES, ZipStream
from support.waiting import DEADLINE_S

in_module = pytest.mark.asyncio(loop_scope="module")
AT = (2026, 11, 30, 8, 0, 0)
CREATED = HTTPStatus.CREATED


class Zipped:
    """A door with a batch of three stored images, and a session without a token."""

    def __init__(self, door: Any, app: Any, http: aiohttp.ClientSession, batch: dict[str, Any]) -> None:
        self.door, self.app, self.http, self.batch = door, app, http, batch
        self.images: list[dict[str, Any]] = batch["images"]

    def id_of(self, index: int) -> str:
        return f"{self.batch['batch_id']}/{index}"

    def token(self, label: str, *, read_all: bool = True) -> str:
        path = self.door.folder / "state" / "tokens.json"
        token = tokens.add(path, label, "read", 0.0, read_all=read_all)
        self.door.context.access.keyring.refresh()
        return token

    async def ask(self, *images: str, token: str = "") -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token or self.door.token}"}
        body = {"images": list(images)}
        async with self.http.post(f"{self.door.url}/v1/zips", json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def read(self, url: str, method: str = "GET") -> tuple[int, bytes, Any]:
        async with self.http.request(method, URL(url, encoded=True)) as answer:
            return answer.status, await answer.read(), answer.headers

    async def files(self, *images: str) -> dict[str, bytes]:
        status, answer = await self.ask(*images)
        assert status == CREATED, answer
        status, body, _ = await self.read(answer["url"])
        assert status == HTTPStatus.OK
        return files_in(body)


def files_in(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zipped(lasting_door: Any) -> AsyncIterator[Zipped]:
    async with lasting_door.app("shop") as app, aiohttp.ClientSession() as http:
        (batch,) = await app.settled((await app.submit("r1", quantity=3))["batch_id"])
        yield Zipped(lasting_door, app, http, batch)


@in_module
async def test_the_zip_has_each_file_under_its_public_id_and_no_other(zipped: Zipped) -> None:
    one, two, _ = zipped.images
    found = await zipped.files(two["public_id"].upper(), zipped.id_of(1), zipped.id_of(2))
    assert list(found) == [f"{image['public_id']}.png" for image in (two, one)]
    digests = [hashlib.sha256(body).hexdigest() for body in found.values()]
    assert digests == [two["sha256"], one["sha256"]]


@in_module
async def test_the_address_needs_no_token_and_is_saved_as_a_file(zipped: Zipped) -> None:
    _, answer = await zipped.ask(zipped.id_of(1))
    status, body, headers = await zipped.read(answer["url"])
    assert (status, headers["Content-Type"]) == (HTTPStatus.OK, "application/zip")
    assert headers["Content-Disposition"] == 'attachment; filename="images.zip"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert (await zipped.read(answer["url"]))[1] == body, "it may be read again"
    status, body, _ = await zipped.read(answer["url"], "HEAD")
    assert (status, body) == (HTTPStatus.OK, b"")


@in_module
async def test_an_address_that_is_forged_or_over_is_refused(zipped: Zipped, monkeypatch: pytest.MonkeyPatch) -> None:
    _, answer = await zipped.ask(zipped.id_of(1))
    url = URL(answer["url"], encoded=True)
    expires = int(url.query["expires"])
    assert answer["expires_at_ms"] == expires * 1_000
    for wrong in (
        url.update_query(expires=str(expires + 1)),
        url.update_query(signature="0" * 64),
        url.with_query(None),
        url.with_path("/v1/zips/x").with_query(url.query),
    ):
        status, body, _ = await zipped.read(str(wrong))
        assert (status, msgspec.json.decode(body)["code"]) == (HTTPStatus.FORBIDDEN, "signature_invalid")
    urls = zipped.door.context.file_urls
    monkeypatch.setattr(urls, "_now_s", lambda: expires + 1.0)
    status, body, _ = await zipped.read(answer["url"])
    assert (status, msgspec.json.decode(body)["code"]) == (HTTPStatus.FORBIDDEN, "signature_expired")


@in_module
async def test_a_token_gets_only_what_it_may_see_and_its_address_ends_with_it(zipped: Zipped) -> None:
    own, other = zipped.token("shop", read_all=False), zipped.token("other", read_all=False)
    image = zipped.id_of(1)
    assert (await zipped.ask(image, token=other))[1]["code"] == "unknown_image"
    status, answer = await zipped.ask(image, token=own)
    assert status == CREATED
    path = zipped.door.folder / "state" / "tokens.json"
    tokens.revoke(path, "shop")
    zipped.door.context.access.keyring.refresh()
    status, _, _ = await zipped.read(answer["url"])
    assert status == HTTPStatus.UNAUTHORIZED


@in_module
async def test_what_cannot_be_asked_for_is_refused(zipped: Zipped) -> None:
    status, answer = await zipped.ask(zipped.id_of(1), "nobody/2")
    assert (status, answer["code"], answer["path"]) == (HTTPStatus.NOT_FOUND, "unknown_image", "$.images[1]")
    for images in ([], [zipped.id_of(1)] * 5_001):
        status, answer = await zipped.ask(*images)
        assert (status, answer["code"]) == (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_field")


@in_module
async def test_a_file_that_cannot_be_had_is_named_and_the_others_come(zipped: Zipped) -> None:
    (batch,) = await zipped.app.settled((await zipped.app.submit("broken", quantity=3))["batch_id"])
    first, second, third = batch["images"]
    for file in zipped.door.folder.glob(f"**/{second['name']}.png"):
        file.unlink()
    (zipped.door.folder / "state" / "spool" / batch["batch_id"] / "2.png").unlink(missing_ok=True)
    found = await zipped.files(*(f"{batch['batch_id']}/{index}" for index in (1, 2, 3)))
    assert list(found) == [f"{first['public_id']}.png", f"{third['public_id']}.png", "MISSING.txt"]
    (line,) = found["MISSING.txt"].decode().splitlines()
    assert line.startswith(f"{second['public_id']}.png: ")


@in_module
async def test_a_forgotten_image_is_left_out(zipped: Zipped) -> None:
    (batch,) = await zipped.app.settled((await zipped.app.submit("forgotten", quantity=2))["batch_id"])
    _, answer = await zipped.ask(*(f"{batch['batch_id']}/{index}" for index in (1, 2)))
    await zipped.app.ask("forget", batch_id=batch["batch_id"], images=[1])
    _, body, _ = await zipped.read(answer["url"])
    assert list(files_in(body)) == [f"{batch['images'][1]['public_id']}.png"]


@in_module
async def test_a_file_waits_for_its_turn_while_many_are_read(zipped: Zipped, monkeypatch: pytest.MonkeyPatch) -> None:
    source, refusals = zipped.door.context.file_source, [Refused("busy")] * 3
    original = source.open

    def opening(image: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return original(image)

    monkeypatch.setattr(zips, "BUSY_S", 0.0)
    monkeypatch.setattr(source, "open", opening)
    assert list(await zipped.files(zipped.id_of(1))) == [f"{zipped.images[0]['public_id']}.png"]
    refusals += [Refused("busy", "Too many.")] * 50
    assert list((await zipped.files(zipped.id_of(1))).values()) == [
        f"{zipped.images[0]['public_id']}.png: Too many.\n".encode()
    ]


@in_module
async def test_only_so_many_are_sent_at_once(zipped: Zipped, monkeypatch: pytest.MonkeyPatch) -> None:
    _, answer = await zipped.ask(zipped.id_of(1))
    monkeypatch.setattr(zips, "SENDING_MAX", 0)
    status, body, headers = await zipped.read(answer["url"])
    assert (status, msgspec.json.decode(body)["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "busy")
    assert headers["Retry-After"] == "5"


async def _endless(*_: object) -> AsyncIterator[bytes]:
    while True:
        yield bytes(PIECE_BYTES)


@in_module
async def test_one_token_leaves_places_for_others(zipped: Zipped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "_file", _endless)
    monkeypatch.setattr(zips, "SENDING_MAX", 2)
    _, own = await zipped.ask(zipped.id_of(1))
    _, others = await zipped.ask(zipped.id_of(1), token=zipped.token("zip-reader"))
    async with zipped.http.get(URL(own["url"], encoded=True)) as first:
        assert first.status == HTTPStatus.OK
        assert (await zipped.read(own["url"]))[0] == HTTPStatus.SERVICE_UNAVAILABLE
        async with zipped.http.get(URL(others["url"], encoded=True)) as second:
            assert second.status == HTTPStatus.OK


@in_module
async def test_a_zip_is_cut_off_when_its_token_is_revoked(zipped: Zipped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "_file", _endless)
    _, answer = await zipped.ask(zipped.id_of(1), token=zipped.token("zip-revoked"))
    async with asyncio.timeout(DEADLINE_S), zipped.http.get(URL(answer["url"], encoded=True)) as sent:
        await sent.content.readexactly(PIECE_BYTES)
        tokens.revoke(zipped.door.folder / "state" / "tokens.json", "zip-revoked")
        zipped.door.context.access.keyring.refresh()
        with pytest.raises(aiohttp.ClientError):
            await sent.read()


@in_module
async def test_a_client_that_does_not_read_is_cut_off_and_its_file_closed(
    zipped: Zipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answer = await zipped.ask(zipped.id_of(1))
    closed = asyncio.Event()

    async def endless(*_: object) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(PIECE_BYTES)
        finally:
            closed.set()

    monkeypatch.setattr(zips, "STALL_S", 0.1)
    monkeypatch.setattr(zips, "_file", endless)
    url = URL(answer["url"], encoded=True)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=1_024)
    writer.write(f"GET {url.raw_path_qs} HTTP/1.1\r\nHost: {url.authority}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await closed.wait()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(2**30)
    writer.close()


def test_a_file_that_cannot_be_read_to_its_end_is_named_and_the_next_one_comes() -> None:
    class Breaking(Large):
        def read(self, count: int = -1) -> bytes:
            if self.left <= 10:
                raise OSError(5, "Input/output error")
            return super().read(10)

    stream, body = ZipStream(AT), bytearray()
    broken: Any = Breaking(20)
    pieces = stream.add("a.png", broken, 20)
    body += next(pieces)
    with pytest.raises(OSError, match="Input"):
        next(pieces)
    body += b"".join(stream.add("b.png", io.BytesIO(b"b"), 1))
    assert files_in(bytes(body + stream.end())) == {"a.png": bytes(10), "b.png": b"b"}


def test_lists_are_kept_within_bounds() -> None:
    kept = zips.Zips()
    callers = [tokens.Caller(str(number), "read", bytes([number])) for number in range(5)]

    def add(number: int, expires_s: int = 600, now_s: float = 0.0) -> str:
        return kept.add(zips.Wanted(callers[number], (("b", 1),), expires_s), now_s)

    first = add(0)
    others = [add(0) for _ in range(zips.LISTS_MAX // 4)]
    assert kept.find(first) is None, "the oldest of its token made room"
    assert None not in map(kept.find, others)
    for number in (1, 2, 3):
        for _ in range(zips.LISTS_MAX // 4):
            add(number)
    with pytest.raises(Refused, match="zips"):
        add(4)
    assert kept.find(add(4, 1_300, now_s=700.0)), "those that are over made room"
    assert kept.find(others[-1]) is None


class Large(io.RawIOBase):
    """A file of zeros of any size, which remembers how much of it was read."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, count: int = -1) -> bytes:
        piece = bytes(min(count, self.left))
        self.left -= len(piece)
        return piece


def test_a_large_file_goes_out_in_pieces() -> None:
    stream, size = ZipStream(AT), 40 * PIECE_BYTES
    file: Any = Large(size)
    body = bytearray()
    for piece in stream.add("a/b.png", file, size):
        body += piece
        assert len(piece) <= PIECE_BYTES + 1_024
        assert size - file.left - len(body) < PIECE_BYTES, "what was read is sent"
    body += stream.end()
    assert {name: len(content) for name, content in files_in(bytes(body)).items()} == {"a/b.png": size}


def test_a_file_above_four_gigabytes_has_sizes_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its header is made: what it says of its size is what counts."""
    stream = ZipStream(AT)
    file: Any = Large(10)
    pieces = stream.add("video.mp4", file, 5 * 2**30)
    head = next(pieces)
    assert head[30:].startswith(b"video.mp4\x01\x00"), "the extra field of ZIP64"
    pieces.close()  # type: ignore[attr-defined]


def test_a_name_outside_ascii_and_a_list_of_what_is_missing() -> None:
    stream = ZipStream(AT)
    file: BinaryIO = io.BytesIO(b"x")
    body = b"".join(stream.add("Zoë/x.png", file, 1))
    stream.lacks("Zoë/y.png", "The image is failed (out_of_memory).")
    found = files_in(body + stream.end())
    assert found == {"Zoë/x.png": b"x", "MISSING.txt": "Zoë/y.png: The image is failed (out_of_memory).\n".encode()}
