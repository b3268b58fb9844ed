"""Single files of the spool and of the folder of inputs: receive, create, compare, sync and remove them. Nothing here
knows of images.

If the disk does not take a file, `NoPlace` is raised; a stream that breaks off raises its own error. A failed fsync
raises SpoolUnusable and ends the process: a second one would report success for data that the kernel has dropped.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from comfyledger import durable
from comfyledger.errors import ComfyledgerError, SpoolUnusable
from comfyledger.workers.media.broken_file import Broken, Walked
from comfyledger.workers.media.media_file import ProvedFile

HELD_BYTES: Final = 4 * 1_048_576
"""A smaller file is received in memory and written once, as what is pinned. Each fetch holds at most so much."""
HEAD_BYTES: Final = 64
"""The length of a file's beginning that tells what it is, and how long a check takes."""
CREATE_TRIES: Final = 100
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")
Walking = Callable[[BinaryIO, BinaryIO], Walked]


class NoPlace(ComfyledgerError):
    """The disk did not take a file; no part of it is left. `is_full`: it may take it once there is space."""

    def __init__(self, error: OSError) -> None:
        self.reason = error.strerror or type(error).__name__
        self.is_full = error.errno in NO_ROOM
        super().__init__(self.reason)


def has_bytes(path: Path, pinned: ProvedFile) -> bool:
    """Whether a file can be read and has exactly these bytes."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != pinned.size_bytes:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == pinned.sha256
    except OSError:
        return False


async def received(
    raw: Path, chunks: AsyncIterator[bytes], bytes_max: Callable[[bytes], int], held_bytes: int = 0
) -> BytesIO | Path:
    """The bytes of a stream: in memory if they are few, else in `raw`, written in large pieces in threads.

    Threads, because a disk may make its writer wait. `bytes_max`: how many bytes a file may have that begins so.
    `held_bytes`: how many are few; 0 for HELD_BYTES.
    """
    held, written, head, held_bytes = BytesIO(), 0, b"", held_bytes or HELD_BYTES
    async for chunk in chunks:
        held.write(chunk)
        head += chunk[: HEAD_BYTES - len(head)]
        if written + held.tell() > (limit := bytes_max(head)):
            raise Broken("too_large", f"The file is larger than {limit} bytes.")
        if held.tell() >= held_bytes:
            await to_end(partial(append, raw, held.getvalue(), first=not written))
            written += held.tell()
            held = BytesIO()
    if written:
        await to_end(partial(append, raw, held.getvalue(), first=False))
        return raw
    held.seek(0)
    return held


async def to_end(call: Callable[[], T]) -> T:
    """Run a call in a thread. A cancellation waits for its end, so that nothing is written after the clean-up."""
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(running)
    except OSError as error:
        raise NoPlace(error) from error
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


def new_file(path: Path, buffering: int = -1) -> BinaryIO:
    """Make an empty file for its owner only, and its folder, which may be removed again while it is empty.

    `buffering`: as in `open`.
    """
    for _ in range(CREATE_TRIES):
        with suppress(FileNotFoundError):
            return open(path, "x+b", buffering, opener=_private)
        with suppress(FileExistsError):  # `exist_ok` would check again, and the folder may have gone meanwhile.
            path.parent.mkdir(mode=0o700)
    raise FileNotFoundError(errno.ENOENT, "the folder disappears again and again", str(path.parent))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def create(path: Path) -> None:
    new_file(path).close()


def append(path: Path, piece: bytes, *, first: bool) -> None:
    with new_file(path) if first else path.open("ab") as file:
        file.write(piece)


def opened(source: BytesIO | Path) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else source


def discard(*paths: Path) -> bool:
    """Whether any of them was there."""
    found = False
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            found = True
    return found


@contextmanager
def entered(name: str | Path, above: int | None = None) -> Iterator[int]:
    """A folder by its descriptor, so that a link put in its place has no effect. Raises OSError for a link."""
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    try:
        yield folder
    finally:
        os.close(folder)


def sync_file(file: BinaryIO) -> None:
    """A full disk is no failure of fsync: the temporary file is deleted, so nothing half-written stays."""
    file.flush()
    try:
        durable.sync_file(file.fileno())
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise _failed(Path(file.name), error) from error


def sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        durable.sync_file(file)
    except OSError as error:
        raise _failed(folder, error) from error
    finally:
        os.close(file)


def _failed(path: Path, error: OSError) -> SpoolUnusable:
    text = f"The disk failed: {path} could not be synced ({error.strerror})."
    return SpoolUnusable(text, hint="Check the disk; then start again. What was not recorded as kept is fetched again.")
