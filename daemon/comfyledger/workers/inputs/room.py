"""What a file may be, what all inputs may take together, and whether their disk has room for another one."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.errors import ComfyledgerError
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.spool.disk_guard import in_words

LOOK_EVERY_BYTES: Final = 16 * 1_048_576
"""After so many bytes of a file the disk is looked at again."""


class Bounds(msgspec.Struct, frozen=True):
    """What a file may be, what all of them may take, and what must stay free on their disk, in bytes and pixels."""

    bytes_max: int
    pixels_max: int
    quota_bytes: int
    free_min_bytes: int


class NoRoom(ComfyledgerError):
    """There is no room for another file. `is_quota`: because of `quota_bytes`; else the disk is nearly full."""

    def __init__(self, message: str, *, is_quota: bool) -> None:
        self.message = message
        self.is_quota = is_quota
        super().__init__(message)


class Room:
    """The room of one folder of inputs."""

    def __init__(self, root: Path, bounds: Bounds) -> None:
        self._root = root
        self._bounds = bounds
        self.quota_bytes = bounds.quota_bytes

    def bytes_max(self, head: bytes) -> int:
        """How large a file may be that begins so."""
        return self._bounds.bytes_max

    async def check(self, size_bytes: int = 0) -> None:
        """Whether a file of so many bytes may come. Raises Broken if it is too large, NoRoom if the disk would be
        nearly full.
        """
        most, needed = self._bounds.bytes_max, self._bounds.free_min_bytes
        if size_bytes > most:
            raise Broken("too_large", f"The file is larger than {most} bytes.")
        free = await asyncio.to_thread(_free, self._root)
        if free - size_bytes < needed:
            beside = f" beside the file of {in_words(size_bytes)}" if size_bytes else ""
            text = (
                f"The disk of the inputs ({self._root}) has {in_words(free)} free and needs {in_words(needed)}{beside}."
            )
            raise NoRoom(text, is_quota=False)

    def check_quota(self, used_bytes: int, size_bytes: int) -> None:
        """Raises NoRoom if all files would take more than they may."""
        most = self.quota_bytes
        if used_bytes + size_bytes > most:
            text = f"Inputs take {in_words(used_bytes)} and may take {in_words(most)}"
            raise NoRoom(f"{text}; the file has {in_words(size_bytes)}.", is_quota=True)

    async def watched(self, chunks: AsyncIterator[bytes], digest: hashlib._Hash) -> AsyncGenerator[bytes, None]:
        """The same chunks. They are hashed, and the disk is looked at meanwhile. Raises NoRoom."""
        looked = 0
        async for chunk in chunks:
            digest.update(chunk)
            looked += len(chunk)
            if looked >= LOOK_EVERY_BYTES:
                looked = 0
                await self.check()
            yield chunk


def _free(folder: Path) -> int:
    """The bytes that are free for this user; 0 if the disk has gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
