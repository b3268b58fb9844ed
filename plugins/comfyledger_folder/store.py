"""The folder store: files of every medium below a root, on a local disk or a mounted one.

`FolderStore` answers the plugin API and gives every call a bound in time; `Disk` does the blocking file work in threads
of the store's own, so that a dead mount cannot take those of the daemon. What this store guarantees:

- **Nothing is ever replaced.** A file is written under a temporary name in its folder, synced, and given its name by a
  hard link. If the file system has none, RENAME_NOREPLACE does it. If it has neither, a claim does: an empty file made
  with O_EXCL, over which the whole file is renamed. No partial file ever has an image's name. A file named after image
  and place announces the claim; an empty file without an announcement belongs to somebody else.
- **Names that a case-insensitive disk would treat as one are one**: equal after NFC and casefold, folders included.
  Such a file, or the same name with another extension of the same medium, is a collision, unless kind and bytes are the
  same. A video beside an image of one name is none, nor is any file whose extension no table knows.
- **An unmounted disk is not taken for an empty one**, see `comfyledger_folder.root`.
- **A folder that cannot be read is not an empty one.** If a file, or a link out of the root or to nowhere, is in a
  folder's place, the store is at fault and not the image: a person repairs it once, and no image is parked.
- **Names are UTF-8 on the disk**, whatever the locale. `Disk` converts between texts and names.
- **No temporary stays**, see `comfyledger_folder.leftovers`.

Symbolic links within the root may lead to other folders within the root only. `page` follows none.
"""

from __future__ import annotations

import asyncio
import difflib
import errno
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from comfyledger.plugin_api import (
    Deletion,
    Deposit,
    Held,
    LaneFault,
    Outcome,
    Page,
    Remark,
    Series,
    Space,
    StoreKind,
    StoreTrouble,
    hookimpl,
)
from comfyledger_folder.disk import Disk
from comfyledger_folder.files import said, shown
from comfyledger_folder.pages import as_text, on_disk

TIMEOUT_S: Final = 60.0
LEAST_BYTES_S: Final = 4_194_304
"""The rate at which a disk copies or reads at least: the size of a file adds to the time for a call."""
PATIENCE_S: Final = 1_200.0
"""For calls of which the daemon does not know the size: enough for a file of 2 GB, looked at and copied."""
THREADS: Final = 4
T = TypeVar("T")

OPTIONS: Final = ("root", "shared")
LANE_CODES: Final[dict[int, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "full"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR), "configuration"),
    errno.ELOOP: "configuration",
    **dict.fromkeys((errno.ENOENT, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO), "not_reached"),
    **dict.fromkeys((errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH), "not_reached"),
}


@hookimpl
def comfyledger_stores() -> Mapping[str, StoreKind]:
    return {"folder": FolderStore.open}


class FolderStore:
    """A Store whose files lie below a root. Safe to call many times at once, from one event loop."""

    compares_bytes = True

    def __init__(self, root: Path, state_dir: Path, timeout_s: float = TIMEOUT_S, *, name: str = "folder") -> None:
        """`root` as configured; the store is the folder that it leads to now."""
        self._root = Path(os.path.realpath(root))
        self._name = name
        self._timeout_s = timeout_s
        self._disk = Disk(self._root, state_dir, configured=root)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="comfyledger-folder")
        self._sweeping: threading.Thread | None = None

    @classmethod
    def open(cls, name: str, options: Mapping[str, Any], state_dir: Path) -> FolderStore:
        """Of the options, `root` is an absolute path, or one that begins with `~`. `shared` changes nothing here:

        whether a folder is the same one on several machines is checked where their log is known to be shared.
        """
        for option in options:
            if option not in OPTIONS:
                near = difflib.get_close_matches(option, OPTIONS, 1, 0.0)[0]
                raise ValueError(f"stores.{name}: unknown option {option!r}; did you mean {near!r}?")
        if not isinstance(options.get("shared", False), bool):
            raise ValueError(f"stores.{name}: shared must be true or false")
        root = Path(os.path.expanduser(on_disk(str(options.get("root", "")))))
        if not root.is_absolute():
            raise ValueError(f"stores.{name}: root must be an absolute path (a leading ~ is expanded)")
        return cls(root, state_dir, name=name)

    @property
    def patience_s(self) -> float:
        return PATIENCE_S

    @property
    def identity(self) -> str:
        return f"folder:{as_text(str(self._root))}"

    async def prepare(self) -> None:
        """Nothing to prepare: each call checks the root, because a disk may come and go.

        A thread removes what an earlier run left half written; nothing waits for it.
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
        """A call that timed out or was cancelled may still end in its thread. That does no harm."""
        try:
            return await self._in_thread(partial(self._disk.put, deposit), deposit.size_bytes)
        except StoreTrouble as trouble:
            return trouble.fault
        finally:
            self._sweep_if_owed()

    async def check(self, public_id: str, extension: str) -> Held | None:
        size = await self._in_thread(partial(self._disk.size_of, public_id, extension))
        return await self._in_thread(partial(self._disk.check, public_id, extension), size)

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        size = await self._in_thread(partial(self._disk.size_of, public_id, extension))
        await self._in_thread(partial(self._disk.fetch, public_id, extension, target), size)

    async def delete(self, ours: Held) -> Deletion:
        """Deletes only files with our bytes, whatever the case of their names. Folders stay."""
        try:
            return await self._in_thread(partial(self._disk.delete, ours), ours.size_bytes)
        except StoreTrouble as trouble:
            return trouble.fault

    async def page(self, prefix: str, cursor: str = "") -> Page:
        """Every file but temporaries and the mark, in the order of their paths, part by part; md5 is left empty."""
        return await self._in_thread(partial(self._disk.page, prefix, cursor))

    async def diagnose(self) -> tuple[Remark, ...]:
        return await self._in_thread(self._disk.root.diagnose)

    async def space(self) -> Space:
        return await self._in_thread(self._disk.root.space)

    async def close(self) -> None:
        self._disk.remains.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, call: Callable[[], T], size_bytes: int = 0) -> T:
        """`size_bytes`: of the file that the call reads or writes."""
        timeout_s = self._timeout_s + size_bytes / LEAST_BYTES_S
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except OSError as error:  # A TimeoutError too, which has no number and no text.
            code = LANE_CODES.get(error.errno or errno.ETIMEDOUT, "unknown")
            text = said(error) or f"{shown(self._root)} did not answer within {timeout_s:.3g} s"
            raise StoreTrouble(LaneFault(code, text)) from error
