"""The bytes of a kept image, for reading: from the spool, else from the box of the fleet that keeps it, else from a
store that has it.

The open file itself is compared with what was pinned, a large one once and again after each change. So a file that was
altered, or that another process removes meanwhile, is never returned as the image. A copy from elsewhere is a temporary
file that is deleted with its reader, a large one a minute after its last; it does not go back into the spool. The
number of copies and readers at one time is bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final
from weakref import WeakValueDictionary

import structlog

from comfyledger.core.rows import ImageRow
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.plugin_api import StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.fleet.peers import PeerAway, Peers
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.resolve import name_in, same_place

READERS_MAX: Final = 32
COPIES_MAX: Final = 4
COPY_S: Final = 60.0
"""Time limit for one copy from a store, to which its size adds at this rate."""
COPY_LEAST_BYTES_S: Final = 1_048_576
LARGE_BYTES: Final = 16 * 1_048_576
"""A file above this is compared with what was pinned once, and again after it has changed. A player asks for pieces of
a video many times, and each comparison of a large one takes seconds."""
COMPARED_MAX: Final = 256

COPIES_KEPT: Final = 2
KEPT_S: Final = 60.0
"""How long a large copy stays after it was last read."""

log = structlog.get_logger("comfyledger.pictures")


class Copies:
    """Large copies from stores that stay open for a while. They have no name, so none outlives the daemon."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[IO[bytes], asyncio.TimerHandle]] = {}
        """By sha256; the one that was read last is the last."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, sha256: str) -> asyncio.Lock:
        """Held while somebody looks for a copy or makes it, so that it is made once."""
        return self._turns.setdefault(sha256, asyncio.Lock())

    def find(self, sha256: str) -> Path | None:
        """A path that opens the copy anew, while this process lives."""
        if sha256 not in self._open:
            return None
        file, timer = self._open.pop(sha256)
        timer.cancel()
        return self.keep(sha256, file)

    def keep(self, sha256: str, file: IO[bytes]) -> Path:
        """Keep a copy for `KEPT_S` from now, and no more than `COPIES_KEPT` of them."""
        self._open[sha256] = (file, asyncio.get_running_loop().call_later(KEPT_S, self._close, sha256))
        for other in list(self._open)[:-COPIES_KEPT]:
            self._close(other)
        return Path(f"/proc/self/fd/{file.fileno()}")

    def _close(self, sha256: str) -> None:
        file, timer = self._open.pop(sha256)
        timer.cancel()
        file.close()


class FileSource:
    """The images of one daemon, as files to be read."""

    def __init__(
        self, stores: Mapping[str, OpenedStore], reader: Reader, spool: Spool, peers: Peers | None = None
    ) -> None:
        """`peers`: the other boxes of the fleet, if there is one."""
        self._stores = stores
        self._peers = peers
        self._reader = reader
        self._spool = spool
        self._copies = asyncio.Semaphore(COPIES_MAX)
        self._kept = Copies()
        self._readers = 0
        self._compared: dict[tuple[int, ...], str] = {}
        """The sha256 of large files of the spool, by what of a file changes with its bytes. Used in the loop alone."""

    @asynccontextmanager
    async def open(self, image: ImageRow) -> AsyncIterator[BinaryIO]:
        """An open file with exactly the bytes that were pinned, at its beginning.

        Raises Refused: busy; unknown_image if neither the spool nor a store has the bytes; store_unavailable if a store
        that may have them cannot answer; box_away if a box that keeps them cannot.
        """
        if self._readers >= READERS_MAX:
            hint = "Repeat the request in a moment."
            raise Refused("busy", f"{READERS_MAX} images are being read already.", hint=hint, retry_after_s=1.0)
        self._readers += 1
        try:
            file = await self._in_spool(image) or await self._copied(image)
            try:
                yield file
            finally:
                file.close()
        finally:
            self._readers -= 1

    @asynccontextmanager
    async def own(self, image: ImageRow) -> AsyncIterator[BinaryIO | None]:
        """An open file from this box's own spool; None if it is not there with these bytes. Raises Refused(busy)."""
        file = await self._in_spool(image)
        try:
            yield file
        finally:
            if file is not None:
                file.close()

    async def address(self, image: ImageRow) -> str:
        """Where a store itself serves an image that the spool no longer holds, as an https URL; else empty.

        Some addresses are recorded with the image; others are signed by the store now, and end after a while.
        """
        if await self.is_in_spool(image):
            return ""
        stored = [one for one in image.uploads if one.state == "stored"]
        for upload in stored:
            if upload.url.startswith("https://"):
                return upload.url
        for upload in stored:
            opened = self._stores.get(upload.store)
            store = opened.guarded if opened is not None else None
            if store is not None and (address := await store.file_url(upload.url)):
                return address
        return ""

    async def is_in_spool(self, image: ImageRow) -> bool:
        """Whether the spool has a file of an image. Its bytes are not looked at."""
        return await asyncio.to_thread(self._spool.path_of(image.batch_id, image.index, image.extension).exists)

    async def _in_spool(self, image: ImageRow) -> BinaryIO | None:
        return await self._compare(self._spool.path_of(image.batch_id, image.index, image.extension), image)

    async def _compare(self, path: Path, image: ImageRow) -> BinaryIO | None:
        file = await asyncio.to_thread(_whole, path, image, dict(self._compared))
        if file is not None and image.size_bytes > LARGE_BYTES:
            self._compared[_identity(file)] = image.sha256
            for known in list(self._compared)[:-COMPARED_MAX]:
                del self._compared[known]
        return file

    async def _copied(self, image: ImageRow) -> BinaryIO:
        """A copy from a store, or one of a short while ago."""
        async with self._kept.turn(image.sha256):
            path = self._kept.find(image.sha256)
            file = await self._compare(path, image) if path is not None else None
            return file or await self._copy(image)

    async def _copy(self, image: ImageRow) -> BinaryIO:
        """From the box that keeps it, else from a store."""
        away = ""
        if self._peers is not None and self._peers.keeps(image):
            try:
                async with self._copies, asyncio.timeout(_copy_s(image)):
                    file = await self._from_box(self._peers, image)
            except (PeerAway, TimeoutError) as error:
                away = str(error) or f"The box {image.box} sends too slowly."
                log.info("image.box_away", box=image.box, error=away)
            else:
                if file is not None:
                    return file
        return await self._from_stores(image, away)

    async def _from_box(self, peers: Peers, image: ImageRow) -> BinaryIO | None:
        """Raises PeerAway."""
        with tempfile.NamedTemporaryFile(prefix="comfyledger-") as copy:
            return await self._taken(copy, image) if await peers.copy_image(image, Path(copy.name)) else None

    async def _taken(self, copy: IO[bytes], image: ImageRow) -> BinaryIO | None:
        """A copy that was made, if it has the bytes. A large one stays for a while."""
        file = await self._compare(Path(copy.name), image)
        if file is not None and image.size_bytes > LARGE_BYTES:
            self._kept.keep(image.sha256, os.fdopen(os.dup(file.fileno()), "rb"))
        return file

    async def _from_stores(self, image: ImageRow, away: str) -> BinaryIO:
        """`away`: why the box that keeps it could not be asked."""
        batch = await self._reader.batch(image.batch_id)
        in_trouble = False
        for ref in batch.stores if batch is not None else ():
            try:
                async with self._copies, asyncio.timeout(_copy_s(image)):
                    file = await self._from_store(image, ref)
            except (StoreTrouble, TimeoutError) as trouble:
                log.info("image.source_in_trouble", store=ref.name, error=str(trouble)[:300])
                in_trouble = True
            else:
                if file is not None:
                    return file
        if in_trouble:
            hint = "Repeat the request later; `comfyledger status` shows the store's problem."
            raise Refused("store_unavailable", hint=hint, retry_after_s=5.0)
        if away:
            hint = "Repeat the request later; `comfyledger status` shows the boxes."
            raise Refused("box_away", away, hint=hint, retry_after_s=5.0)
        hint = "`comfyledger recover --missing` asks the stores and restores what they have lost."
        raise Refused("unknown_image", "The image's bytes are neither in the spool nor in a store.", hint=hint)

    async def _from_store(self, image: ImageRow, ref: StoreRef) -> BinaryIO | None:
        """A store's copy, if the store is the same place as when it took the image. Raises StoreTrouble."""
        upload, store = image.upload(ref.name), same_place(self._stores.get(ref.name), ref)
        if upload is None or upload.state != "stored" or store is None:
            return None
        name = name_in(image, ref.name)
        held = await store.check(name, image.extension)
        if held is None or held.size_bytes != image.size_bytes:
            return None
        with tempfile.NamedTemporaryFile(prefix="comfyledger-") as copy:
            await store.fetch(name, image.extension, Path(copy.name))
            return await self._taken(copy, image)


def _copy_s(image: ImageRow) -> float:
    return COPY_S + image.size_bytes / COPY_LEAST_BYTES_S


def _whole(path: Path, image: ImageRow, compared: Mapping[tuple[int, ...], str]) -> BinaryIO | None:
    """The open file, if its bytes are those that were pinned; else None. `compared`: files whose sha256 is known."""
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            before = _identity(file)
            if os.fstat(file.fileno()).st_size != image.size_bytes:
                return None
            sha256 = compared.get(before) or hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 == image.sha256 and _identity(file) == before:
                file.seek(0)
                stack.pop_all()
                return file
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("image.unreadable", batch_id=image.batch_id, image=image.index, error=error.strerror)
    return None


def _identity(file: BinaryIO) -> tuple[int, ...]:
    """What is the same as long as nobody has written to a file or put another in its place."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
