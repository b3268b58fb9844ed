"""The blocking work of a folder store on one root: what `FolderStore` runs in its threads.

Nothing is ever replaced, and names are compared as a folding disk compares them; see `comfyledger_folder.store`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate, count
from pathlib import Path
from typing import Final

from comfyledger.plugin_api import (
    Deleted,
    Deposit,
    Foreign,
    Held,
    ImageFault,
    Numbers,
    Outcome,
    Page,
    Series,
    Stored,
    StoreTrouble,
    medium_of,
)
from comfyledger_folder.files import (
    UNSUPPORTED,
    delete,
    fold,
    holds,
    is_empty,
    md5_of,
    place_by_claim,
    rename_noreplace,
    said,
    shown,
    sync,
    sync_fd,
    write_all,
)
from comfyledger_folder.leftovers import Remains
from comfyledger_folder.names import Names, Paths
from comfyledger_folder.pages import as_text, entries, on_disk, read_page
from comfyledger_folder.root import MARK, Root

OWN_SIGNS: Final = len(MARK) + 18
"""Length of the beginning of a temporary name, which says whose it is."""
FOLDERS_MAX: Final = 1_000
"""Folders of which the paths are remembered."""
PIECE_BYTES: Final = 262_144

NAME_REFUSED: Final = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ, errno.EINVAL, errno.EFBIG})
"""Errors that mean one name or file. The same error for a folder is the store's trouble."""


class Refusal(Exception):
    """Ends a put within the file work; carries the image's fault."""

    def __init__(self, code: str, text: str) -> None:
        self.fault = ImageFault(code, text)
        super().__init__(text)


