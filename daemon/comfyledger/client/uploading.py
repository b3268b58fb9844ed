"""Sends an input file to the daemon: one PUT over the address of its websocket, streamed in constant memory.

The daemon may answer before it has the whole file: then the rest is not sent. After a broken connection the file is
sent again, if it can be read again: the same bytes are the same input file.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http.client import HTTPException, HTTPResponse
from typing import Any, BinaryIO, Final, NamedTuple, cast
from urllib.parse import quote

import msgspec

from comfyledger import wire
from comfyledger.client.connecting import why_not
from comfyledger.client.finding import Address
from comfyledger.client.http_calls import Tries, http_connection, no_daemon, read_head, refusal_in, request_head
from comfyledger.errors import Refused
from comfyledger.wire.routes import INPUTS

PIECE_BYTES: Final = 262_144
ASKED_FIRST_BYTES: Final = 1_048_576
"""Before a larger file is sent, the daemon is asked whether it takes it."""
CONTINUE_S: Final = 2.0
"""How long its consent is waited for. A proxy may not pass it on. (RFC 9110, 10.1.1)"""
LAST_WORDS_S: Final = 2.0
"""How long an answer is waited for if the connection breaks while a file is sent."""
STALL_S: Final = 120.0
"""How long the daemon may take to take a piece. Files wait for each other."""
ANSWER_S: Final = 600.0
"""How long it may take to check a file and answer."""
ANSWER_BYTES_MAX: Final = 1_048_576
NAME_CHARS_MAX: Final = 255
UNSEEKABLE: Final = -1

InputFile = str | os.PathLike[str] | bytes | BinaryIO


class Unreadable(Exception):
    """The file cannot be read to its end; `error` says why."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))


class Body(NamedTuple):
    """An open file. `size_bytes` is None if it is not known. `named`: its name, or empty."""

    file: BinaryIO
    size_bytes: int | None
    named: str


class Uploader:
    """Sends files. `find` returns the daemon's present address, `label` is the name of the client.

    `timeout_s`: for how long after a broken connection a file is sent again; None for ever.
    """

    def __init__(self, find: Callable[[], Address], label: str, timeout_s: float | None) -> None:
        self._find = find
        self._label = label
        self._timeout_s = timeout_s

    async def upload(self, given: InputFile, name: str | None) -> wire.InputInfo:
        """Raises Refused with the daemon's reason; Refused(not_running, timeout), OSError of the file."""
        tries = Tries(self._timeout_s)
        start = None if isinstance(given, str | bytes | os.PathLike) else await asyncio.to_thread(_start_of, given)
        is_once = start == UNSEEKABLE
        while True:
            address = self._find()
            try:
                async with _opened(given, start, name) as body:
                    return _read(address, await self._sent(address, body))
            except Unreadable as unreadable:
                raise unreadable.error from unreadable
            except TimeoutError as error:
                raise Refused("timeout") from error
            except (OSError, EOFError, HTTPException) as error:
                trouble = why_not(address, error)
            if is_once:
                raise trouble
            await tries.wait(trouble)

    async def _sent(self, address: Address, body: Body) -> bytes:
        """The whole answer. Raises OSError, EOFError, TimeoutError, Unreadable."""
        is_asked = body.size_bytes is None or body.size_bytes > ASKED_FIRST_BYTES
        async with http_connection(address) as (reader, writer):
            writer.write(self._head(address, body, is_asked=is_asked))
            go = asyncio.Event()
            answering = asyncio.create_task(_answer(reader, go))
            sending = asyncio.create_task(_send(writer, body, go if is_asked else None))
            try:
                await asyncio.wait({answering, sending}, return_when=asyncio.FIRST_COMPLETED)
                return await _last_words(answering, sending)
            finally:
                for task in (answering, sending):
                    task.cancel()
                await asyncio.gather(answering, sending, return_exceptions=True)

    def _head(self, address: Address, body: Body, *, is_asked: bool) -> bytes:
        """Request line and headers. Raises Refused(invalid_field)."""
        query = f"?name={quote(body.named[-NAME_CHARS_MAX:], safe='')}" if body.named else ""
        return request_head(
            *("PUT", f"{INPUTS}{query}", address, self._label),
            "Content-Type: application/octet-stream",
            *(["Expect: 100-continue"] if is_asked else []),
            "Transfer-Encoding: chunked" if body.size_bytes is None else f"Content-Length: {body.size_bytes}",
        )


