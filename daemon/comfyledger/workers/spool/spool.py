"""The spool: the folder in which a rendered file stays until every store has confirmed it.

Files are named by batch and index alone, `<root>/<batch_id>/<index>.<extension>`; nothing that a user typed
is in a path. What lies under such a name is whole, pinned and on stable storage; what is not yet so lies
beside it under a name that begins with a dot; after a death it counts against the image (`workers/spool/strikes.py`).
A file comes in from the fetcher as a stream and goes out to
stores as a path; stores copy, they never link. Which files are still wanted is not known here: the ledger
says so. A disk that takes no file is told apart from a stream that breaks off (`NoPlace`); but an fsync that fails is
the end of the process, since a second one would say success of what the kernel has dropped.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from comfyledger import crash_points
from comfyledger.errors import ComfyledgerError, SpoolUnusable
from comfyledger.workers.spool.broken_file import Broken
from comfyledger.workers.spool.checks import ALL, LONG, Checks
from comfyledger.workers.spool.folder_lock import make_folder
from comfyledger.workers.spool.imagefile import EXTENSIONS, Pinned, Walked, is_heavy, proved, walk
from comfyledger.workers.spool.strikes import Strikes

HELD_BYTES: Final = 4 * 1_048_576
"""A file below it comes to the disk once, as what is pinned. Of each fetch under way so much is in memory at most."""
CREATE_TRIES: Final = 100
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
BATCH_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
KEPT: Final = re.compile(rf"([1-9][0-9]{{0,14}})\.(?:{'|'.join(EXTENSIONS)})")
TEMPORARY: Final = re.compile(r"\.[1-9][0-9]*-a[0-9]+-[0-9]+\.(?:raw|pinned)")
STRIKES_MAX: Final = 3
HEAD_BYTES: Final = 64
"""Enough to tell how long a check takes."""

T = TypeVar("T")
Walking = Callable[[BinaryIO, BinaryIO], Walked]


class NoPlace(ComfyledgerError):
    """The disk did not take a file, of which nothing is left. `is_full`: it may when there is room."""

    def __init__(self, error: OSError) -> None:
        self.reason = error.strerror or type(error).__name__
        self.is_full = error.errno in NO_ROOM
        super().__init__(self.reason)


class Spool:
    """A folder of rendered files. Only one process uses it; its calls may overlap.

    `strikes_max`: how often the process may die while it checks one file, before that is not tried any more.
    """

    def __init__(self, root: Path, strikes_max: int = STRIKES_MAX) -> None:
        """Makes the folder, for its owner only, if it is missing; the names of what was made are on stable storage.

        Raises SpoolUnusable.
        """
        self._root = root
        self._serial = count(1)
        self._rooted: set[str] = set()
        """Folders of batches whose names in the root are on stable storage. They go from here as they go from there."""
        self._going = threading.Lock()
        self._checks = Checks()
        self._strikes = Strikes(root)
        self._strikes_max = strikes_max
        try:
            make_folder(root)
        except OSError as error:
            text = f"The spool cannot be made: {root} ({error.strerror})."
            raise SpoolUnusable(text, hint="Check folder, permissions and disk of [spool] path.") from error

    @property
    def root(self) -> Path:
        return self._root

    def path_of(self, batch_id: str, index: int, extension: str) -> Path:
        """Where the file of an image lies. `index` counts from 1. Raises ValueError."""
        if not BATCH_ID.fullmatch(batch_id) or index < 1 or extension not in EXTENSIONS:
            raise ValueError(f"no file of the spool: {batch_id!r}, {index}, {extension!r}")
        return self._root / batch_id / f"{index}.{extension}"

    async def keep(
        self,
        batch_id: str,
        index: int,
        attempt: int,
        chunks: AsyncIterator[bytes],
        *,
        strip: bool,
        bytes_max: int,
        pixels_max: int,
    ) -> Pinned:
        """Take a file in, and return once it is whole, pinned and on stable storage under its own name.

        Keeping again replaces the earlier file at once, never in between. Raises Broken (`too_large` above
        `bytes_max`, `poison` after too many strikes), NoPlace, SpoolUnusable, or whatever `chunks` raises. No temporary
        file is left then, nor after a cancellation, which waits for the disk to end what it is doing.
        """
        folder = self.path_of(batch_id, index, EXTENSIONS[0]).parent
        temporary = f".{index}-a{attempt}-{next(self._serial)}"
        raw, pinned = folder / f"{temporary}.raw", folder / f"{temporary}.pinned"
        key = (batch_id, index, attempt)
        strikes = self._strikes.of(key)
        try:
            if strikes >= self._strikes_max:
                raise Broken("poison", f"The daemon died {strikes} times while it checked this file.")
            source = await _received(raw, chunks, bytes_max)
            crash_points.at("spool.received")
            work = partial(walk, strip=strip, pixels_max=pixels_max)
            kept = await self._checked(source, pinned, work, batch_id, index, is_suspect=strikes > 0)
            self._strikes.acquit(key)
            return kept
        except BaseException as error:
            _discard(raw, pinned)
            if isinstance(error, Broken):
                self._strikes.acquit(key)
            self._remove_if_empty(folder)
            raise

    async def _checked(
        self, source: BytesIO | Path, pinned: Path, work: Walking, batch_id: str, index: int, *, is_suspect: bool
    ) -> Pinned:
        """Walk, then prove and place, in turn with others. A suspect is alone from its first to its last byte."""
        async with self._checks.turn(ALL if is_suspect else await _cost_of_walk(source)):
            walked = await _to_end(partial(_copied, source, pinned, work))
            place = partial(self._place, source, pinned, walked, batch_id, index)
            if is_suspect:
                return await _to_end(place)
        async with self._checks.turn(walked.decode_bytes if walked.is_decodable else 0):
            return await _to_end(place)

    def _place(self, source: BytesIO | Path, pinned: Path, walked: Walked, batch_id: str, index: int) -> Pinned:
        """Prove, sync, rename, sync the folders."""
        with pinned.open("r+b") as sink:
            result = proved(sink, walked)
            _sync_file(sink)
        crash_points.at("spool.pinned")
        place = self.path_of(batch_id, index, result.extension)
        pinned.replace(place)
        crash_points.at("spool.renamed")
        _discard(*(path for path in self._paths(batch_id, index) if path != place))
        if isinstance(source, Path):
            _discard(source)
        self._sync_folders(place.parent)
        crash_points.at("spool.kept")
        return result

    def _sync_folders(self, folder: Path) -> None:
        """The batch's folder, and the root once for each folder of a batch that stands in it: none goes meanwhile."""
        _sync_folder(folder)
        with self._going:
            if folder.name not in self._rooted:
                _sync_folder(self._root)
                self._rooted.add(folder.name)

    def _remove_if_empty(self, folder: Path) -> None:
        """An emptied folder is no loss if it stays: whatever keeps it from going is no trouble."""
        with self._going, suppress(OSError):
            folder.rmdir()
            self._rooted.discard(folder.name)

    def holds(self, batch_id: str, index: int, pinned: Pinned) -> bool:
        """Whether the file of an image is there with the bytes that were pinned; reads all of it."""
        return _is(self.path_of(batch_id, index, pinned.extension), pinned)

    async def take_back(
        self, batch_id: str, index: int, attempt: int, pinned: Pinned, fetch: Callable[[Path], Awaitable[None]]
    ) -> bool:
        """Take a file in again that was kept before. `fetch` writes into an empty file; other bytes are thrown away.

        Whether they were those that were pinned. Raises NoPlace, SpoolUnusable, or whatever `fetch` raises.
        """
        place = self.path_of(batch_id, index, pinned.extension)
        raw = place.parent / f".{index}-a{attempt}-{next(self._serial)}.raw"
        try:
            await _to_end(partial(_create, raw))
            await fetch(raw)
            return await _to_end(partial(self._put_back, raw, place, pinned))
        finally:
            _discard(raw)
            self._remove_if_empty(place.parent)

    def _put_back(self, raw: Path, place: Path, pinned: Pinned) -> bool:
        """Compare, sync, rename, sync the folders, as `_place` does."""
        if not _is(raw, pinned):
            return False
        with raw.open("rb") as file:
            _sync_file(file)
        raw.replace(place)
        self._sync_folders(place.parent)
        return True

    def acquit(self, batch_id: str, index: int) -> None:
        """No file of this image is awaited any more: nothing is held against one."""
        if self._strikes.acquit_all(batch_id, index):
            self._remove_if_empty(self._root / batch_id)

    def remove(self, batch_id: str, index: int) -> bool:
        """Give up the file of an image, and its folder with the last one. False if there was none."""
        found = _discard(*self._paths(batch_id, index))
        self._strikes.acquit_all(batch_id, index)
        self._remove_if_empty(self._root / batch_id)
        return found

    def remove_among(self, batch_id: str, indexes: Container[int]) -> None:
        """Give up all files of a batch that have one of these indexes."""
        for index in self.indexes(batch_id):
            if index in indexes:
                self.remove(batch_id, index)

    def indexes(self, batch_id: str) -> list[int]:
        """The indexes of a batch that have a file here."""
        with suppress(FileNotFoundError), os.scandir(self._root / batch_id) as entries:
            return [int(kept[1]) for entry in entries if (kept := KEPT.fullmatch(entry.name))]
        return []

    def erase(self, batch_id: str, indexes: Iterable[int]) -> None:
        """Remove files for ever: that they are gone is on stable storage. Raises OSError, SpoolUnusable."""
        for index in indexes:
            _discard(*self._paths(batch_id, index))
            self._strikes.acquit_all(batch_id, index)
        folder = self._root / batch_id
        with suppress(FileNotFoundError):
            _sync_folder(folder)
        self._remove_if_empty(folder)
        _sync_folder(self._root)

    def sweep(self, known: Callable[[str, int], bool]) -> list[Path]:
        """At the start, before anything is kept: remove temporaries, and files of which `known` says no.

        Returns what was removed. What does not look like the spool's own is left alone.
        """
        own = list(self._own())
        for path in own:
            self._strikes.found(path)
        removed = [path for path in own if _is_unwanted(path, known)]
        _discard(*removed)
        for folder in self._folders():
            self._remove_if_empty(folder)
        return removed

    def batches(self) -> list[str]:
        """The batches that have a folder here."""
        return [folder.name for folder in self._folders()]

    def age_s(self, batch_id: str, index: int, now_s: float) -> float | None:
        """How long ago the file of an image was kept, in seconds; None if there is none."""
        for path in self._paths(batch_id, index):
            with suppress(FileNotFoundError):
                return now_s - path.stat().st_mtime
        return None

    def _paths(self, batch_id: str, index: int) -> list[Path]:
        return [self.path_of(batch_id, index, extension) for extension in EXTENSIONS]

    def _folders(self) -> list[Path]:
        with os.scandir(self._root) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if BATCH_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]

    def _own(self) -> Iterator[Path]:
        for folder in self._folders():
            with os.scandir(folder) as entries:
                yield from (Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))