class Disk:
    """The blocking work on one root. Raises OSError, StoreTrouble, or Refusal within."""

    def __init__(self, root: Path, state_dir: Path, configured: Path | None = None) -> None:
        self.root = Root(root, state_dir, configured)
        self._root = root
        self.remains = Remains(root, state_dir)
        self._is_swept = False
        self._serial = count(1)
        self._paths, self._names = Paths(), Names(_keys_of)
        self._folders_of = lru_cache(FOLDERS_MAX)(self._made_of)
        self._claiming = threading.Lock()

    @property
    def is_swept(self) -> bool:
        return self._is_swept or self.root.is_new

    def sweep(self) -> None:
        """Remove what earlier runs left half written, if the root is there. Raises nothing; `is_swept` says it did."""
        with suppress(OSError, StoreTrouble):
            if self.root.is_marked():
                self.root.make_ready()
                self.remains.sweep()
                self.root.make_ready()  # One that went away meanwhile was not seen whole.
                self._is_swept = True

    def numbers(self, series: Series) -> Numbers:
        """The numbers under a series, in every folder that has its name. Links and folders raise no doubt."""
        self.root.make_ready()
        numbers = self._count(series, lambda entry: True)
        if numbers.doubt is not None:
            numbers = self._count(series, lambda entry: entry.is_file(follow_symlinks=False))
        self.root.make_ready()  # A disk that went away meanwhile must not pass for one without such files.
        return numbers

    def _count(self, series: Series, is_file: Callable[[os.DirEntry[str]], bool]) -> Numbers:
        stem, suffix = (re.escape(fold(on_disk(part))) for part in (series.stem, series.suffix))
        number = re.compile(rf"{stem}([0-9]{{1,15}}){suffix}(?:\..*)?", re.DOTALL).fullmatch
        numbers = Numbers()
        for folder in self._alike(on_disk(series.folder)):
            above = as_text(str(folder.relative_to(self._root)))
            for entry in entries(folder):
                found = number(fold(entry.name))
                if found is not None and is_file(entry):
                    numbers.add(int(found[1]), f"{above}/{as_text(entry.name)}")
                elif found is not None:
                    numbers.add_place(int(found[1]))
        return numbers

    def size_of(self, public_id: str, extension: str) -> int:
        """The size in bytes of what is held under a name, 0 if nothing is."""
        self.root.make_ready()
        path = self._held_at(public_id, extension)
        return path.stat().st_size if path is not None else 0

    def check(self, public_id: str, extension: str) -> Held | None:
        self.root.make_ready()
        path = self._held_at(public_id, extension)
        held = Held(public_id, extension, path.stat().st_size, md5_of(path)) if path is not None else None
        self.root.make_ready()  # As above.
        return held

    def fetch(self, public_id: str, extension: str, target: Path) -> None:
        self.root.make_ready()
        path = self._held_at(public_id, extension)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "the file has disappeared", f"{public_id}.{extension}")
        with path.open("rb") as source, target.open("r+b") as copy:
            shutil.copyfileobj(source, copy, PIECE_BYTES)

    def _held_at(self, public_id: str, extension: str) -> Path | None:
        """The path of a file of this name, if it is in the root. Raises StoreTrouble if its folder cannot be read."""
        name = on_disk(f"{public_id}.{extension}")
        if not _is_name(name) or not self._is_there(self._folders_of(name.rpartition("/")[0])[1:]):
            return None
        path = Path(os.path.realpath(self._root / name))
        return path if path.is_relative_to(self._root) and path.is_file() else None

    def page(self, prefix: str, cursor: str) -> Page:
        """The next files below every folder that has this name, found as in `numbers`."""
        self.root.make_ready()
        folder = on_disk(prefix)
        inside = "\0" not in prefix and not prefix.startswith("/")
        page = read_page(self._root, self._alike(folder) if inside else [], folder, cursor, MARK)
        self.root.make_ready()  # As above.
        return page

    def delete(self, ours: Held) -> Deleted | Foreign:
        self.root.make_ready()
        name = on_disk(ours.public_id)
        own = _own(ours.image_id, self._root / f"{name}.{ours.extension}")
        outcome = delete(self._alike(name.rpartition("/")[0]), name, ours, own)
        self.root.make_ready()  # As above.
        return outcome

    def put(self, deposit: Deposit) -> Outcome:
        name = on_disk(deposit.public_id)
        folders = self._folders_of(name.rpartition("/")[0])
        is_known = _is_name(name) and self._paths.hold(folders)
        if not is_known:
            self.root.make_ready()  # Outside the `try`: a fault of the root is no image's fault.
        self.remains.take_away(self.root.make_ready)
        try:
            return self._put_into(folders[-1:], [folders[-1]], deposit, name) if is_known else self._put(deposit, name)
        except Refusal as refusal:
            return refusal.fault
        except OSError as error:
            if error.errno in NAME_REFUSED:
                self.root.make_ready()  # As above.
                return ImageFault("refused", said(error))
            raise

    def _put(self, deposit: Deposit, name: str) -> Stored:
        """Put into folders that are not known to be as they were left."""
        folders = self._make_folders(name)
        above = self._paths.state_of(folders)
        alike = self._look_for(name.rpartition("/")[0])[0]
        stored = self._put_into(folders, alike, deposit, name)
        if alike == [folders[-1]]:
            self._paths.remember(folders[-1], above)
        return stored

    def _put_into(self, folders: Sequence[Path], alike: list[Path], deposit: Deposit, name: str) -> Stored:
        """Put into the last one of `folders`, and sync them all. `alike`: every folder that has its name."""
        target = folders[-1] / f"{name.rpartition('/')[2]}.{deposit.extension}"
        own = _own(deposit.image_id, target)
        held = self._find(alike, deposit, target, own) or self._write(deposit, target, own)
        if held is not None:
            sync(held)
            with self._claiming:
                _announcement(target, own).unlink(missing_ok=True)
        sync(*folders)
        return Stored(url=(held or target).as_uri(), replayed=held is not None)

    def _made_of(self, folder: str) -> tuple[Path, ...]:
        """The root and each folder below it down to this one."""
        return tuple(accumulate(filter(None, folder.split("/")), Path.joinpath, initial=self._root))

    def _make_folders(self, name: str) -> tuple[Path, ...]:
        """Those folders, made if need be and proved to lie in the root. Raises StoreTrouble where one cannot be."""
        if not _is_name(name):
            raise Refusal("refused", f"{as_text(name)!r} cannot be a file name")
        folders = self._folders_of(name.rpartition("/")[0])
        if folders[-1].is_dir() and os.path.realpath(folders[-1]) == str(folders[-1]):
            return folders  # all are there, and none is a link
        for folder in folders[1:]:
            with suppress(FileExistsError):
                folder.mkdir()
            if not self._is_there([folder]):
                raise self.root.blocked(folder)
        return folders

    def _is_there(self, folders: Sequence[Path]) -> bool:
        """Whether these folders are there, each of which lies in the one before it. Raises StoreTrouble if one is none.

        A folder that is not there is proved not to be there: what leads to it is.
        """
        for folder in folders:
            try:
                found = folder.lstat()
            except FileNotFoundError:
                return False
            if not stat.S_ISDIR(found.st_mode) and not (stat.S_ISLNK(found.st_mode) and self._is_folder(folder)):
                raise self.root.blocked(folder)
        return True

    def _find(self, alike: list[Path], deposit: Deposit, target: Path, own: str) -> Path | None:
        """A file that already is this image; raises Refusal on a collision. Deletes what a crash left of the image."""
        base = fold(target.stem)
        if alike == [target.parent] and not self._names.of(target.parent).may_hold(base, own):
            return None
        rivals = []
        for folder in alike:
            for entry in entries(folder):
                stem, _, extension = entry.name.rpartition(".")
                if fold(stem) == base and _are_rivals(extension.lower(), deposit.extension):
                    rivals.append(Path(entry.path))
                elif entry.name.startswith(own) and not self.remains.is_in_use(entry.name):
                    Path(entry.path).unlink(missing_ok=True)
        # An empty file under this name may be a claim of this image; `_place` finds out.
        return _the_same([path for path in rivals if path != target or not is_empty(path)], deposit)

    def _write(self, deposit: Deposit, target: Path, own: str) -> Path | None:
        """Copy, sync, put in place. If another call was quicker with the same bytes, returns their path."""
        temporary = target.with_name(f"{own}{self.remains.home()}{os.getpid()}-{next(self._serial)}")
        folder = self._names.of(target.parent)
        with self.remains.using(temporary) as use:
            try:
                with folder.changing(own):
                    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                    use.begun = True
                try:
                    _copy(deposit, fd)
                finally:
                    os.close(fd)
                with folder.changing(fold(target.stem)):
                    use.begun = not self._place(temporary, target, own)
                    use.end()
                folder.forget(own)
                return None
            except FileExistsError:
                return _the_same([target], deposit)

    def _place(self, temporary: Path, target: Path, own: str) -> bool:
        """Give the file its name in the first way that the file system supports. Returns whether the old name is gone.

        Raises FileExistsError.
        """
        for way in (os.link, rename_noreplace):
            try:
                way(temporary, target)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
            else:
                return way is rename_noreplace
        with self._claiming:
            place_by_claim(temporary, target, _announcement(target, own))
            return True

    def _alike(self, folder: str) -> list[Path]:
        """Every folder that has this name, folded, part by part. Raises StoreTrouble if one cannot be read."""
        found, blocked = self._look_for(folder)
        if blocked:
            raise self.root.blocked(blocked[0])
        return found

    def _look_for(self, folder: str) -> tuple[list[Path], list[Path]]:
        """The folders that have this name, and what is in the place of one: a link out of the root or to nowhere, or a
        file in place of all of them."""
        found, blocked = [self._root], list[Path]()
        for part in filter(None, folder.split("/")):
            wanted = fold(part)
            alike = [entry for path in found for entry in entries(path) if fold(entry.name) == wanted]
            found = [Path(entry.path) for entry in alike if self._is_folder(Path(entry.path))]
            links = [Path(entry.path) for entry in alike if entry.is_symlink()]
            blocked += [path for path in links if path not in found]
            blocked += [Path(entry.path) for entry in alike if not found]
        return found, blocked

    def _is_folder(self, path: Path) -> bool:
        """Whether it is a folder, or leads to one, within the root."""
        with suppress(FileNotFoundError, NotADirectoryError):
            try:
                is_folder = stat.S_ISDIR(path.stat().st_mode)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                return False
            return is_folder and Path(os.path.realpath(path)).is_relative_to(self._root)
        return False


