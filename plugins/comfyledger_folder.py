"""The folder store: images as plain files below a root, on a local disk or a mounted one.

`FolderStore` answers the plugin API and gives every call a bound in time; `Disk` does the blocking file work in threads
of the store's own, so that a dead mount cannot take those of the daemon. What this store sees to:

- **Nothing is ever replaced.** A file is written beside its place under a temporary name, synced, and put there by a
  hard link; where the file system has none, by RENAME_NOREPLACE; where it has neither, by a claim: an empty file made
  with O_EXCL, over which the whole file is then renamed. No partial file ever stands under an image's name. The claim
  is announced before by a file named after image and place; an empty file without it is a stranger's.
- **Names are one that a folding disk would take for one**: equal after NFC and casefold, folders included. Such a file,
  or the same name as another kind of image, is a collision, unless kind and bytes are the same.
- **An unmounted disk is not taken for an empty one.** At first use the root is made if need be and marked by a file
  `.comfyledger`; the state folder remembers that. A root that was marked and has no mark now is not reached. (At the
  very first use nothing can be known: mount it before.)

Symbolic links within the root may lead to other folders within the root only. `page` follows none.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import accumulate, count
from pathlib import Path
from typing import Any, Final, TypeVar

from comfyledger.plugin_api import (
    Deleted,
    Deletion,
    Deposit,
    Foreign,
    Held,
    ImageFault,
    LaneFault,
    Outcome,
    Page,
    Remark,
    Series,
    Stored,
    StoreKind,
    StoreTrouble,
    hookimpl,
)
from comfyledger_folder_diagnosis import about_root
from comfyledger_folder_files import (
    UNSUPPORTED,
    delete,
    fold,
    holds,
    is_empty,
    md5_of,
    place_by_claim,
    rename_noreplace,
    sync,
)
from comfyledger_folder_names import Names, Paths
from comfyledger_folder_pages import entries, read_page

MARK: Final = ".comfyledger"
MARK_TEXT: Final = "comfyledger keeps images here. A root without this file passes for an unmounted disk.\n"
KINDS_OF_IMAGE: Final = frozenset({"png", "jpg", "jpeg", "webp"})
TIMEOUT_S: Final = 60.0
THREADS: Final = 4
OWN_SIGNS: Final = len(MARK) + 18
"""How long the beginning of a temporary name is, which says whose it is."""
PIECE_BYTES: Final = 1_048_576
T = TypeVar("T")

LANE_CODES: Final[dict[int, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "full"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR), "configuration"),
    **dict.fromkeys((errno.ENOENT, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO), "not_reached"),
    **dict.fromkeys((errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH), "not_reached"),
}
NAME_REFUSED: Final = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EILSEQ, errno.EINVAL, errno.EFBIG}
)


class Refusal(Exception):
    """Ends a put within the file work; carries the image's fault."""

    def __init__(self, code: str, text: str) -> None:
        self.fault = ImageFault(code, text)
        super().__init__(text)


@hookimpl
def comfyledger_stores() -> Mapping[str, StoreKind]:
    return {"folder": FolderStore.open}


