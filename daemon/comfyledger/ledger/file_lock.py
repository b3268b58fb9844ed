"""Files and folders that this process alone may write: one descriptor each, which carries the lock.

The lock is `flock` on the inode, so another name of a file (a link, a bind mount) lets no second writer in. SQLite's
locks are of another kind (fcntl) and do not meet it. Those belong to process and inode: closing any other descriptor of
the file drops them all. So a file is opened once, before SQLite opens it, and closed after SQLite has closed it. A
process that has a file already does not open it again, not even to be refused.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from comfyledger.durable import sync_file
from comfyledger.errors import LedgerUnusable

_TRIES: Final = 10
_Inode = tuple[int, int]

_holds: list[Hold] = []
"""Those of this process that are open."""


class Hold:
    """A locked file or folder. While it is open, no other daemon uses it. `fd` is None if there is no file yet."""

    def __init__(self, path: Path, fd: int | None, lock_files: tuple[int, ...] = ()) -> None:
        self.path = path
        self.fd = fd
        self.inode = None if fd is None else _inode_of(os.fstat(fd))
        self._lock_files = lock_files
        _holds.append(self)

    def sync(self) -> None:
        """Write the file to stable storage. Raises OSError."""
        if self.fd is not None:
            sync_file(self.fd)

    def close(self) -> None:
        """Give up the lock. To be called after SQLite has closed the file. Does nothing in a forked child."""
        if self in _holds:
            _holds.remove(self)
            self.end()

    def end(self) -> None:
        """Close the descriptors."""
        for fd in (self.fd, *self._lock_files):
            if fd is not None:
                os.close(fd)

    def let_go(self) -> None:
        """Give up the lock while SQLite has the file open here. The descriptor stays, and so do SQLite's locks."""
        _holds.remove(self)
        if self.fd is not None:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        for fd in self._lock_files:
            os.close(fd)


class Taken(Exception):
    """Another process, or this one, has the lock."""


def made(path: Path) -> Hold:
    """Make a file that is locked before it gets the name that others know. Raises FileExistsError, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return Hold(path, fd)


def hold_file(path: Path) -> Hold:
    """Lock a file that exists for its lock alone; make it if it is missing. Raises Taken, OSError."""
    return Hold(path, locked_file(path, create=True))


def hold_folder(path: Path) -> Hold:
    """Lock a folder itself. Raises Taken, and OSError if the file system cannot lock folders."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock(fd)
    except BaseException:
        os.close(fd)
        raise
    return Hold(path, fd)


def locked_file(path: Path, create: bool) -> int | None:
    """Open and lock a file. Returns its descriptor; None if there is no file and none is to be made.

    A restore may rename another file to this name meanwhile; then that one is locked. Raises Taken, LedgerUnusable,
    OSError.
    """
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            if _inode_of(path.stat()) in {held.inode for held in _holds}:
                raise Taken
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            if create:
                raise
            return None
        try:
            lock(fd)
            if _is_at(path, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise LedgerUnusable(f"The file {path} is replaced again and again.", hint="Stop the program that replaces it.")


def _is_at(path: Path, fd: int) -> bool:
    with suppress(FileNotFoundError):
        return _inode_of(path.stat()) == _inode_of(os.fstat(fd))
    return False


def _inode_of(found: os.stat_result) -> _Inode:
    return found.st_dev, found.st_ino


def lock(fd: int) -> None:
    """Raises Taken, OSError. Never waits."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Taken from error


# ---- a fork


def _let_go_in_child() -> None:
    """A child that kept the descriptor would keep the lock after its parent has ended."""
    for held in _holds:
        held.end()
    _holds.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
