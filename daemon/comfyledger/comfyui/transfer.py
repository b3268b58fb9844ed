"""How answers and files come from a ComfyUI, and the errors of every call to one.

Each answer has a bound, and each transfer ends: the time that it may take grows with the bytes that it has moved.
"""

from __future__ import annotations

import asyncio
import os
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

import aiohttp

from comfyledger.comfyui.web_page import begins_as_message

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The limit of a JSON answer. `/queue` carries everybody's whole graphs."""
PIECE_BYTES: Final = 262_144
UNPACKED: Final = {"gzip", "x-gzip", "deflate"}
"""Encodings that a proxy may use although none was requested."""


class NotReached(Exception):
    """The call got no usable answer. `sent`: the request may have arrived all the same."""

    def __init__(self, code: str, text: str, *, sent: bool) -> None:
        self.code = code
        self.text = text
        self.sent = sent
        super().__init__(f"{code}: {text}")


class NotGiven(NotReached):
    """A file did not come, or not to its end. The next call tells whether that is the file's fault or the server's.

    `final`: the same call would be answered alike.
    """

    def __init__(self, code: str, text: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(code, text, sent=True)


class NotConnected(OSError):
    """There is no connection, so nothing was sent."""


class Answered(Protocol):
    """An answer whose body is still to come: as much of `aiohttp.ClientResponse` as transfers use."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content_type(self) -> str: ...
    @property
    def content(self) -> Content: ...


class Content(Protocol):
    """The body of an answer: as much of `aiohttp.StreamReader` as transfers use."""

    def read_nowait(self, n: int = -1, /) -> bytes: ...
    async def read(self, n: int = -1, /) -> bytes: ...
    def at_eof(self) -> bool: ...
    def iter_chunked(self, n: int, /) -> AsyncIterator[bytes]: ...


class FileMissing(Exception):
    """`/view` does not have the file."""


async def no_message(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a file as they come. Raises NotGiven if a web page or a message comes instead."""
    is_first = True
    async for piece in pieces:
        if is_first and begins_as_message(piece):
            raise NotGiven("web_page", "ComfyUI's address sent a web page or a message instead of the file.")
        is_first = False
        yield piece


async def paced(response: Answered, base_s: float, min_bytes_per_s: int) -> AsyncIterator[bytes]:
    """The bytes, as long as they arrive fast enough. Only the waiting counts, not the processing. Raises NotGiven."""
    loop, content, taken, waited_s = asyncio.get_running_loop(), response.content, 0, 0.0
    while True:
        since = loop.time()
        try:
            piece = content.read_nowait(PIECE_BYTES)  # what is there already needs no timer
            if not (piece or content.at_eof()):
                async with asyncio.timeout(base_s + taken / min_bytes_per_s - waited_s):
                    piece = await content.read(PIECE_BYTES)
        except TimeoutError as error:
            text = f"ComfyUI sent {taken} bytes of the file in {waited_s + loop.time() - since:.0f} s: too slow."
            raise NotGiven("too_slow", text) from error
        waited_s += loop.time() - since
        taken += len(piece)
        if not piece:
            return
        yield piece


async def unpacked(pieces: AsyncIterator[bytes], response: Answered, is_done: bool) -> AsyncIterator[bytes]:
    """The decoded bytes. We request no compression. If an answer is compressed all the same, it is decompressed in
    pieces, so that the caller can stop at a limit. `is_done`: aiohttp has decompressed it. Raises NotGiven.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"} or is_done:
        async for piece in pieces:
            yield piece
    elif encoding not in UNPACKED:
        raise NotGiven("encoded", f"The answer is encoded as {encoding[:40]!r}, which was not requested.", final=True)
    else:
        async for piece in _inflated(pieces):
            yield piece


async def _inflated(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        async for piece in pieces:
            left = piece
            while out := inflate.decompress(left, PIECE_BYTES):
                left = inflate.unconsumed_tail
                yield out
    except zlib.error as error:
        raise NotGiven("encoded", f"The answer cannot be decompressed: {error}") from error
    if not inflate.eof:
        raise NotGiven("cut_short", "The compressed answer is incomplete.")


async def bounded(pieces: AsyncIterator[bytes]) -> bytes:
    found: list[bytes] = []
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise NotReached("answer_too_large", f"The answer is larger than {ANSWER_BYTES_MAX} bytes.", sent=True)
        found.append(piece)
    return b"".join(found)


def not_reached(error: BaseException) -> NotReached:
    """The error of a call. A connection refused before a byte was sent differs from silence after it."""
    sent = not isinstance(error, (aiohttp.ClientConnectorError, NotConnected))
    code = "timeout" if isinstance(error, TimeoutError) else "not_reached"
    return NotReached(code, unreached_text(error), sent=sent)


def unreached_text(error: BaseException) -> str:
    """Why there is no connection, for people: without the system's own numbers and addresses."""
    if isinstance(error, TimeoutError):
        return "It did not answer in time."
    text = words(error)
    found = re.search(r"\[Errno (\d+)\]", text)
    number = (error.errno if isinstance(error, OSError) else None) or (int(found[1]) if found else 0)
    return f"It cannot be reached: {os.strerror(number) if number > 0 else text}."[:500]


def words(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:500]