class FolderStore:
    """A Store whose files lie below a root. Safe to call many times at once, from one event loop."""

    def __init__(self, root: Path, state_dir: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._root = root
        self._timeout_s = timeout_s
        self._disk = Disk(root, state_dir)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="comfyledger-folder")

    @classmethod
    def open(cls, name: str, options: Mapping[str, Any], state_dir: Path) -> FolderStore:
        """The only option is `root`: an absolute path, or one that begins with `~`."""
        for option in options:
            if option != "root":
                raise ValueError(f"stores.{name}: unknown option {option!r}; did you mean 'root'?")
        root = Path(os.path.expanduser(str(options.get("root", ""))))
        if not root.is_absolute():
            raise ValueError(f"stores.{name}: root must be an absolute path (a leading ~ is expanded)")
        return cls(root.resolve(), state_dir)

    @property
    def identity(self) -> str:
        return f"folder:{self._root}"

    async def prepare(self) -> None:
        """Nothing to find out: the root is looked at with every call, since a disk may come and go."""

    async def highest_number(self, series: Series) -> int:
        return await self._in_thread(partial(self._disk.highest_number, series))

    async def put(self, deposit: Deposit) -> Outcome:
        """A call that ran out of time, or was cancelled, may still end in its thread: it does no harm then."""
        try:
            return await self._in_thread(partial(self._disk.put, deposit))
        except StoreTrouble as trouble:
            return trouble.fault

    async def check(self, public_id: str, extension: str) -> Held | None:
        return await self._in_thread(partial(self._disk.check, public_id, extension))

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        await self._in_thread(partial(self._disk.fetch, public_id, extension, target))

    async def delete(self, ours: Held) -> Deletion:
        """Only what has our bytes, whatever its case is; folders stay."""
        try:
            return await self._in_thread(partial(self._disk.delete, ours))
        except StoreTrouble as trouble:
            return trouble.fault

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """Every file but temporaries and the mark, in the order of their paths, part by part; md5 is left empty."""
        return await self._in_thread(partial(self._disk.page, prefix, cursor))

    async def diagnose(self) -> tuple[Remark, ...]:
        return await self._in_thread(self._disk.diagnose)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except OSError as error:  # The timeout among them, which has no number and no text.
            code = LANE_CODES.get(error.errno or errno.ETIMEDOUT, "unknown")
            text = str(error)[:500] or f"{self._root} did not answer within {self._timeout_s:g} s"
            raise StoreTrouble(LaneFault(code, text)) from error


