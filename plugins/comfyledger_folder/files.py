"""Operations of the folder store on single files: compare, sync, rename, delete.

`comfyledger_folder.disk` decides which file goes where.
"""

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
    """A name as a disk compares it that ignores case and Unicode composition."""
    return unicodedata.normalize("NFC", as_text(name)).casefold()


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def holds(path: Path, extension: str, size_bytes: int, md5: str) -> bool:
    """Whether a file has this extension and these bytes. False for a link."""
    found = path.lstat()
    is_kin = stat.S_ISREG(found.st_mode) and path.suffix.lower() == f".{extension}"
    return is_kin and found.st_size == size_bytes and md5_of(path) == md5


def is_empty(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0


def sync(*paths: Path) -> None:
    """Put files and folders on stable storage, if the file system can sync them."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            sync_fd(file)
        finally:
            os.close(file)


def sync_fd(fd: int) -> None:
    """The same for an open one."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def write_all(fd: int, content: bytes) -> None:
    """A disk may take less of it at once."""
    written = 0
    while written < len(content):
        written += os.write(fd, content[written:] if written else content)


def rename_noreplace(source: Path, target: Path) -> None:
    """Linux's renameat2 with RENAME_NOREPLACE. Raises OSError: ENOSYS without it, EINVAL where a disk has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(-100, os.fsencode(source), -100, os.fsencode(target), 1):  # AT_FDCWD twice, then RENAME_NOREPLACE
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def place_by_claim(temporary: Path, target: Path, announcement: Path) -> None:
    """Announce, make an empty file that must be new, rename over it. After a crash the next try goes on.

    The caller runs one call at a time. Raises FileExistsError.
    """
    claimed = announcement.exists() and is_empty(target)
    try:
        announcement.touch()
        sync(announcement, announcement.parent)
        if not claimed:
            target.touch(exist_ok=False)
        claimed = True
        if not is_empty(target):
            raise FileExistsError(errno.EEXIST, "another program wrote to it", str(target))
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
        return Foreign(f"{as_text(str(others[0]))} has other content")
    return Deleted(found=bool(gone))


def shown(path: Path) -> str:
    """A path as people can read it: bytes that are no text are replaced."""
    return as_text(str(path)).encode(errors="replace").decode()


def said(error: OSError) -> str:
    """The text of an error with its path; empty for a timeout, which has none."""
    where = f": {shown(Path(str(error.filename)))!r}" if error.filename is not None else ""
    return f"[Errno {error.errno}] {error.strerror}{where}"[:500] if error.errno else str(error)[:500]