def _is(path: Path, pinned: Pinned) -> bool:
    """Whether a file can be read and has exactly these bytes."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != pinned.size_bytes:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == pinned.sha256
    except OSError:
        return False


def _is_unwanted(path: Path, known: Callable[[str, int], bool]) -> bool:
    if TEMPORARY.fullmatch(path.name):
        return True
    kept = KEPT.fullmatch(path.name)
    return kept is not None and not known(path.parent.name, int(kept[1]))


async def _received(raw: Path, chunks: AsyncIterator[bytes], bytes_max: int) -> BytesIO | Path:
    """What a stream brings: in memory if it is small, else in `raw`, written in large pieces, each in a thread.

    A disk may make its writer wait.
    """
    held, written = BytesIO(), 0
    async for chunk in chunks:
        held.write(chunk)
        if written + held.tell() > bytes_max:
            raise Broken("too_large", f"The file is larger than {bytes_max} bytes.")
        if held.tell() >= HELD_BYTES:
            await _to_end(partial(_append, raw, held.getvalue(), first=not written))
            written += held.tell()
            held = BytesIO()
    if written:
        await _to_end(partial(_append, raw, held.getvalue(), first=False))
        return raw
    held.seek(0)
    return held


def _copied(source: BytesIO | Path, pinned: Path, work: Walking) -> Walked:
    with _opened(source) as taken, _new(pinned) as sink:
        return work(taken, sink)


async def _cost_of_walk(source: BytesIO | Path) -> int:
    """Most of them take no time worth waiting for others. Raises Broken."""
    head = await _to_end(partial(_head, source)) if isinstance(source, Path) else _held(source)
    return LONG if is_heavy(head) else 0


def _held(source: BytesIO) -> bytes:
    return bytes(source.getbuffer()[:HEAD_BYTES])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


async def _to_end(call: Callable[[], T]) -> T:
    """Run a call in a thread. A cancellation waits for its end: nothing is written after the clean-up."""
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


def _new(path: Path) -> BinaryIO:
    """Make an empty file for its owner only, and its folder, which may go again while it is empty."""
    for _ in range(CREATE_TRIES):
        with suppress(FileExistsError):  # `exist_ok` would look again, and the folder may have gone meanwhile.
            path.parent.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            return open(path, "x+b", opener=_private)
    raise FileNotFoundError(errno.ENOENT, "the folder goes away again and again", str(path.parent))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _create(path: Path) -> None:
    _new(path).close()


def _append(path: Path, piece: bytes, *, first: bool) -> None:
    with _new(path) if first else path.open("ab") as file:
        file.write(piece)


def _opened(source: BytesIO | Path) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else source


def _discard(*paths: Path) -> bool:
    """Whether any of them was there."""
    found = False
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            found = True
    return found


def _sync_file(file: BinaryIO) -> None:
    """No room is no failure: the temporary file goes, and with it what was not kept of it."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise _failed(Path(file.name), error) from error


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    except OSError as error:
        raise _failed(folder, error) from error
    finally:
        os.close(file)


def _failed(path: Path, error: OSError) -> SpoolUnusable:
    text = f"The disk failed the spool: {path} could not be synced ({error.strerror})."
    return SpoolUnusable(text, hint="Check the disk; then start again. What was not recorded as kept is fetched again.")
