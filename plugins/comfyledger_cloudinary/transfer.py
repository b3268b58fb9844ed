"""Uploading one file to Cloudinary: a multipart body written by hand, streamed from the spool in constant memory.

The official SDK holds the whole file in memory, keeps one connection and reports every fault as the same error. So the
transfer is ours, on aiohttp. Fields and a path come in, an answer or a fault goes out. `answers` says what they mean,
`account` what is sent. Nothing is sent twice here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp

from comfyledger.plugin_api import ImageFault, LaneFault, StoreTrouble
from comfyledger_cloudinary.answers import Answer, broken
from comfyledger_cloudinary.delivery import download

PIECE_BYTES: Final = 262_144
"""Measured: smaller pieces cost more CPU, larger ones only memory."""

ANSWER_BYTES_MAX: Final = 1_048_576
JOINED_BYTES_PER_S: Final = 2_097_152
"""The rate at which Cloudinary joins and reads a file, at least: its size adds to the time for the answer."""
IDLE_CONNECTION_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each part of a transfer may take: to connect, for one piece to leave, for the whole answer."""

    connect_s: float
    send_s: float
    answer_s: float


@dataclass(frozen=True, slots=True)
class Cargo:
    """The file to send, the size that it must have, and the name that the multipart part gives it."""

    path: Path
    size_bytes: int
    file_name: str


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a chunked upload: the id of all its requests, and which bytes of the file it carries."""

    upload_id: str
    first: int
    size_bytes: int
    total_bytes: int

    @property
    def is_last(self) -> bool:
        return self.first + self.size_bytes == self.total_bytes

    @property
    def headers(self) -> dict[str, str]:
        """As Cloudinary's documentation and its SDK (1.46.3) have them."""
        span = f"bytes {self.first}-{self.first + self.size_bytes - 1}/{self.total_bytes}"
        return {"X-Unique-Upload-Id": self.upload_id, "Content-Range": span}


class Transfer:
    """One pool of at most `connections_max` connections. To be used from one event loop."""

    def __init__(self, connections_max: int, patience: Patience, proxy: str | None = None) -> None:
        self._connections_max = connections_max
        self._proxy = proxy
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, url: str, fields: Mapping[str, str], cargo: Cargo, part: Part | None = None
    ) -> Answer | LaneFault | ImageFault:
        """POST the fields and, last, the file or a part. ImageFault if the file is not as recorded. Raises nothing."""
        try:
            with await asyncio.to_thread(cargo.path.open, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != cargo.size_bytes:
                    return _not_as_recorded(cargo)
                return await self._send(url, Body(fields, cargo, file, part))
        except OSError as error:
            return ImageFault("altered", f"The spool's file cannot be read: {error}")

    async def receive(self, address: str, target: Path, bytes_max: int) -> None:
        """GET an asset's bytes into an existing file. Raises StoreTrouble."""
        times = {"connect_s": self._patience.connect_s, "piece_s": self._patience.answer_s}
        try:
            await download(self._ready_session(), address, target, bytes_max=bytes_max, **times)
        except OSError as error:
            raise StoreTrouble(LaneFault("unknown", f"The asset could not be written to disk: {error}")) from error

    async def post(self, url: str, fields: Mapping[str, str]) -> Answer | LaneFault:
        """POST fields without a file. Raises nothing."""
        try:
            async with (
                asyncio.timeout(self._patience.connect_s + self._patience.answer_s),
                self._ready_session().post(url, data=dict(fields), allow_redirects=False) as response,
            ):
                headers = {key.lower(): value for key, value in response.headers.items()}
                return Answer(response.status, headers, await _text_of(response))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return broken(begun=True, text=f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _send(self, url: str, body: Body) -> Answer | LaneFault | ImageFault:
        try:
            async with asyncio.timeout(self._patience.connect_s) as deadline:
                return await self._post(url, body, body.pieces(deadline, self._patience))
        except TimeoutError:
            return broken(begun=body.begun, text=f"No answer in time {'after' if body.begun else 'before'} the body.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if body.shrank:
                return _not_as_recorded(body.cargo)
            return broken(begun=body.begun, text=f"{type(error).__name__}: {error}")

    async def _post(self, url: str, body: Body, pieces: AsyncIterator[bytes]) -> Answer:
        session = self._ready_session()
        async with session.post(url, data=pieces, headers=body.headers, allow_redirects=False) as response:
            headers = {key.lower(): value for key, value in response.headers.items()}
            return Answer(response.status, headers, await _text_of(response))

    def _ready_session(self) -> aiohttp.ClientSession:
        """Made at the first use, because it belongs to the event loop of then. `Patience` has the timeouts."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections_max, keepalive_timeout=IDLE_CONNECTION_S),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=self._proxy,
            )
        return self._session


class Body:
    """A multipart body and how far it has come."""

    def __init__(self, fields: Mapping[str, str], cargo: Cargo, file: BinaryIO, part: Part | None = None) -> None:
        boundary = secrets.token_hex(16)
        file.seek(part.first if part else 0)
        self._size_bytes = part.size_bytes if part else cargo.size_bytes
        self._joined_bytes = cargo.size_bytes if part is None or part.is_last else part.size_bytes
        self.cargo = cargo
        self.begun = False
        self.shrank = False
        self._file = file
        self._head, self._tail = frame(boundary, fields, cargo.file_name)
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + self._size_bytes + len(self._tail)),
            **(part.headers if part else {}),
        }

    async def pieces(self, deadline: asyncio.Timeout, patience: Patience) -> AsyncIterator[bytes]:
        """Each piece has its own time limit; after the last piece, the answer has its own, by the size of the file."""
        async for piece in self._pieces():
            _give(deadline, patience.send_s)
            self.begun = True
            yield piece
        _give(deadline, patience.answer_s + self._joined_bytes / JOINED_BYTES_PER_S)

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._head
        left = self._size_bytes
        while left:
            piece = self._file.read(
                min(left, PIECE_BYTES)
            )  # From the page cache: a thread would cost more than the read.
            if not piece:
                self.shrank = True
                raise OSError("the file became shorter while it was sent")
            left -= len(piece)
            yield piece
        yield self._tail


async def _text_of(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, or its beginning if it is longer than ANSWER_BYTES_MAX."""
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > ANSWER_BYTES_MAX:
            break
    return bytes(text)


def _give(deadline: asyncio.Timeout, time_s: float) -> None:
    with suppress(RuntimeError):  # The time was up, or the answer came before the whole body was sent.
        deadline.reschedule(asyncio.get_running_loop().time() + time_s)


def frame(boundary: str, fields: Mapping[str, str], file_name: str) -> tuple[bytes, bytes]:
    """The bytes before and after the file, which is the last part (RFC 7578)."""
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    last = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(file_name)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join((*parts, last)).encode(), f"\r\n--{boundary}--\r\n".encode()


def _quoted(file_name: str) -> str:
    """As browsers do it (WHATWG, multipart/form-data encoding algorithm)."""
    return file_name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _not_as_recorded(cargo: Cargo) -> ImageFault:
    return ImageFault("altered", f"{cargo.path} does not hold the {cargo.size_bytes} bytes that were recorded.")
