"""Reads the file of an image from the daemon, streamed in constant memory, and compares it with its sha256.

After a broken connection it continues where it was. The daemon gets the file from a store if it must, so the client
speaks to nobody else, and its token goes nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, Final, Literal
from urllib.parse import quote

from comfyledger import wire
from comfyledger.client.connecting import why_not
from comfyledger.client.finding import Address
from comfyledger.client.http_calls import Tries, http_connection, read_head, refusal_in, request_head
from comfyledger.errors import Refused

PIECE_BYTES: Final = 262_144
FILES_MAX: Final = 8
"""Files that one client reads at the same time. Others wait here, since the daemon refuses too many as `busy`."""
ANSWER_S: Final = 600.0
"""How long the daemon may take to answer: it may have to get the file from a store, within limits of its own."""
STALL_S: Final = 60.0
"""How long the next piece may take."""
REFUSAL_BYTES_MAX: Final = 1_048_576
IN_MEMORY_BYTES_MAX: Final = 268_435_456
THUMBNAIL_BYTES_MAX: Final = 16_777_216
Size = Literal["small", "large"]


class Unwritable(Exception):
    """The file cannot be written on this side; `error` says why."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))


class Copy:
    """What of a file has arrived. `file` is open for writing, and empty at first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def add(self, piece: bytes) -> None:
        """Raises Unwritable."""
        with _of_the_disk():
            self._file.write(piece)
        self._digest.update(piece)
        self.size_bytes += len(piece)

    def restart(self) -> None:
        """Raises Unwritable."""
        with _of_the_disk():
            self._file.truncate(0)
            self._file.seek(0)
        self._digest = hashlib.sha256()
        self.size_bytes = 0


@contextmanager
def _of_the_disk() -> Iterator[None]:
    """Tells an error of the file from one of the connection."""
    try:
        yield
    except OSError as error:
        raise Unwritable(error) from error


async def _made(path: Path) -> BinaryIO:
    """A new file. If this is cancelled, its thread may still make the file, so it is waited for. Raises OSError."""
    making = asyncio.ensure_future(asyncio.to_thread(open, path, "xb"))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        with suppress(OSError):
            (await making).close()
            await asyncio.to_thread(path.unlink)
        raise


class Downloader:
    """Reads files. `find` returns the daemon's present address, `label` is the name of the client.

    `timeout_s`: for how long after a broken connection it is tried again; None for ever.
    """

    def __init__(self, find: Callable[[], Address], label: str, timeout_s: float | None) -> None:
        self._find = find
        self._label = label
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(FILES_MAX)

    async def read(self, image: wire.ImageInfo) -> bytes:
        """The whole file. Raises Refused: file_too_large, file_broken, and as `_copy`."""
        if image.size_bytes > IN_MEMORY_BYTES_MAX:
            text = f"The file has {image.size_bytes:,} bytes; at most {IN_MEMORY_BYTES_MAX:,} are read into memory."
            raise Refused("file_too_large", text, hint="Use `save_file`, which writes it to a disk.")
        with io.BytesIO() as file:
            await self._copy(image, file)
            return file.getvalue()

    async def save(self, image: wire.ImageInfo, to: str | os.PathLike[str]) -> Path:
        """Write the file beside its place, and move it there once it is whole and on the disk. Returns the place.

        `to`: a folder, in which it gets its own name, or the path of the file. Raises Refused as `_copy`, OSError.
        """
        path = await asyncio.to_thread(_place, os.fspath(to), f"{image.name}.{image.extension}")
        part = path.with_name(f".comfyledger-{secrets.token_hex(8)}.part")
        file = await _made(part)
        try:
            with file:
                await self._copy(image, file)
                await asyncio.to_thread(_sync, file)
            await asyncio.to_thread(os.replace, part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        return path

    async def thumbnail(self, image: str, size: Size) -> bytes:
        """A WebP, by a name of the image. Raises Refused with the daemon's reason; Refused(not_running, timeout)."""
        tries = Tries(self._timeout_s)
        while True:
            address = self._find()
            try:
                async with self._turns:
                    return await self._small_picture(address, image, size)
            except Refused as refusal:
                trouble = refusal
            except TimeoutError as error:
                raise Refused("timeout") from error
            except (OSError, EOFError, HTTPException) as error:
                trouble = why_not(address, error)
            await tries.wait(trouble)

    async def _small_picture(self, address: Address, image: str, size: Size) -> bytes:
        """Raises OSError, EOFError, HTTPException, Refused."""
        async with http_connection(address) as (reader, writer):
            target = f"/v1/images/{quote(image)}/thumbnail?size={size}"
            writer.write(request_head("GET", target, address, self._label))
            async with asyncio.timeout(ANSWER_S):
                status, headers, _ = await read_head(reader)
            if status != 200:
                raise refusal_in(address, status, await _small(reader))
            length = headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit() and len(length) < 9 and int(length) <= THUMBNAIL_BYTES_MAX):
                raise HTTPException("the answer has no length, or too large a one")
            return b"".join([piece async for piece in _body(reader, headers, int(length))])

    async def _copy(self, image: wire.ImageInfo, file: BinaryIO) -> None:
        """Raises Refused with the daemon's reason; Refused(not_running, timeout, file_broken), OSError of the file."""
        tries, copy = Tries(self._timeout_s), Copy(file)
        while True:
            before, address = copy.size_bytes, self._find()
            try:
                async with self._turns:
                    await self._receive(address, image, copy)
                break
            except Refused as refusal:
                trouble = refusal
            except Unwritable as unwritable:
                raise unwritable.error from unwritable
            except TimeoutError as error:
                raise Refused("timeout") from error
            except (OSError, EOFError, HTTPException) as error:
                trouble = why_not(address, error)
            if copy.size_bytes > before:
                tries.succeed()
            await tries.wait(trouble)
        if copy.sha256 != image.sha256:
            raise _broken(f"sha256 {copy.sha256} and not {image.sha256}")

    async def _receive(self, address: Address, image: wire.ImageInfo, copy: Copy) -> None:
        """What is still missing of the file. Raises OSError, EOFError, HTTPException, Refused, Unwritable."""
        rest = [f"Range: bytes={copy.size_bytes}-", f'If-Range: "{image.sha256}"'] if copy.size_bytes else []
        async with http_connection(address) as (reader, writer):
            writer.write(request_head("GET", f"/images/{quote(image.public_id)}", address, self._label, *rest))
            async with asyncio.timeout(ANSWER_S):
                status, headers, _ = await read_head(reader)
            if status not in {200, 206}:
                raise refusal_in(address, status, await _small(reader))
            if status == 200 and copy.size_bytes:
                await asyncio.to_thread(copy.restart)
            left = image.size_bytes - copy.size_bytes
            if headers.get("Content-Length", str(left)) != str(left):
                raise _broken(f"{headers['Content-Length'][:20]} bytes and not {left}")
            async for piece in _body(reader, headers, left):
                await asyncio.to_thread(copy.add, piece)


