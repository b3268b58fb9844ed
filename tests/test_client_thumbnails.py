"""Thumbnails with the Python client: the picture itself, or an address for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from comfyledger.client import Client, downloading
from comfyledger.client.downloading import Downloader
from comfyledger.client.finding import find_daemon
from comfyledger.errors import Refused
from support.door import door, open_door

__all__ = ["door", "open_door"]

WEBP = b"RIFF of a thumbnail"


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[bytes]]]:
    """Asks a server for a thumbnail that gives these answers, one for each connection."""
    started: list[asyncio.Server] = []

    async def ask(*answers: bytes) -> bytes:
        left = list(answers)

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /v1/images/b/1%3F%20x/thumbnail?size=large HTTP/1.1\r\n")
            assert b"Authorization: Bearer secret\r\n" in head
            writer.write(left.pop(0))
            await writer.drain()
            writer.close()

        started.append(await asyncio.start_unix_server(take, tmp_path / "s"))
        found = find_daemon(f"unix:{tmp_path / 's'}", "secret", tmp_path, {})
        made = await Downloader(lambda: found, "my app", 5.0 if len(answers) > 1 else 0.0).thumbnail("b/1? x", "large")
        assert left == []
        return made

    yield ask
    for one in started:
        one.close()


def answer(body: bytes, status: int = 200, length: int | str | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n".encode() + body


def problem(code: str) -> bytes:
    return b'{"type":"","title":"","status":1,"detail":"No.","code":"%s"}' % code.encode()


async def test_a_thumbnail_and_its_address_come_from_the_daemon(door: Any) -> None:
    async with Client(state_dir=door.folder / "state") as client, aiohttp.ClientSession() as http:
        batch = await client.submit(request_id="r", username="Areg", character="Opal Fever", quantity=1)
        await client.wait(batch.batch_id)
        (image,) = (await client.get_batch(batch.batch_id)).images
        small, large = await client.thumbnail(image.public_id), await client.thumbnail(image.image_id, size="large")
        assert (small[:4], large[:4]) == (b"RIFF", b"RIFF")
        for size, made in (("small", small), ("large", large)):
            url = await client.thumbnail_url_of(image.image_id, size)  # type: ignore[arg-type]
            async with http.get(URL(url, encoded=True)) as shown:
                assert await shown.read() == made
        await client.pause("everything")
        later = await client.submit(request_id="later", username="Areg", character="Fox", quantity=1)
        for call in (client.thumbnail, client.thumbnail_url_of):
            with pytest.raises(Refused) as refused:
                await call(f"{later.batch_id}/1")
            assert refused.value.code == "unknown_image"


async def test_what_breaks_off_or_is_busy_is_asked_for_again(asked: Any) -> None:
    answers = (answer(problem("busy"), 503), answer(WEBP[:-1], length=len(WEBP)), b"", answer(WEBP))
    assert await asked(*answers) == WEBP


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (answer(problem("thumbnail_unsupported"), 404), "thumbnail_unsupported"),
        (answer(problem("thumbnail_failed"), 422), "thumbnail_failed"),
        (answer(problem("busy"), 503), "busy"),
        (answer(b"<html>", 302), "protocol_version"),
        (answer(b"<html>", 502), "not_running"),
        (answer(WEBP[:-1], length=len(WEBP)), "not_running"),
        (answer(WEBP, length="x"), "not_running"),
        (answer(WEBP, length=downloading.THUMBNAIL_BYTES_MAX + 1), "not_running"),
    ],
)
async def test_what_is_no_thumbnail_is_refused(asked: Any, said: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await asked(said)
    assert refused.value.code == code
