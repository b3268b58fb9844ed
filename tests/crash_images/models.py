"""What a disk holds after a power loss: the records are applied one by one, and four models say what is left of them.

A file has its bytes and those that were synced, a folder its entries and those that were synced; what came since is
pending, in order. Nothing that was not synced is counted on: neither the name of a new file nor a rename, whatever
a real file system may do beyond its promise. A file system's own order between calls is not assumed either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Union

from crash_images.recorder import Kind, Record

Image = dict[str, bytes | None]
"""A whole folder: the bytes of each file by its path, None for a folder."""

Change = tuple[tuple[str, Union["File", "Folder", None]], ...]


class File:
    """The bytes of an inode. A pending piece is an offset with bytes, or a size to which the file is cut or grown."""

    def __init__(self) -> None:
        self.now = bytearray()
        self.synced = b""
        self.pending: list[tuple[int, bytes | None]] = []

    def take(self, offset: int, content: bytes | None) -> None:
        self.pending.append((offset, content))
        _apply(self.now, offset, content)

    def sync(self) -> None:
        self.synced = bytes(self.now)
        self.pending.clear()

    def with_pending(self, pieces: Iterable[tuple[int, bytes | None]]) -> bytes:
        held = bytearray(self.synced)
        for offset, content in pieces:
            _apply(held, offset, content)
        return bytes(held)


class Folder:
    """The entries of a folder. A pending change is a set of names that come or go together."""

    def __init__(self) -> None:
        self.now: dict[str, File | Folder] = {}
        self.synced: dict[str, File | Folder] = {}
        self.pending: list[Change] = []

    def take(self, *change: tuple[str, File | Folder | None]) -> None:
        self.pending.append(change)
        _enter(self.now, change)

    def sync(self) -> None:
        self.synced = dict(self.now)
        self.pending.clear()

    def with_pending(self, changes: Iterable[Change]) -> dict[str, File | Folder]:
        held = dict(self.synced)
        for change in changes:
            _enter(held, change)
        return held


def _apply(held: bytearray, offset: int, content: bytes | None) -> None:
    size = offset if content is None else max(len(held), offset + len(content))
    held.extend(bytes(max(0, size - len(held))))
    if content is None:
        del held[offset:]
    else:
        held[offset : offset + len(content)] = content


def _enter(held: dict[str, File | Folder], change: Change) -> None:
    for name, node in change:
        if node is None:
            held.pop(name, None)
        else:
            held[name] = node


class Disk:
    """A folder as the records make it, from empty on. The root itself is on the disk from the beginning."""

    def __init__(self) -> None:
        self.root = Folder()
        self.written: File | None = None
        """The file of the last write, as long as that write is pending."""
        self._files: dict[int, File] = {}

    def take(self, record: Record) -> None:
        match record.kind:
            case Kind.WRITE:
                self.written = self._files[record.inode]
                self.written.take(record.offset, record.content)
            case Kind.RESIZE:
                self._files[record.inode].take(record.offset, None)
            case Kind.SYNC_FILE:
                self._files[record.inode].sync()
            case Kind.SYNC_FOLDER:
                self._folder(record.path).sync()
            case _:
                self._take_name(record)

    def _take_name(self, record: Record) -> None:
        match record.kind:
            case Kind.CREATE:
                file = self._files[record.inode] = File()
                self._entry(record.path, file)
            case Kind.MKDIR:
                self._entry(record.path, Folder())
            case Kind.UNLINK | Kind.RMDIR:
                self._entry(record.path, None)
            case Kind.LINK:
                self._entry(record.other, self._node(record.path))
            case Kind.RENAME:
                self._rename(record.path, record.other)

    def _rename(self, old: str, new: str) -> None:
        """Within one folder a rename comes whole or not at all; between two, either half may be missing."""
        node = self._node(old)
        above, _, name = old.rpartition("/")
        other, _, named = new.rpartition("/")
        if above == other:
            self._folder(above).take((name, None), (named, node))
        else:
            self._folder(other).take((named, node))
            self._folder(above).take((name, None))

    def _entry(self, path: str, node: File | Folder | None) -> None:
        above, _, name = path.rpartition("/")
        self._folder(above).take((name, node))

    def _node(self, path: str) -> File | Folder:
        above, _, name = path.rpartition("/")
        return self._folder(above).now[name]

    def _folder(self, path: str) -> Folder:
        folder = self.root
        for name in path.split("/") if path else ():
            below = folder.now[name]
            assert isinstance(below, Folder), path
            folder = below
        return folder


def everything(disk: Disk, _: random.Random) -> Image:
    """All that was called for has happened: what a kill leaves."""
    return _image(disk.root, lambda folder: folder.now, lambda file: bytes(file.now))


def synced_only(disk: Disk, _: random.Random) -> Image:
    """Nothing but what was synced."""
    return _image(disk.root, lambda folder: folder.synced, lambda file: file.synced)


def some_of_the_rest(disk: Disk, chance: random.Random) -> Image:
    """What was synced, and of the rest each change or not, whatever came before or after it."""
    likely = chance.random()

    def entries(folder: Folder) -> dict[str, File | Folder]:
        return folder.with_pending([change for change in folder.pending if chance.random() < likely])

    def content(file: File) -> bytes:
        return file.with_pending([piece for piece in file.pending if chance.random() < likely])

    return _image(disk.root, entries, content)


def last_write_torn(disk: Disk, chance: random.Random) -> Image:
    """All, but of the last write only its beginning, if it is not synced yet."""
    torn = disk.written
    piece = torn.pending[-1] if torn is not None and torn.pending else None

    def content(file: File) -> bytes:
        if file is not torn or piece is None or piece[1] is None:
            return bytes(file.now)
        beginning = piece[1][: chance.randrange(len(piece[1]))]
        return file.with_pending([*file.pending[:-1], (piece[0], beginning)])

    return _image(disk.root, lambda folder: folder.now, content)


Model = Callable[[Disk, random.Random], Image]
MODELS: tuple[Model, ...] = (everything, synced_only, some_of_the_rest, last_write_torn)


def _image(
    folder: Folder, entries: Callable[[Folder], dict[str, File | Folder]], content: Callable[[File], bytes]
) -> Image:
    image: Image = {}
    left = [("", folder)]
    while left:
        above, folder = left.pop()
        for name, node in sorted(entries(folder).items()):
            if isinstance(node, File):
                image[above + name] = content(node)
            else:
                image[above + name] = None
                left.append((f"{above}{name}/", node))
    return image
