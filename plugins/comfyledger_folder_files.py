"""What the folder store does to single files: compare, sync, rename, delete. Facts of the disk only: which file is
meant and what is put where is said by `comfyledger_folder`."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from comfyledger.plugin_api import Deleted, Foreign, Held
from comfyledger_folder_pages import entries

UNSUPPORTED: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EMLINK, errno.ENOSYS})
KNOWN_MAX: Final = 10_000
"""Folders that are remembered: some 2 MB."""
SETTLED_NS: Final = 2_500_000_000
"""Longer than a tick of any file system's clock (FAT: 2 s)."""


def fold(name: str) -> str:
    """What a disk that ignores case and composition makes of a name."""
    return unicodedata.normalize("NFC", name).casefold()


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def holds(path: Path, extension: str, size_bytes: int, md5: str) -> bool:
    """Whether a file is of this kind and has these bytes. A link is not."""
    found = path.lstat()
    is_kin = stat.S_ISREG(found.st_mode) and path.suffix.lower() == f".{extension}"
    return is_kin and found.st_size == size_bytes and md5_of(path) == md5


def is_empty(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0


def sync(*paths: Path) -> None:
    """Put files and folders on stable storage, where the file system knows how to sync them."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        finally:
            os.close(file)


class Named:
    """Which folders are known to be on stable storage under their names, so that each is not synced for every file.

    A name is known for as long as the folder above it has not changed since it was synced. That is told by its ctime,
    which nobody can set; an inode would not do, since what was removed and made again may have the same. One that has
    changed just now may change once more within the same tick of the clock, and is not remembered yet. Safe to use from
    several threads at once.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._known: dict[Path, tuple[int, int, int]] = {}
        self._now_ns = now_ns

    def sync(self, folders: Sequence[Path]) -> None:
        """Sync those of these, each of which lies in the one before it, that hold an unknown name; always the last."""
        for above, folder in pairwise(folders):
            found = above.stat()
            state = found.st_dev, found.st_ino, found.st_ctime_ns
            if self._known.get(folder) != state:
                sync(above)
                self._remember(folder, state)
        sync(folders[-1])

    def _remember(self, folder: Path, state: tuple[int, int, int]) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        if self._now_ns() - state[2] > SETTLED_NS:
            self._known[folder] = state


def rename_noreplace(source: Path, target: Path) -> None:
    """Linux's renameat2 with RENAME_NOREPLACE. Raises OSError: ENOSYS without it, EINVAL where a disk has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(-100, os.fsencode(source), -100, os.fsencode(target), 1):  # AT_FDCWD twice, then RENAME_NOREPLACE
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def delete(folders: Iterable[Path], ours: Held, own: str) -> Deleted | Foreign:
    """Delete the file if it has our bytes, in every folder that has its name, and what an upload left behind.

    `own`: how the names of temporaries of this image begin. Raises OSError.
    """
    base = fold(ours.public_id.rpartition("/")[2])
    gone, others = list[Path](), list[Path]()
    for folder in folders:
        for entry in entries(folder):
            path = Path(entry.path)
            stem, _, extension = entry.name.rpartition(".")
            if entry.name.startswith(own):
                path.unlink(missing_ok=True)
            elif extension.lower() == ours.extension and fold(stem) == base:
                (gone if holds(path, ours.extension, ours.size_bytes, ours.md5) else others).append(path)
        for path in gone:
            path.unlink(missing_ok=True)
        sync(folder)
    if others and not gone:
        return Foreign(f"{others[0]} holds something else")
    return Deleted(found=bool(gone))