async def _last_words(answering: asyncio.Task[bytes], sending: asyncio.Task[None]) -> bytes:
    """The answer, once it has come or the file is sent. Where the connection broke, it may have come just before."""
    failure = sending.exception() if sending.done() else None
    if failure is None:
        async with asyncio.timeout(ANSWER_S):
            return await answering
    if not isinstance(failure, Unreadable):
        with suppress(OSError, EOFError):
            async with asyncio.timeout(LAST_WORDS_S):
                return await answering
    raise failure


@asynccontextmanager
async def _opened(given: InputFile, start: int | None, name: str | None) -> AsyncIterator[Body]:
    """`start`: of an open file. Raises Unreadable."""
    if isinstance(given, bytes):
        yield Body(io.BytesIO(given), len(given), name or "")
    elif isinstance(given, str | os.PathLike):
        try:
            file = await asyncio.to_thread(open, given, "rb")
        except OSError as error:
            raise Unreadable(error) from error
        with file:
            yield Body(file, os.fstat(file.fileno()).st_size, name or os.path.basename(given))
    else:
        yield Body(given, await asyncio.to_thread(_rest_of, given, start or 0), name or "")


def _start_of(file: BinaryIO) -> int:
    """Where an open file is; UNSEEKABLE if it can be read once only."""
    return file.tell() if file.seekable() else UNSEEKABLE


def _rest_of(file: BinaryIO, start: int) -> int | None:
    """How many bytes an open file has from there on, where it is then; None if that is not known."""
    if start == UNSEEKABLE:
        return None
    size_bytes = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return size_bytes


async def _send(writer: asyncio.StreamWriter, body: Body, go: asyncio.Event | None) -> None:
    """Raises OSError, TimeoutError, Unreadable. `go`: the daemon's consent, if it was asked for."""
    if go is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CONTINUE_S):
                await go.wait()
    left = body.size_bytes
    while left is None or left:
        piece = await _piece(body.file, PIECE_BYTES if left is None else min(PIECE_BYTES, left))
        writer.write(piece if left is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        async with asyncio.timeout(STALL_S):
            await writer.drain()
        if left is None and not piece:
            return
        if left is not None:
            if not piece:
                raise Unreadable(OSError("The file became shorter while it was sent."))
            left -= len(piece)


async def _piece(file: BinaryIO, size_bytes: int) -> bytes:
    try:
        return await asyncio.to_thread(file.read, size_bytes)
    except OSError as error:
        raise Unreadable(error) from error


async def _answer(reader: asyncio.StreamReader, go: asyncio.Event) -> bytes:
    """The final answer, head included. Sets `go` when the daemon asks for the file. Raises OSError, EOFError."""
    while True:
        status, headers, head = await read_head(reader)
        if status != 100:
            break
        go.set()
    length = headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length) <= ANSWER_BYTES_MAX:
        return head + await reader.readexactly(int(length))
    return head + await reader.read(ANSWER_BYTES_MAX)


class _Received:
    """Stands for a socket from which an answer can be read."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _read(address: Address, raw: bytes) -> wire.InputInfo:
    """What an answer says. Raises Refused with the daemon's reason, HTTPException."""
    response = HTTPResponse(cast(Any, _Received(raw)), method="PUT")
    response.begin()
    body = response.read()
    if response.status not in {200, 201}:
        raise refusal_in(address, response.status, body)
    try:
        return msgspec.json.decode(body, type=wire.InputInfo)
    except msgspec.MsgspecError as error:
        raise no_daemon(address, response.status) from error