class Disk:
    """The blocking work on one root. Raises OSError, StoreTrouble, or Refusal within."""

    def __init__(self, root: Path, state_dir: Path) -> None:
        self._root = root
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()
        self._memory = state_dir / f"folder-{digest[:16]}.seen"
        self._serial = count(1)
        self._in_use: set[str] = set()
        self._paths, self._names = Paths(), Names(_keys_of)
        self._claiming, self._looking = threading.Lock(), threading.Lock()

    def make_ready(self) -> None:
        """See that the root is the one that it was. Made and marked at the first use, never again."""
        with self._looking:
            with suppress(FileNotFoundError, NotADirectoryError):
                (self._root / MARK).stat()
                self._remember()
                return
            if self._memory.exists():
                raise self._unmounted()
            self._root.mkdir(parents=True, exist_ok=True)
            (self._root / MARK).write_text(MARK_TEXT)
            sync(self._root / MARK, self._root, self._root.parent)
            self._remember()

    def _unmounted(self) -> StoreTrouble:
        text = f"{self._root} has no file {MARK}: is the disk mounted? If so, put an empty one there."
        return StoreTrouble(LaneFault("not_reached", text))

    def _remember(self) -> None:
        if not self._memory.exists():
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            self._memory.write_text(f"{self._root}\n")
            sync(self._memory, self._memory.parent)

    def diagnose(self) -> tuple[Remark, ...]:
        """Makes and marks nothing, unlike a use."""
        marked = (self._root / MARK).exists()
        if not marked and self._memory.exists():
            raise self._unmounted()
        there = next(path for path in (self._root, *self._root.parents) if path.exists())
        may_write = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        return (about_root(self._root, is_marked=marked, is_writable=may_write),)

    def highest_number(self, series: Series) -> int:
        self.make_ready()
        stem, suffix = re.escape(fold(series.stem)), re.escape(fold(series.suffix))
        number = re.compile(rf"{stem}([0-9]{{1,15}}){suffix}(?:\..*)?", re.DOTALL).fullmatch
        names = (entry.name for folder in self._alike(series.folder) for entry in entries(folder))
        highest = max((int(found[1]) for name in names if (found := number(fold(name)))), default=0)
        self.make_ready()  # A disk that went away meanwhile must not pass for one without such files.
        return highest

    def check(self, public_id: str, extension: str) -> Held | None:
        self.make_ready()
        path = self._held_at(public_id, extension)
        return Held(public_id, extension, path.stat().st_size, md5_of(path)) if path is not None else None

    def fetch(self, public_id: str, extension: str, target: Path) -> None:
        self.make_ready()
        path = self._held_at(public_id, extension)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "the file has gone", f"{public_id}.{extension}")
        with path.open("rb") as source, target.open("r+b") as copy:
            shutil.copyfileobj(source, copy, PIECE_BYTES)

    def _held_at(self, public_id: str, extension: str) -> Path | None:
        """Where a file of this name lies, if in the root."""
        path = Path(os.path.realpath(self._root / f"{public_id}.{extension}"))
        return path if path.is_relative_to(self._root) and path.is_file() else None

    def page(self, prefix: str, cursor: str) -> Page:
        self.make_ready()
        inside = "\0" not in prefix and self._is_inside(self._root / prefix)
        page = read_page(self._root, prefix, cursor, MARK) if inside else Page(())
        self.make_ready()  # As above.
        return page

    def delete(self, ours: Held) -> Deleted | Foreign:
        self.make_ready()
        own = _own(ours.image_id, self._root / f"{ours.public_id}.{ours.extension}")
        outcome = delete(self._alike(ours.public_id.rpartition("/")[0]), ours, own)
        self.make_ready()  # As above.
        return outcome

    def put(self, deposit: Deposit) -> Outcome:
        self.make_ready()  # Outside: what is wrong with the root is no image's fault.
        try:
            return self._put(deposit)
        except Refusal as refusal:
            return refusal.fault
        except OSError as error:
            if error.errno in NAME_REFUSED:
                return ImageFault("refused", str(error)[:500])
            raise

    def _put(self, deposit: Deposit) -> Stored:
        folders = self._make_folders(deposit.public_id)
        target = folders[-1] / f"{deposit.public_id.rpartition('/')[2]}.{deposit.extension}"
        own = _own(deposit.image_id, target)
        above = self._paths.state_of(folders)
        is_known = self._paths.holds(folders[-1], above)
        alike = [folders[-1]] if is_known else self._alike(deposit.public_id.rpartition("/")[0])
        held = self._find(alike, deposit, target, own) or self._write(deposit, target, own)
        if held is not None:
            sync(held)
            with self._claiming:
                _announcement(target, own).unlink(missing_ok=True)
        sync(*(folders[-1:] if is_known else folders))
        if alike == [folders[-1]]:
            self._paths.remember(folders[-1], above)
        return Stored(url=(held or target).as_uri(), replayed=held is not None)

    def _make_folders(self, public_id: str) -> tuple[Path, ...]:
        """The root and each folder below it down to the file's, made if need be and proved to lie in the root."""
        *parts, name = public_id.split("/")
        if "\0" in public_id or not {"", ".", ".."}.isdisjoint((*parts, name)):
            raise Refusal("refused", f"{public_id!r} is no name for a file")
        folders = tuple(accumulate(parts, Path.joinpath, initial=self._root))
        if folders[-1].is_dir() and os.path.realpath(folders[-1]) == str(folders[-1]):
            return folders  # all are there, and none is a link
        for folder in folders[1:]:
            with suppress(FileExistsError):
                folder.mkdir()
            if not folder.is_dir() or not self._is_inside(folder):
                raise Refusal("refused", f"{folder} is no folder, or leads out of {self._root}")
        return folders

    def _find(self, alike: list[Path], deposit: Deposit, target: Path, own: str) -> Path | None:
        """A file that already is this image, or Refusal. What a crash left of this very image goes on the way."""
        base = fold(target.stem)
        if alike == [target.parent] and not self._names.of(target.parent).may_hold(base, own):
            return None
        rivals = []
        for folder in alike:
            for entry in entries(folder):
                stem, _, extension = entry.name.rpartition(".")
                if extension.lower() in KINDS_OF_IMAGE and fold(stem) == base:
                    rivals.append(Path(entry.path))
                elif entry.name.startswith(own) and entry.name not in self._in_use:
                    Path(entry.path).unlink(missing_ok=True)
        # An empty file under the very name may be a claim of this image: putting it in place will tell.
        return _the_same([path for path in rivals if path != target or not is_empty(path)], deposit)

    def _write(self, deposit: Deposit, target: Path, own: str) -> Path | None:
        """Copy, sync, put in place. Another may have been quicker: if with these bytes, returns where they are."""
        temporary = target.with_name(f"{own}{os.getpid()}-{next(self._serial)}")
        self._in_use.add(temporary.name)
        folder = self._names.of(target.parent)
        try:
            with folder.changing():
                temporary.touch(exist_ok=False)
            _copy(deposit, temporary)
            with folder.changing(fold(target.stem)):
                self._place(temporary, target, own)
                temporary.unlink(missing_ok=True)
            return None
        except FileExistsError:
            return _the_same([target], deposit)
        finally:
            temporary.unlink(missing_ok=True)
            self._in_use.discard(temporary.name)

    def _place(self, temporary: Path, target: Path, own: str) -> None:
        """Give the file its name by the first way that the file system knows. Raises FileExistsError."""
        for way in (os.link, rename_noreplace):
            try:
                return way(temporary, target)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
        with self._claiming:
            return place_by_claim(temporary, target, _announcement(target, own))

    def _alike(self, folder: str) -> list[Path]:
        """Every folder that has this name, folded, part by part, as long as it lies in the root."""
        found = [self._root]
        for part in filter(None, folder.split("/")):
            wanted = fold(part)
            alike = [entry for path in found for entry in entries(path) if fold(entry.name) == wanted]
            found = [Path(entry.path) for entry in alike if entry.is_dir()]
        return [path for path in found if self._is_inside(path)]

    def _is_inside(self, folder: Path) -> bool:
        return Path(os.path.realpath(folder)).is_relative_to(self._root)


