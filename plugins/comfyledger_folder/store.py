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

- **A store that cannot look is not an empty one.** A folder of a name that is a file, or a link out of the root or to
  nowhere, is the store's trouble and not the image's: it is repaired in one place, and nothing is parked for it.
- **Names are UTF-8 on the disk**, whatever the locale says: texts become names and names texts at the edge of `Disk`.
- **No temporary stays**, see `comfyledger_folder.leftovers`.

Symbolic links within the root may lead to other folders within the root only. `page` follows none.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    Numbers,
    Outcome,
    Page,
    Remark,
    Series,
    Stored,
    StoreKind,
    StoreTrouble,
    daemon_may_write,
    hookimpl,
)
from comfyledger_folder.diagnosis import about_root
from comfyledger_folder.files import (
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
from comfyledger_folder.leftovers import Remains
from comfyledger_folder.names import Names, Paths
from comfyledger_folder.pages import as_text, entries, on_disk, read_page

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
    errno.ELOOP: "configuration",
    **dict.fromkeys((errno.ENOENT, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO), "not_reached"),
    **dict.fromkeys((errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH), "not_reached"),
}
NAME_REFUSED: Final = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ, errno.EINVAL, errno.EFBIG})
"""What a disk has against one name or file. What it has against a folder is the store's trouble."""


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

    def __init__(self, root: Path, state_dir: Path, timeout_s: float = TIMEOUT_S, *, name: str = "folder") -> None:
        """`root` as it was configured; what it leads to now is the store's place."""
        self._root = Path(os.path.realpath(root))
        self._name = name
        self._timeout_s = timeout_s
        self._disk = Disk(self._root, state_dir, configured=root)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="comfyledger-folder")
        self._sweeping: threading.Thread | None = None

    @classmethod
    def open(cls, name: str, options: Mapping[str, Any], state_dir: Path) -> FolderStore:
        """The only option is `root`: an absolute path, or one that begins with `~`."""
        for option in options:
            if option != "root":
                raise ValueError(f"stores.{name}: unknown option {option!r}; did you mean 'root'?")
        root = Path(os.path.expanduser(on_disk(str(options.get("root", "")))))
        if not root.is_absolute():
            raise ValueError(f"stores.{name}: root must be an absolute path (a leading ~ is expanded)")
        return cls(root, state_dir, name=name)

    @property
    def identity(self) -> str:
        return f"folder:{as_text(str(self._root))}"

    async def prepare(self) -> None:
        """Nothing to find out: the root is looked at with every call, since a disk may come and go.

        What an earlier run left half written is removed meanwhile; nobody waits for it.
        """
        self._sweep_if_owed()

    def _sweep_if_owed(self) -> None:
        """In a thread that nothing waits for: the root may be large, slow or away."""
        if not self._disk.is_swept and not (self._sweeping and self._sweeping.is_alive()):
            self._sweeping = threading.Thread(target=self._disk.sweep, name="comfyledger-folder-sweep", daemon=True)
            self._sweeping.start()

    async def highest_number(self, series: Series) -> int:
        numbers = await self._in_thread(partial(self._disk.numbers, series))
        return numbers.highest(self._name, series)

    async def put(self, deposit: Deposit) -> Outcome:
        """A call that ran out of time, or was cancelled, may still end in its thread: it does no harm then."""
        try:
            return await self._in_thread(partial(self._disk.put, deposit))
        except StoreTrouble as trouble:
            return trouble.fault
        finally:
            self._sweep_if_owed()

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
        self._disk.remains.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except OSError as error:  # The timeout among them, which has no number and no text.
            code = LANE_CODES.get(error.errno or errno.ETIMEDOUT, "unknown")
            text = _said(error) or f"{_shown(self._root)} did not answer within {self._timeout_s:g} s"
            raise StoreTrouble(LaneFault(code, text)) from error


