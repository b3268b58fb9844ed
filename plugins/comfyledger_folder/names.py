"""Remembers what a put must know of its folders, so that a file costs as much beside 100,000 others as beside none.

For the folder itself the folded names are remembered, as hashes, with a mark: after each change of ours its
modification time is set to the nanosecond. A change by another program sets another time, and the folder is listed
again. If the time cannot be set, or is stored less exactly, the folder is listed for each put.

For the folders above it is remembered that they were synced and that none of them is spelled twice. That holds as long
as their ctime stays, which no program can set. An inode would not do: a folder that is made again may get the same one.
As long as the root is among them and all are as they were, its mark is still there and no link has taken its place.
A folder that has changed just now may change again within the same tick of the clock, so it is not remembered yet.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SETTLED_NS: Final = 2_500_000_000
"""Longer than a tick of any file system's clock (FAT: 2 s)."""
SOON_SETTLED_NS: Final = 100_000_000
"""Longer than a tick of a clock that shows parts of a millisecond: Linux moves it 100 times a second or more."""
PATHS_MAX: Final = 10_000
"""Paths that are remembered: some 2 MB."""
NAMES_MAX: Final = 500_000
"""Names that are remembered, of all folders together: some 30 MB."""
CALLS: Final = 100
"""So often, names are counted and forgotten: with many folders, counting takes longer than the rest."""

Mark = tuple[int, int, int]
"""Modification time, device and inode of a folder: another one in its place may have been given the same time."""
State = tuple[tuple[int, int, int], ...]
"""Device, inode and ctime of the folders above one."""


class Paths:
    """The folders whose parents are known. Safe to use from several threads at once."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._known: dict[Path, State] = {}
        self._now_ns = now_ns

    def state_of(self, folders: Sequence[Path]) -> State:
        """The state of all these folders but the last; each lies in the one before it."""
        found = (folder.stat() for folder in folders[:-1])
        return tuple((one.st_dev, one.st_ino, one.st_ctime_ns) for one in found)

    def hold(self, folders: Sequence[Path]) -> bool:
        """Whether all these folders but the last are as they were remembered. False if there is but one."""
        known = self._known.get(folders[-1])
        with suppress(OSError):
            return bool(known) and known == self.state_of(folders)
        return False

    def remember(self, folder: Path, state: State) -> None:
        """`state` was taken before the folders above were listed and synced."""
        if len(self._known) >= PATHS_MAX:
            self._known.clear()
        if all(self._now_ns() - ctime_ns > _tick_ns(ctime_ns) for _, _, ctime_ns in state):
            self._known[folder] = state


def _tick_ns(ctime_ns: int) -> int:
    return SOON_SETTLED_NS if ctime_ns % 1_000_000 else SETTLED_NS


class Names:
    """The folders of the last puts. `keys_of` returns the keys under which a name is found."""

    def __init__(self, keys_of: Callable[[str], Iterable[str]]) -> None:
        self._keys_of = keys_of
        self._folders: OrderedDict[Path, Folder] = OrderedDict()
        self._lock = threading.Lock()
        self._calls = 0

    def of(self, path: Path) -> Folder:
        with self._lock:
            folder = self._folders.get(path)
            if folder is None:  # one without names is false
                folder = self._folders[path] = Folder(path, self._keys_of)
            self._folders.move_to_end(path)
            self._calls += 1
            if self._calls % CALLS == 0:
                self._forget_some()
            return folder

    def _forget_some(self) -> None:
        while len(self._folders) > 1 and sum(map(len, self._folders.values())) > NAMES_MAX:
            self._folders.popitem(last=False)


class Folder:
    """The names in one folder. Safe to use from several threads at once."""

    def __init__(self, path: Path, keys_of: Callable[[str], Iterable[str]]) -> None:
        self._path, self._keys_of = path, keys_of
        self._lock = threading.Lock()
        self._keys: set[int] = set()
        self._mark: Mark | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def may_hold(self, *keys: str) -> bool:
        """Whether a file may be there under one of these keys. Raises OSError."""
        with self._lock:
            if not self._is_as_left():
                self._mark = self._marked()
                self._keys = {hash(key) for name in os.listdir(self._path) for key in self._keys_of(name)}
            return not self._keys.isdisjoint(map(hash, keys))

    @contextmanager
    def changing(self, *keys: str) -> Iterator[None]:
        """Add or remove something under these keys. Keep it short: it holds the lock of the folder."""
        with self._lock:
            as_left = self._is_as_left()
            try:
                yield
            finally:
                self._keys.update(map(hash, keys))
                self._mark = self._marked(self._mark) if as_left else None

    def forget(self, key: str) -> None:
        """Forget a key: nothing of ours is there under it any more."""
        with self._lock:
            self._keys.discard(hash(key))

    def _is_as_left(self) -> bool:
        return self._mark is not None and len(self._keys) <= NAMES_MAX and self._mark == _mark_of(self._path)

    def _marked(self, as_left: Mark | None = None) -> Mark | None:
        """Set the time. `as_left`: the mark that the folder has. Then its time is known to be stored as it is set."""
        mark = time.time_ns()
        try:
            os.utime(self._path, ns=(mark, mark))
        except OSError:
            return None
        if as_left is not None:
            return mark, *as_left[1:]
        found = _mark_of(self._path)
        return found if found[0] == mark else None


def _mark_of(path: Path) -> Mark:
    found = path.stat()
    return found.st_mtime_ns, found.st_dev, found.st_ino
