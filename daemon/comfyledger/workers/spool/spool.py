"""The spool: the folder in which a rendered file stays until every store has confirmed it.

Files are named by batch and index alone, `<root>/<batch_id>/<index>.<extension>`. Nothing that a user typed is in a
path. A file under such a name is whole, pinned and on stable storage. What is not yet so lies beside it under a name
that begins with a dot; if the process dies, it counts against the image (`checks.py`). A file comes in from the fetcher
as a stream and goes out to stores as a path. Stores copy, they never link. Which files are still wanted is not known
here: the ledger says so.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from comfyledger import crash_points
from comfyledger.core.media import EXTENSION, UNNAMED, is_extension
from comfyledger.errors import SpoolUnusable
from comfyledger.workers.media.broken_file import Broken, Walked
from comfyledger.workers.media.media_file import ProvedFile, is_picture, walk
from comfyledger.workers.spool.checks import Checks, Strikes
from comfyledger.workers.spool.files import (
    create,
    discard,
    has_bytes,
    received,
    sync_file,
    sync_folder,
    to_end,
)
from comfyledger.workers.spool.folder_lock import make_folder
from comfyledger.workers.spool.pinned_copy import PinnedCopy

BATCH_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
KEPT: Final = re.compile(rf"([1-9][0-9]{{0,14}})\.{EXTENSION}")
TEMPORARY: Final = re.compile(r"\.[1-9][0-9]*-a[0-9]+-[0-9]+\.(?:raw|pinned)")
STRIKES_MAX: Final = 3
EXTENSIONS_MAX: Final = 32
"""Up to this many names of one image are tried; with more, its folder is read."""


class Spool:
    """A folder of rendered files. Only one process uses it; its calls may overlap.

    `strikes_max`: how often the process may die while it checks one file, before the file is given up.
    """

    def __init__(self, root: Path, strikes_max: int = STRIKES_MAX, checks: Checks | None = None) -> None:
        """Make the folder for its owner only, if it is missing. Its name is on stable storage then.

        `checks`: those of whoever checks files beside it, because they share the memory. Raises SpoolUnusable.
        """
        self._root = root
        self._serial = count(1)
        self._rooted: set[str] = set()
        """Folders of batches whose names in the root are on stable storage."""
        self._extensions: set[str] = set()
        """Extensions of the files that are here, as far as the sweep at the start has seen and this process has kept
        them."""
        self._going = threading.Lock()
        self._checks = checks or Checks()
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
        """The path of an image's file. `index` counts from 1. Raises ValueError."""
        if not BATCH_ID.fullmatch(batch_id) or index < 1 or not is_extension(extension):
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
        named: str = "",
        file_bytes_max: int = 0,
    ) -> ProvedFile:
        """Take a file in, and return once it is whole, pinned and on stable storage under its own name.

        `named` is ComfyUI's name of the file. Bytes that are of no kind we can prove are kept under its extension, and
        are refused without one. `file_bytes_max`: the limit of a file that is no picture; without it `bytes_max` holds
        for all. Keeping again replaces the earlier file at once, never in between.

        Raises Broken (`too_large` above its limit, `poison` after too many strikes), NoPlace, SpoolUnusable, or
        whatever `chunks` raises. No temporary file is left then, nor after a cancellation, which waits for the disk to
        end what it is doing.
        """
        folder = self.path_of(batch_id, index, UNNAMED).parent
        temporary = f".{index}-a{attempt}-{next(self._serial)}"
        raw, pinned = folder / f"{temporary}.raw", folder / f"{temporary}.pinned"
        key = (batch_id, f"{index}-a{attempt}")
        strikes = self._strikes.of(key)
        try:
            if strikes >= self._strikes_max:
                raise Broken("poison", f"The daemon died {strikes} times while it checked this file.")
            limit = partial(_bytes_max, bytes_max, file_bytes_max, named)
            source = await received(raw, chunks, limit)
            crash_points.at("spool.received")
            work = partial(walk, strip=strip, pixels_max=pixels_max, named=named)
            with closing(PinnedCopy(source, pinned)) as copy:
                place = partial(self._place, copy, pinned, batch_id, index)
                kept = await self._checks.run(source, partial(copy.walk, work), place, is_suspect=strikes > 0)
            if isinstance(source, Path):
                discard(source)
            self._strikes.acquit(key)
            return kept
        except BaseException as error:
            discard(raw, pinned)
            if isinstance(error, Broken):
                self._strikes.acquit(key)
            self._remove_if_empty(folder)
            raise

    def _place(self, copy: PinnedCopy, pinned: Path, batch_id: str, index: int, walked: Walked) -> ProvedFile:
        """Prove, sync, rename, sync the folders."""
        result = copy.prove(walked)
        copy.sync()
        crash_points.at("spool.pinned")
        place = self.path_of(batch_id, index, result.extension)
        pinned.replace(place)
        crash_points.at("spool.renamed")
        self._extensions.add(result.extension)
        discard(*(path for path in self._paths(batch_id, index) if path != place))
        self._sync_folders(place.parent)
        crash_points.at("spool.kept")
        return result

    def _sync_folders(self, folder: Path) -> None:
        """Sync the batch's folder, and once for each such folder the root. No folder is removed meanwhile."""
        sync_folder(folder)
        with self._going:
            if folder.name not in self._rooted:
                sync_folder(self._root)
                self._rooted.add(folder.name)

    def _remove_if_empty(self, folder: Path) -> None:
        """Remove an empty folder. If that fails, it stays: that does no harm."""
        with self._going, suppress(OSError):
            folder.rmdir()
            self._rooted.discard(folder.name)

    def holds(self, batch_id: str, index: int, pinned: ProvedFile) -> bool:
        """Whether the file of an image is there with the bytes that were pinned; reads all of it."""
        return has_bytes(self.path_of(batch_id, index, pinned.extension), pinned)

    async def take_back(
        self, batch_id: str, index: int, attempt: int, pinned: ProvedFile, fetch: Callable[[Path], Awaitable[None]]
    ) -> bool:
        """Restore a file that was kept before. `fetch` writes it into an empty file.

        Returns whether the bytes were those that were pinned; others are deleted. Raises NoPlace,
        SpoolUnusable, or whatever `fetch` raises.
        """
        place = self.path_of(batch_id, index, pinned.extension)
        raw = place.parent / f".{index}-a{attempt}-{next(self._serial)}.raw"
        try:
            await to_end(partial(create, raw))
            await fetch(raw)
            return await to_end(partial(self._put_back, raw, place, pinned))
        finally:
            discard(raw)
            self._remove_if_empty(place.parent)

    def _put_back(self, raw: Path, place: Path, pinned: ProvedFile) -> bool:
        """Compare, sync, rename, sync the folders, as `_place` does."""
        if not has_bytes(raw, pinned):
            return False
        with raw.open("rb") as file:
            sync_file(file)
        self._extensions.add(pinned.extension)
        raw.replace(place)
        self._sync_folders(place.parent)
        return True

    def acquit(self, batch_id: str, index: int) -> None:
        """Forget the strikes of this image, because no file of it is expected any more."""
        if self._strikes.acquit_all(batch_id, f"{index}-a"):
            self._remove_if_empty(self._root / batch_id)

    def remove(self, batch_id: str, index: int) -> bool:
        """Delete the file of an image, and the folder after the last one. False if there was none."""
        self._strikes.acquit_all(batch_id, f"{index}-a")
        return self.remove_among(batch_id, (index,)) > 0

    def remove_among(self, batch_id: str, indexes: Container[int]) -> int:
        """Delete all files of a batch that have one of these indexes, and the folder after the last one.

        Returns how many there were.
        """
        gone = 0
        for index, path in self._kept(batch_id):
            if index in indexes:
                gone += discard(path)
                self._strikes.acquit_all(batch_id, f"{index}-a")
        self._remove_if_empty(self._root / batch_id)
        return gone

    def indexes(self, batch_id: str) -> list[int]:
        """The indexes of a batch that have a file here."""
        return [index for index, _ in self._kept(batch_id)]

    def erase(self, batch_id: str, indexes: Iterable[int]) -> None:
        """Delete files durably: the deletion is on stable storage. Raises OSError, SpoolUnusable."""
        chosen = set(indexes)
        for index in chosen:
            self._strikes.acquit_all(batch_id, f"{index}-a")
        discard(*(path for index, path in self._kept(batch_id) if index in chosen))
        folder = self._root / batch_id
        with suppress(FileNotFoundError):
            sync_folder(folder)
        self._remove_if_empty(folder)
        sync_folder(self._root)

    def sweep(self, known: Callable[[str, int], bool]) -> list[Path]:
        """Delete temporaries, and files for which `known` is false. Call it at the start, before anything is kept.

        Returns what was deleted. Files that are not named like the spool's own stay.
        """
        own = list(self._own())
        for path in own:
            self._strikes.found(path)
            if KEPT.fullmatch(path.name):
                self._extensions.add(path.suffix[1:])
        removed = [path for path in own if _is_unwanted(path, known)]
        discard(*removed)
        for folder in self._folders():
            self._remove_if_empty(folder)
        return removed

    def batches(self) -> list[str]:
        """The batches that have a folder here."""
        return [folder.name for folder in self._folders()]

    def ages_s(self, batch_id: str, now_s: float) -> dict[int, float]:
        """How long ago the files of a batch were kept, in seconds, by index."""
        ages: dict[int, float] = {}
        for index, path in self._kept(batch_id):
            with suppress(FileNotFoundError):
                ages[index] = now_s - path.stat().st_mtime
        return ages

    def _paths(self, batch_id: str, index: int) -> list[Path]:
        """Where files of an image may be. A folder may have thousands of them, so it is read only if it must."""
        if len(self._extensions) <= EXTENSIONS_MAX:
            return [self.path_of(batch_id, index, extension) for extension in list(self._extensions)]
        return [path for found, path in self._kept(batch_id) if found == index]

    def _kept(self, batch_id: str) -> list[tuple[int, Path]]:
        """The files of a batch with their indexes."""
        folder = self._root / batch_id
        with suppress(FileNotFoundError):
            names = os.listdir(folder)
            return [(int(kept[1]), folder / name) for name in names if (kept := KEPT.fullmatch(name))]
        return []

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


def _is_unwanted(path: Path, known: Callable[[str, int], bool]) -> bool:
    if TEMPORARY.fullmatch(path.name):
        return True
    kept = KEPT.fullmatch(path.name)
    return kept is not None and not known(path.parent.name, int(kept[1]))


def _bytes_max(picture: int, other: int, named: str, head: bytes) -> int:
    """How large a file may be that begins so and has this name."""
    return max(picture, other) if other and not is_picture(head, named) else picture