def _own(image_id: str, target: Path) -> str:
    """The beginning of every temporary name of an image; what announces a claim has another."""
    digest = hashlib.sha256(f"{image_id}\0{target}".encode(errors="surrogateescape")).hexdigest()
    return f"{MARK}-{digest[:16]}-"


def _announcement(target: Path, own: str) -> Path:
    return target.with_name(own.rstrip("-") + ".claim")


def _keys_of(name: str) -> Iterator[str]:
    """What a put looks for a name by: the image that it would be, or whose temporary it is."""
    stem, _, extension = name.rpartition(".")
    if extension.lower() in KINDS_OF_IMAGE:
        yield fold(stem)
    if name.startswith(f"{MARK}-"):
        yield name[:OWN_SIGNS]


def _the_same(rivals: list[Path], deposit: Deposit) -> Path | None:
    """The rival that is the same image under the same kind's name; None without rivals; else Refusal."""
    for path in rivals:
        if holds(path, deposit.extension, deposit.size_bytes, deposit.md5):
            return path
    if rivals:
        raise Refusal("collision", f"{rivals[0]} is there already and holds something else")
    return None


def _copy(deposit: Deposit, temporary: Path) -> None:
    """Copy and sync; Refusal if the spool's bytes are not those that were pinned."""
    md5, size_bytes = hashlib.md5(usedforsecurity=False), 0
    with temporary.open("r+b") as file:
        for piece in _pieces(deposit.path):
            md5.update(piece)
            size_bytes += len(piece)
            file.write(piece)
    sync(temporary)
    if (size_bytes, md5.hexdigest()) != (deposit.size_bytes, deposit.md5):
        raise Refusal("altered", f"{deposit.path} no longer holds the bytes that were recorded")


def _pieces(path: Path) -> Iterator[bytes]:
    """A spool's file that is gone or cannot be read is the image's trouble; other errors are not."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EIO):
            raise
        raise Refusal("altered", f"the spool's file cannot be read: {error}") from error