class Disk:
    """The blocking work on one root. Raises OSError, StoreTrouble, or Refusal within.

    `configured`: the path that led to the root, if it is another one. What either was known for is remembered: a folder
    that has become a link to elsewhere is not at its first use.
    """

    def __init__(self, root: Path, state_dir: Path, configured: Path | None = None) -> None:
        self._root, self._state_dir = root, state_dir
        self._memories = tuple({_memory_of(path, state_dir): None for path in (root, configured or root)})
        self.remains = Remains(root, state_dir)
        self.is_swept = False
        self._serial = count(1)
        self._paths, self._names = Paths(), Names(_keys_of)
        self._claiming, self._looking = threading.Lock(), threading.Lock()

    def make_ready(self) -> None:
        """See that the root is the one that it was. Made and marked at the first use, never again."""
        with self._looking:
            if os.path.realpath(self._root) != str(self._root):
                raise self._led_away()
            with suppress(FileNotFoundError, NotADirectoryError):
                (self._root / MARK).stat()
                self._remember()
                return
            if self._is_remembered():
                raise self._unmounted()
            self._root.mkdir(parents=True, exist_ok=True)
            (self._root / MARK).write_text(MARK_TEXT)
            sync(self._root / MARK, self._root, self._root.parent)
            self._remember()
            self.is_swept = True

    def sweep(self) -> None:
        """Remove what earlier runs left half written, if the root is there. Raises nothing; `is_swept` says it did."""
        with suppress(OSError, StoreTrouble):
            if (self._root / MARK).exists():
                self.make_ready()
                self.remains.sweep()
                self.make_ready()  # One that went away meanwhile was not seen whole.
                self.is_swept = True

    def _unmounted(self) -> StoreTrouble:
        text = f"{_shown(self._root)} has no file {MARK}: is the disk mounted? If so, put an empty one there."
        return StoreTrouble(LaneFault("not_reached", text))

    def _led_away(self) -> StoreTrouble:
        real = _shown(Path(os.path.realpath(self._root)))
        text = f"{_shown(self._root)} leads to {real} now, which is another place. Put the folder back."
        return StoreTrouble(LaneFault("configuration", text))

    def _blocked(self, folder: Path) -> StoreTrouble:
        text = (
            f"{_shown(folder)} is no folder within {_shown(self._root)}: it is a file, or a link that leads out or to "
            "nowhere. Put the folder back; until then nobody can tell what the store holds there."
        )
        return StoreTrouble(LaneFault("configuration", text))

    def _is_remembered(self) -> bool:
        return any(memory.exists() for memory in self._memories)

    def _remember(self) -> None:
        for memory in self._memories:
            if not memory.exists():
                memory.parent.mkdir(parents=True, exist_ok=True)
                memory.write_text(f"{as_text(str(self._root))}\n", encoding="utf-8", errors="surrogateescape")
                sync(memory, memory.parent)

    def diagnose(self) -> tuple[Remark, ...]:
        """Makes and marks nothing, unlike a use."""
        if os.path.realpath(self._root) != str(self._root):
            raise self._led_away()
        marked = (self._root / MARK).exists()
        if not marked and self._is_remembered():
            raise self._unmounted()
        there = next(path for path in (self._root, *self._root.parents) if path.exists())
        may_write = there.is_dir() and daemon_may_write(there, self._state_dir)
        return (about_root(self._root, is_marked=marked, is_writable=may_write),)

    def numbers(self, series: Series) -> Numbers:
        """The numbers under a series, in every folder that has its name. A link or a folder gives no doubt."""
        self.make_ready()
        numbers = self._count(series, lambda entry: True)
        if numbers.doubt is not None:
            numbers = self._count(series, lambda entry: entry.is_file(follow_symlinks=False))
        self.make_ready()  # A disk that went away meanwhile must not pass for one without such files.
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

    def check(self, public_id: str, extension: str) -> Held | None:
        self.make_ready()
        path = self._held_at(public_id, extension)
        held = Held(public_id, extension, path.stat().st_size, md5_of(path)) if path is not None else None
        self.make_ready()  # As above.
        return held

    def fetch(self, public_id: str, extension: str, target: Path) -> None:
        self.make_ready()
        path = self._held_at(public_id, extension)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "the file has gone", f"{public_id}.{extension}")
        with path.open("rb") as source, target.open("r+b") as copy:
            shutil.copyfileobj(source, copy, PIECE_BYTES)

    def _held_at(self, public_id: str, extension: str) -> Path | None:
        """Where a file of this name lies, if in the root. Raises StoreTrouble if its folder cannot be looked into."""
        name = on_disk(f"{public_id}.{extension}")
        if not _is_name(name) or not self._is_there(self._folders_of(name)[1:]):
            return None
        path = Path(os.path.realpath(self._root / name))
        return path if path.is_relative_to(self._root) and path.is_file() else None

    def page(self, prefix: str, cursor: str) -> Page:
        """Below every folder that has this name, as `numbers` looks for it."""
        self.make_ready()
        folder = on_disk(prefix)
        inside = "\0" not in prefix and not prefix.startswith("/")
        page = read_page(self._root, self._alike(folder) if inside else [], folder, cursor, MARK)
        self.make_ready()  # As above.
        return page

    def delete(self, ours: Held) -> Deleted | Foreign:
        self.make_ready()
        name = on_disk(ours.public_id)
        own = _own(ours.image_id, self._root / f"{name}.{ours.extension}")
        outcome = delete(self._alike(name.rpartition("/")[0]), name, ours, own)
        self.make_ready()  # As above.
        return outcome

    def put(self, deposit: Deposit) -> Outcome:
        self.make_ready()  # Outside: what is wrong with the root is no image's fault.
        self.remains.take_away(self.make_ready)
        try:
            return self._put(deposit, on_disk(deposit.public_id))
        except Refusal as refusal:
            return refusal.fault
        except OSError as error:
            if error.errno in NAME_REFUSED:
                self.make_ready()  # As above.
                return ImageFault("refused", _said(error))
            raise

    def _put(self, deposit: Deposit, name: str) -> Stored:
        folders = self._make_folders(name)
        target = folders[-1] / f"{name.rpartition('/')[2]}.{deposit.extension}"
        own = _own(deposit.image_id, target)
        above = self._paths.state_of(folders)
        is_known = self._paths.holds(folders[-1], above)
        alike = [folders[-1]] if is_known else self._look_for(name.rpartition("/")[0])[0]
        held = self._find(alike, deposit, target, own) or self._write(deposit, target, own)
        if held is not None:
            sync(held)
            with self._claiming:
                _announcement(target, own).unlink(missing_ok=True)
        sync(*(folders[-1:] if is_known else folders))
        if alike == [folders[-1]]:
            self._paths.remember(folders[-1], above)
        return Stored(url=(held or target).as_uri(), replayed=held is not None)

    def _folders_of(self, name: str) -> tuple[Path, ...]:
        """The root and each folder below it down to the file's."""
        return tuple(accumulate(name.split("/")[:-1], Path.joinpath, initial=self._root))

    def _make_folders(self, name: str) -> tuple[Path, ...]:
        """Those folders, made if need be and proved to lie in the root. Raises StoreTrouble where one cannot be."""
        if not _is_name(name):
            raise Refusal("refused", f"{as_text(name)!r} is no name for a file")
        folders = self._folders_of(name)
        if folders[-1].is_dir() and os.path.realpath(folders[-1]) == str(folders[-1]):
            return folders  # all are there, and none is a link
        for folder in folders[1:]:
            with suppress(FileExistsError):
                folder.mkdir()
            if not self._is_there([folder]):
                raise self._blocked(folder)
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
                raise self._blocked(folder)
        return True

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
                elif entry.name.startswith(own) and not self.remains.is_in_use(entry.name):
                    Path(entry.path).unlink(missing_ok=True)
        # An empty file under the very name may be a claim of this image: putting it in place will tell.
        return _the_same([path for path in rivals if path != target or not is_empty(path)], deposit)

    def _write(self, deposit: Deposit, target: Path, own: str) -> Path | None:
        """Copy, sync, put in place. Another may have been quicker: if with these bytes, returns where they are."""
        temporary = target.with_name(f"{own}{self.remains.home()}{os.getpid()}-{next(self._serial)}")
        folder = self._names.of(target.parent)
        with self.remains.using(temporary) as use:
            try:
                with folder.changing(own):
                    temporary.touch(exist_ok=False)
                    use.begun = True
                _copy(deposit, temporary)
                with folder.changing(fold(target.stem)):
                    use.begun = not self._place(temporary, target, own)
                    use.end()
                folder.forget(own)
                return None
            except FileExistsError:
                return _the_same([target], deposit)

    def _place(self, temporary: Path, target: Path, own: str) -> bool:
        """Give the file its name by the first way that the file system knows: whether its other name is gone with it.

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
        """Every folder that has this name, folded, part by part. Raises StoreTrouble if one cannot be looked into."""
        found, blocked = self._look_for(folder)
        if blocked:
            raise self._blocked(blocked[0])
        return found

    def _look_for(self, folder: str) -> tuple[list[Path], list[Path]]:
        """The folders that have this name, and what stands where one might be: a link that leads out or to nowhere, or
        a file in place of all of them."""
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


def _memory_of(path: Path, state_dir: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    return state_dir / f"folder-{digest[:16]}.seen"


def _is_name(name: str) -> bool:
    return "\0" not in name and {"", ".", ".."}.isdisjoint(name.split("/"))


def _shown(path: Path) -> str:
    """A path for people: what is no text in it is replaced."""
    return as_text(str(path)).encode(errors="replace").decode()


def _said(error: OSError) -> str:
    """What an error says, with its path as it is called on the disk; nothing of a timeout, which says nothing."""
    where = f": {_shown(Path(str(error.filename)))!r}" if error.filename is not None else ""
    return f"[Errno {error.errno}] {error.strerror}{where}"[:500] if error.errno else str(error)[:500]


def _own(image_id: str, target: Path) -> str:
    """The beginning of every temporary name of an image; what announces a claim has another."""
    digest = hashlib.sha256(f"{image_id}\0".encode() + os.fsencode(target)).hexdigest()
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
        raise Refusal("collision", f"{_shown(rivals[0])} is there already and holds something else")
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
        raise Refusal("altered", f"{_shown(deposit.path)} no longer holds the bytes that were recorded")


def _pieces(path: Path) -> Iterator[bytes]:
    """A spool's file that is gone or cannot be read is the image's trouble; other errors are not."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EIO):
            raise
        raise Refusal("altered", f"the spool's file cannot be read: {_said(error)}") from error
