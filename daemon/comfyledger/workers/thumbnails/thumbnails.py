"""The thumbnail of an image: from the cache, or made now, once for all who ask for it at the same time.

How many are waited for is bounded, and so is how many files are open for it: files of stores may be slow to come. The
drawing itself has processes of its own (`draw`). A file of which no thumbnail can be made is not tried again for a
while. Nothing here is recorded: thumbnails can always be made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final, NamedTuple

import structlog

from comfyledger.core.rows import ImageRow
from comfyledger.errors import Refused
from comfyledger.ledger.ports import ImageFilter, Reader
from comfyledger.limited_process.parent import Closed, Ended, LimitedProcess, NotStarted, TooSlow
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.thumbnails import exchange
from comfyledger.workers.thumbnails.cache import Cache
from comfyledger.workers.thumbnails.sizes import PIXELS_MAX, SIDES, VIDEOS, Size, is_drawn

DRAW_S: Final = 30.0
"""For one file, on a machine that is busy. The process itself takes ten seconds of processor time at most."""
PROCESSES: Final = 2
"""A file that takes long must not stop all others."""
OPEN_MAX: Final = 8
"""Files that are open at one time, or on their way from a store: a part of what `FileSource` lets anybody read."""
WAITING_MAX: Final = 64
"""Thumbnails that are being made or wait for it: those of a page. More are refused with `busy`."""
FAILED_S: Final = 600.0
"""How long a failure is remembered."""
FAILED_MAX: Final = 1_024
IMAGES_MAX: Final = 10_000
"""Of one batch; no batch is larger."""

_REASONS: Final = {
    "pixels": f"The picture has more than {PIXELS_MAX:,} pixels.",
    "memory": "The picture takes more memory than it may.",
    "broken": "The file cannot be decoded.",
}
_FAILED_HINT: Final = "The file itself can be had: `GET /v1/images/{image}/file`."
_VIDEO_HINT: Final = "Install the extra `video` of comfyledger, and restart the daemon."

log = structlog.get_logger("comfyledger.thumbnails")

Key = tuple[str, int, Size]


class Failure(NamedTuple):
    """Why there is no thumbnail, and until when that is believed, by the clock of the event loop."""

    code: str
    text: str
    until_s: float

    def refusal(self) -> Refused:
        return Refused(self.code, self.text, hint=_FAILED_HINT)


class Thumbnails:
    """The thumbnails of one daemon, in one event loop. `may_keep`: whether the disk has room for the cache.

    Run `sweep` once at the start, and close it at the end.
    """

    def __init__(self, source: FileSource, reader: Reader, cache: Cache, may_keep: Callable[[], bool]) -> None:
        self._source = source
        self._reader = reader
        self._cache = cache
        self._may_keep = may_keep
        self._making: dict[Key, asyncio.Task[bytes]] = {}
        self._open = asyncio.Semaphore(OPEN_MAX)
        self._disk = asyncio.Lock()
        """Held while a file of the cache comes or goes."""
        self._failed: dict[str, Failure] = {}
        """By the SHA-256 of the file."""
        self._processes = [
            LimitedProcess("comfyledger.workers.thumbnails", task_s=DRAW_S, takes_files=True) for _ in range(PROCESSES)
        ]
        self._idle: asyncio.LifoQueue[LimitedProcess] = asyncio.LifoQueue()
        for process in self._processes:
            self._idle.put_nowait(process)
        self.counts = {"made": 0, "cached": 0, "failed": 0}

    @property
    def cached_bytes(self) -> int:
        return self._cache.used_bytes

    async def thumbnail(self, image: ImageRow, size: Size) -> bytes:
        """The WebP of an image that has bytes and is not forgotten.

        Raises Refused: thumbnail_unsupported for a kind of file that has none, thumbnail_failed for a file of which
        none can be made, busy, not_running, and as `FileSource.open`.
        """
        check_kind(image.extension)
        cached = await asyncio.to_thread(self._cache.read, image.batch_id, image.index, size, image.sha256)
        if cached is not None:
            self.counts["cached"] += 1
            return cached
        self._check_not_failed(image)
        return await asyncio.shield(self._task(image, size))

    async def forget(self, batch_id: str, indexes: tuple[int, ...] = ()) -> None:
        """Delete the thumbnails of images, or of a whole batch. Call it when the ledger has forgotten them."""
        async with self._disk:
            try:
                await asyncio.to_thread(self._cache.remove, batch_id, indexes)
            except OSError as error:
                log.warning("thumbnail.not_deleted", batch_id=batch_id, error=str(error))

    async def sweep(self) -> None:
        """Delete what a crash or a restore left: thumbnails of images that are forgotten or unknown to the ledger."""
        with suppress(OSError, Refused):  # the next start looks again
            for batch_id in await asyncio.to_thread(self._cache.batches):
                async with self._disk:
                    rows = await self._reader.images(ImageFilter(batch_id=batch_id, limit=IMAGES_MAX))
                    kept = frozenset(row.index for row in rows if row.sha256 and not row.is_forgotten)
                    await asyncio.to_thread(self._cache.clear, batch_id, kept)
            async with self._disk:
                await asyncio.to_thread(self._cache.count)

    async def close(self) -> None:
        """End what is being made."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in self._processes:
            await process.close()

    # ---- making

    def _task(self, image: ImageRow, size: Size) -> asyncio.Task[bytes]:
        """The task that makes a thumbnail: it goes on if whoever asked for it leaves."""
        key = (image.batch_id, image.index, size)
        task = self._making.get(key)
        if task is None:
            if len(self._making) >= WAITING_MAX:
                raise _busy(f"{WAITING_MAX} thumbnails are being made already.")
            task = self._making[key] = asyncio.create_task(self._made(image, size))
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def _ended(self, key: Key, task: asyncio.Task[bytes]) -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # otherwise asyncio would report it if nobody waits any more

    async def _made(self, image: ImageRow, size: Size) -> bytes:
        async with self._open, self._source.open(image) as file:
            try:
                webp = await self._drawn(file, image, size)
            except Failed as failed:
                raise self._remembered(image, failed).refusal() from None
        await self._keep(image, size, webp)
        self.counts["made"] += 1
        return webp

    async def _drawn(self, file: BinaryIO, image: ImageRow, size: Size) -> bytes:
        """Raises Failed, Refused."""
        if image.width * image.height > PIXELS_MAX:
            raise Failed(_REASONS["pixels"])
        task = exchange.Task(image.extension, SIDES[size]).frame()
        process = await self._idle.get()
        try:
            kind, content = await process.ask(lambda _: (task,), file)
        except (TooSlow, Ended) as why:
            raise Failed(f"The picture could not be drawn {why}.") from None
        except NotStarted:
            raise _busy("The process that draws thumbnails could not be started.") from None
        except Closed:
            raise Refused("not_running") from None
        finally:
            self._idle.put_nowait(process)
        if kind == exchange.REASON:
            reason = content.decode()
            raise Unsupported(image.extension) if reason == "codec" else Failed(_REASONS[reason])
        return content

    async def _keep(self, image: ImageRow, size: Size, webp: bytes) -> None:
        """Put it into the cache, unless the image was forgotten meanwhile. Raises Refused(unknown_image)."""
        async with self._disk:
            now = await self._reader.image(image.batch_id, image.index)
            if now is None or now.is_forgotten:
                raise Refused("unknown_image", "The image was forgotten.")
            if not self._may_keep():
                return
            try:
                await asyncio.to_thread(self._cache.keep, image.batch_id, image.index, size, image.sha256, webp)
            except OSError as error:
                log.warning("thumbnail.not_kept", batch_id=image.batch_id, image=image.index, error=str(error))

    # ---- failures

    def _check_not_failed(self, image: ImageRow) -> None:
        failure = self._failed.get(image.sha256)
        if failure is not None:
            if asyncio.get_running_loop().time() < failure.until_s:
                raise failure.refusal()
            del self._failed[image.sha256]

    def _remembered(self, image: ImageRow, failed: Failed) -> Failure:
        until_s = asyncio.get_running_loop().time() + FAILED_S
        failure = self._failed[image.sha256] = Failure(failed.code, str(failed), until_s)
        for known in list(self._failed)[:-FAILED_MAX]:
            del self._failed[known]
        self.counts["failed"] += 1
        log.info("thumbnail.failed", batch_id=image.batch_id, image=image.index, error=str(failed))
        return failure


class Failed(Exception):
    """No thumbnail can be made of a file. Its argument is a sentence."""

    code = "thumbnail_failed"


class Unsupported(Failed):
    """This installation cannot read the file. Its argument is the extension."""

    code = "thumbnail_unsupported"

    def __str__(self) -> str:
        return f"The Pillow of this installation cannot read {self.args[0]} files."


def check_kind(extension: str) -> None:
    """Raises Refused(thumbnail_unsupported)."""
    if is_drawn(extension):
        return
    if extension in VIDEOS:
        text, hint = "Thumbnails of videos need PyAV, which is not installed here.", _VIDEO_HINT
    else:
        text, hint = f"No thumbnail is made of {extension!r} files.", _FAILED_HINT
    raise Refused("thumbnail_unsupported", text, hint=hint)


def _busy(message: str) -> Refused:
    return Refused("busy", message, hint="Repeat the request in a moment.", retry_after_s=1.0)