def _is_name(name: str) -> bool:
    return "\0" not in name and {"", ".", ".."}.isdisjoint(name.split("/"))


def _own(image_id: str, target: Path) -> str:
    """The beginning of every temporary name of an image; what announces a claim has another."""
    digest = hashlib.sha256(f"{image_id}\0".encode() + os.fsencode(target)).hexdigest()
    return f"{MARK}-{digest[:16]}-"


def _announcement(target: Path, own: str) -> Path:
    return target.with_name(own.rstrip("-") + ".claim")


def _keys_of(name: str) -> Iterator[str]:
    """The keys under which a put searches a name: the image it would be, or the image whose temporary it is."""
    yield fold(name.rpartition(".")[0])
    if name.startswith(f"{MARK}-"):
        yield name[:OWN_SIGNS]


def _are_rivals(extension: str, ours: str) -> bool:
    """Whether two files of one name cannot both be ours: they have one extension, or are of one known medium."""
    return extension == ours or medium_of(extension) == medium_of(ours) != "file"


def _the_same(rivals: list[Path], deposit: Deposit) -> Path | None:
    """The rival that is the same image under the same kind's name; None without rivals; else Refusal."""
    for path in rivals:
        if holds(path, deposit.extension, deposit.size_bytes, deposit.md5):
            return path
    if rivals:
        raise Refusal("collision", f"{shown(rivals[0])} exists already and has other content")
    return None


def _copy(deposit: Deposit, fd: int) -> None:
    """Copy and sync; Refusal if the spool's bytes are not those that were pinned."""
    sha256, size_bytes = hashlib.sha256(), 0
    for piece in _pieces(deposit.path):
        sha256.update(piece)
        size_bytes += len(piece)
        write_all(fd, piece)
    if (size_bytes, sha256.hexdigest()) != (deposit.size_bytes, deposit.sha256):
        raise Refusal("altered", f"{shown(deposit.path)} no longer has the recorded bytes")
    sync_fd(fd)


def _pieces(path: Path) -> Iterator[bytes]:
    """A spool file that is gone or unreadable is the image's fault; other errors are not."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(file, PIECE_BYTES):
                yield piece
                if len(piece) < PIECE_BYTES:
                    return
        finally:
            os.close(file)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EIO):
            raise
        raise Refusal("altered", f"the spool's file cannot be read: {said(error)}") from error
