"""What the folder store does to single files: compare, sync, rename, delete. Facts of the disk only: which file is
meant and what is put where is said by `comfyledger_folder.store`."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from comfyledger.plugin_api import Deleted, Foreign, Held
from comfyledger_folder.pages import as_text, entries

UNSUPPORTED: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EMLINK, errno.ENOSYS})


def fold(name: str) -> str:
    """What a disk that ignores case and composition makes of a name."""
    return unicodedata.normalize("NFC", as_text(name)).casefold()


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


def rename_noreplace(source: Path, target: Path) -> None:
    """Linux's renameat2 with RENAME_NOREPLACE. Raises OSError: ENOSYS without it, EINVAL where a disk has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(-100, os.fsencode(source), -100, os.fsencode(target), 1):  # AT_FDCWD twice, then RENAME_NOREPLACE
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def place_by_claim(temporary: Path, target: Path, announcement: Path) -> None:
    """Announce, make an empty file that must be new, rename over it. A crash leaves the rest to the next try.

    The caller lets one in at a time. Raises FileExistsError.
    """
    claimed = announcement.exists() and is_empty(target)
    try:
        announcement.touch()
        sync(announcement, announcement.parent)
        if not claimed:
            target.touch(exist_ok=False)
        claimed = True
        if not is_empty(target):
            raise FileExistsError(errno.EEXIST, "somebody else wrote to it", str(target))
        os.rename(temporary, target)
    finally:
        if claimed and is_empty(target):
            target.unlink()
        announcement.unlink(missing_ok=True)


def delete(folders: Iterable[Path], name: str, ours: Held, own: str) -> Deleted | Foreign:
    """Delete the file if it has our bytes, in every folder that has its name, and what an upload left behind.

    `name`: that of `ours` on the disk; `own`: how the names of temporaries of this image begin. Raises OSError.
    """
    base = fold(name.rpartition("/")[2])
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
        return Foreign(f"{as_text(str(others[0]))} holds something else")
    return Deleted(found=bool(gone))


def shown(path: Path) -> str:
    """A path for people: what is no text in it is replaced."""
    return as_text(str(path)).encode(errors="replace").decode()


def said(error: OSError) -> str:
    """What an error says, with its path as it is called on the disk; nothing of a timeout, which says nothing."""
    where = f": {shown(Path(str(error.filename)))!r}" if error.filename is not None else ""
    return f"[Errno {error.errno}] {error.strerror}{where}"[:500] if error.errno else str(error)[:500]
