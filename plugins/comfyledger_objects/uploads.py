"""Storing one file: read and compared with what was recorded, sent in one request or in parts, and never over another.

Files of at most 16 MiB are read whole and sent in one request. Larger ones are sent in parts, of which a few
are in memory at a time; the condition is on the request that completes the upload. A server that has no condition for
that, but one for copies, gets the parts under another key first. One that has neither gets a large file in one request
too: it is then in memory as a whole, so one at a time, and up to a limit.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final, Literal
from weakref import WeakValueDictionary

from comfyledger.plugin_api import Deposit, ImageFault, LaneFault, Outcome, Stored, StoreTrouble
from comfyledger_objects.bucket import WHOLE_BYTES_MAX, Bucket, Source
from comfyledger_objects.buffers import Buffers
from comfyledger_objects.calls import Calls, Closed
from comfyledger_objects.keys import aside_key
from comfyledger_objects.metadata import Found, attributes_of, collision, likeness, md5_by_etag, replayed
from comfyledger_objects.options import Options

ONE_REQUEST_BYTES_MAX: Final = 536_870_912
CONFLICT_TRIES: Final = 3
CONFLICT_DELAY_S: Final = 0.5
TAKEN: Final = ("AlreadyExistsError", "PreconditionError", "Taken")
Way = Literal["parts", "copy", "whole"]
"""How large files are sent: in parts, in parts that are copied, in one request."""


class Altered(Exception):
    """The file in the spool is missing or has other bytes than were recorded."""


class Unreadable(Exception):
    """The file in the spool cannot be read."""


class Uploads:
    """Uploads into one bucket. `way`: how the server can take a large file without overwriting another one."""

    def __init__(self, options: Options, bucket: Bucket, calls: Calls) -> None:
        self._options, self._bucket, self._calls = options, bucket, calls
        self._places = asyncio.Semaphore(options.uploads_concurrent_max)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._large = asyncio.Lock()
        self.way: Way = "parts"

    def turn(self, key: str) -> asyncio.Lock:
        """Held by whoever changes the object with this key."""
        return self._turns.setdefault(key, asyncio.Lock())

    async def put(self, deposit: Deposit, key: str, url: str) -> Outcome:
        async with self.turn(key):
            way = self.way  # which may change while the file waits
            async with self._alone(deposit, way), self._places:
                try:
                    return await self._put(deposit, key, url, way)
                except Altered as error:
                    return ImageFault("altered", str(error))
                except Unreadable as error:
                    return LaneFault("unknown", f"The file in the spool cannot be read: {error}")
                except StoreTrouble as trouble:
                    return trouble.fault

    def _alone(self, deposit: Deposit, way: Way) -> AbstractAsyncContextManager[None]:
        """What a file waits for that is in memory whole. It takes no place from small files meanwhile."""
        is_alone = deposit.size_bytes > WHOLE_BYTES_MAX and way == "whole"
        return self._large if is_alone else nullcontext()

    async def _put(self, deposit: Deposit, key: str, url: str, way: Way) -> Outcome:
        attributes = attributes_of(deposit, self._options)
        if self._options.asks_first and (there := await self._there(deposit, key, url)) is not None:
            return there
        if deposit.size_bytes <= WHOLE_BYTES_MAX or way == "whole":
            if deposit.size_bytes > ONE_REQUEST_BYTES_MAX:
                return ImageFault("refused", _too_large(deposit))
            content = await asyncio.to_thread(whole, deposit, self._bucket.buffers)
            return await self._sent(deposit, key, url, lambda: self._bucket.create(key, content, attributes))
        source = Source(deposit.size_bytes, partial(pieces, deposit))
        if way == "parts":
            return await self._sent(deposit, key, url, lambda: self._bucket.create_in_parts(key, source, attributes))
        aside = aside_key(self._options.prefix, key, attributes)
        return await self._sent(deposit, key, url, lambda: self._bucket.create_by_copy(key, aside, source, attributes))

    async def _sent(self, deposit: Deposit, key: str, url: str, send: Callable[[], Awaitable[None]]) -> Outcome:
        """Send until the key has an object: ours, or another one."""
        for tries in range(1, CONFLICT_TRIES + 1):
            try:
                await send()
                return Stored(url)
            except (Altered, Unreadable):
                raise
            except Exception as error:
                if type(error).__name__ not in TAKEN:
                    return await self._after_fault(deposit, key, url, self._calls.fault_of_upload(error))
            there = await self._there(deposit, key, url)
            if there is not None:
                return there
            if tries < CONFLICT_TRIES:  # Another upload of the key was given up, or this server's answers are late.
                await asyncio.sleep(CONFLICT_DELAY_S)
        return LaneFault("unknown", f"The server says that {key} is taken, and does not have it.")

    async def _after_fault(self, deposit: Deposit, key: str, url: str, fault: LaneFault | ImageFault) -> Outcome:
        """After an unclear error the object may be there: then that counts, and else the fault."""
        if fault.code != "unknown":
            return fault
        try:
            return await self._there(deposit, key, url) or fault
        except StoreTrouble:
            return fault

    async def _there(self, deposit: Deposit, key: str, url: str) -> Outcome | None:
        """What the object with this key means for a file; None if there is none. Raises StoreTrouble."""
        try:
            found = await self._calls.look(key)
        except FileNotFoundError:
            return None
        try:
            if await self.is_ours(found, deposit.size_bytes, deposit.sha256, deposit.md5):
                return replayed(deposit, url)
        except Closed as closed:
            return ImageFault("collision", closed.fault.text)
        return collision(deposit, found)

    async def is_ours(self, found: Found, size_bytes: int, sha256: str, md5: str) -> bool:
        """Whether an object has these bytes. They are read if nothing else can tell, or if its etag may contradict its
        metadata, which another program can have copied. Raises StoreTrouble.
        """
        like = likeness(found, size_bytes, sha256, md5)
        is_doubtful = like == "ours" and md5 and md5_by_etag(found) not in {"", md5}
        if like != "unknown" and not is_doubtful:
            return like == "ours"
        digest = hashlib.sha256()
        async for piece in self._calls.read(found):
            await asyncio.to_thread(digest.update, piece)
        return digest.hexdigest() == sha256


def whole(deposit: Deposit, buffers: Buffers) -> memoryview:
    """The bytes of a file, in memory once. Raises Altered, Unreadable."""
    content, read = buffers.of(deposit.size_bytes), 0
    with _opened(deposit.path) as file:
        while read < len(content) and (count := file.readinto(content[read:])):
            read += count
        is_whole = read == len(content) and not file.read(1)
    if not is_whole or hashlib.sha256(content).hexdigest() != deposit.sha256:
        raise Altered(_not_as_recorded(deposit.path))
    return content


def pieces(deposit: Deposit, piece_bytes: int) -> Iterator[bytes]:
    """The bytes of a file as they are read. Raises Altered before the last piece if they are others; Unreadable."""
    digest, left = hashlib.sha256(), deposit.size_bytes
    with _opened(deposit.path) as file:
        while True:
            piece = file.read(min(left, piece_bytes))
            left -= len(piece)
            digest.update(piece)
            if (left and not piece) or (not left and (file.read(1) or digest.hexdigest() != deposit.sha256)):
                raise Altered(_not_as_recorded(deposit.path))
            yield piece
            if not left:
                return


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """A file of the spool. What goes wrong with it comes out as Altered or Unreadable."""
    try:
        with FileIO(path) as file:
            yield file
    except FileNotFoundError as error:
        raise Altered(f"{_not_as_recorded(path)} It is missing.") from error
    except OSError as error:
        raise Unreadable(str(error)) from error


def _not_as_recorded(path: Path) -> str:
    return f"{path} does not hold the bytes that were recorded."


def _too_large(deposit: Deposit) -> str:
    return (
        f"The file has {deposit.size_bytes:,} bytes. This server has no upload in parts that never overwrites, and "
        f"in one request files of at most {ONE_REQUEST_BYTES_MAX:,} bytes are sent."
    )