async def _body(reader: asyncio.StreamReader, headers: Message, size_bytes: int) -> AsyncIterator[bytes]:
    """So many bytes, piece by piece. Raises EOFError, TimeoutError, HTTPException."""
    is_chunked = headers.get("Transfer-Encoding", "").strip().lower() == "chunked"
    in_chunk = 0 if is_chunked else size_bytes
    while size_bytes > 0:
        async with asyncio.timeout(STALL_S):
            if not in_chunk:
                in_chunk = await _chunk(reader)
            piece = await reader.read(min(PIECE_BYTES, in_chunk, size_bytes))
            if not piece:
                raise EOFError("the connection ended before the file")
            in_chunk -= len(piece)
            if is_chunked and not in_chunk:
                await reader.readexactly(2)
        size_bytes -= len(piece)
        yield piece


async def _chunk(reader: asyncio.StreamReader) -> int:
    """The size of the next chunk; its first line may have extensions. (RFC 9112, 7.1)"""
    line = await reader.readline()
    try:
        return int(line.partition(b";")[0].strip(), 16)
    except ValueError as error:
        raise HTTPException("a chunk of the answer has no size") from error


async def _small(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer that is no file, to its end."""
    body = b""
    async with asyncio.timeout(STALL_S):
        while len(body) < REFUSAL_BYTES_MAX and (piece := await reader.read(PIECE_BYTES)):
            body += piece
    return body


def _place(to: str, name: str) -> Path:
    """The path of the file. The daemon's name is no path: it cannot lead out of the folder."""
    is_folder = os.path.isdir(to) or to.endswith(os.sep)
    return Path(to) / Path(name).name if is_folder else Path(to)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _broken(why: str) -> Refused:
    hint = "Call it again. If it stays so, something between client and daemon changes files."
    return Refused("file_broken", f"What arrived has {why}.", hint=hint)
