"""The thumbnails that were made, as files below the state folder: `<batch_id>/<index>-<size>.webp`.

Behind the WebP a file has 32 bytes, a SHA-256 of the WebP and of what it was made from. So a damaged file, one of
another image and one of an older release are told apart from a good one; they are made again. All of it can be deleted
at any time. Everything here blocks, and is called by one thread at a time, except `read`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from comfyledger.durable import write_whole
from comfyledger.workers.thumbnails.sizes import SIDES, Size

DRAWN_AS: Final = b"comfyledger thumbnail 1\n"
"""Changes when thumbnails are drawn differently, so that those of before are made again."""
DIGEST_BYTES: Final = 32
BLOCK_BYTES: Final = 4_096
"""What a file takes is a multiple of it, so the quota bounds the number of files too."""
NAME: Final = re.compile(r"([1-9][0-9]{0,14})-(?:small|large)\.webp")
BATCH: Final = re.compile(r"[0-9A-Z]{26}")


class Kept(NamedTuple):
    """A file of the cache. `used_ns`: when it was last read or written."""

    path: Path
    cost: int
    used_ns: int


class Cache:
    """The files below one folder, together at most `quota_bytes`. Those that were used longest ago make room."""

    def __init__(self, folder: Path, quota_bytes: int) -> None:
        self.folder = folder
        self.used_bytes = 0
        """What all files take, as far as they were counted. `count` does that."""
        self._quota_bytes = quota_bytes

    def read(self, batch_id: str, index: int, size: Size, sha256: str) -> bytes | None:
        """The WebP of an image whose bytes have this SHA-256, if there is a good one. It counts as used now."""
        path = self._path(batch_id, index, size)
        with suppress(OSError):
            content = path.read_bytes()
            webp, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
            if webp and digest == _digest(webp, sha256):
                os.utime(path)
                return webp
        return None

    def keep(self, batch_id: str, index: int, size: Size, sha256: str, webp: bytes) -> None:
        """Put a WebP in its place whole, and make room if all together are above the quota. Raises OSError."""
        path = self._path(batch_id, index, size)
        for folder in (self.folder, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        before = _cost_of(path)
        write_whole(path, webp + _digest(webp, sha256), lambda _: None)
        self.used_bytes += _cost_of(path) - before
        if self.used_bytes > self._quota_bytes:
            self._make_room()

    def remove(self, batch_id: str, indexes: Iterable[int] = ()) -> None:
        """Delete the thumbnails of these images, or of all images of a batch. Raises OSError."""
        folder = self.folder / batch_id
        names = [f"{index}-{size}.webp" for index in indexes for size in SIDES] or self._names(batch_id)
        for name in names:
            self._unlink(folder / name)
        with suppress(OSError):  # others are in it, or it never was
            folder.rmdir()

    def batches(self) -> list[str]:
        """The batches that have thumbnails. Raises OSError."""
        with suppress(FileNotFoundError):
            return [name for name in os.listdir(self.folder) if BATCH.fullmatch(name)]
        return []

    def clear(self, batch_id: str, kept: frozenset[int]) -> None:
        """Delete what is in the folder of a batch and is not of these images. Raises OSError."""
        for name in self._names(batch_id):
            found = NAME.fullmatch(name)
            if found is None or int(found[1]) not in kept:
                self._unlink(self.folder / batch_id / name)
        with suppress(OSError):
            (self.folder / batch_id).rmdir()

    def count(self) -> None:
        """Find out what all files take. Raises OSError."""
        self.used_bytes = sum(kept.cost for kept in self._files())

    def _make_room(self) -> None:
        """Down to nine tenths of the quota, so that this is done seldom."""
        files = sorted(self._files(), key=lambda kept: kept.used_ns)
        self.used_bytes = sum(kept.cost for kept in files)
        for kept in files:
            if self.used_bytes <= self._quota_bytes // 10 * 9:
                break
            self._unlink(kept.path)
            with suppress(OSError):
                kept.path.parent.rmdir()

    def _unlink(self, path: Path) -> None:
        cost = _cost_of(path)
        path.unlink(missing_ok=True)
        self.used_bytes -= cost

    def _path(self, batch_id: str, index: int, size: Size) -> Path:
        return self.folder / batch_id / f"{index}-{size}.webp"

    def _names(self, batch_id: str) -> list[str]:
        with suppress(FileNotFoundError):
            return os.listdir(self.folder / batch_id)
        return []

    def _files(self) -> Iterator[Kept]:
        for batch_id in self.batches():
            for name in self._names(batch_id):
                path = self.folder / batch_id / name
                with suppress(FileNotFoundError):
                    yield Kept(path, _cost_of(path), path.stat().st_mtime_ns)


def _digest(webp: bytes, sha256: str) -> bytes:
    return hashlib.sha256(DRAWN_AS + sha256.encode() + webp).digest()


def _cost_of(path: Path) -> int:
    """The bytes that a file takes on the disk; 0 if there is none."""
    try:
        return -(-path.lstat().st_size // BLOCK_BYTES) * BLOCK_BYTES
    except FileNotFoundError:
        return 0
