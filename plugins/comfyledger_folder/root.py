"""The root of a folder store: whether it is there, is the one that it was, and can be written.

An unmounted disk is not taken for an empty one. At its first use the root is made if need be and marked by a file
`.comfyledger`; the state folder remembers that. A root that was marked and has no mark now is not reached. At the very
first use nothing can be known: mount the disk before.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.plugin_api import LaneFault, Remark, Space, StoreTrouble, daemon_may_write, space_of
from comfyledger_folder.files import shown, sync
from comfyledger_folder.pages import as_text

MARK: Final = ".comfyledger"
MARK_TEXT: Final = "comfyledger keeps images here. A root without this file counts as an unmounted disk.\n"


class Root:
    """One root. Raises OSError or StoreTrouble.

    `configured`: the path that led to the root, if it is another one. What either was known for is remembered: a folder
    that has become a link to elsewhere is not at its first use.
    """

    def __init__(self, path: Path, state_dir: Path, configured: Path | None = None) -> None:
        self.path, self._state_dir = path, state_dir
        self._memories = tuple({_memory_of(one, state_dir): None for one in (path, configured or path)})
        self._looking = threading.Lock()
        self.is_new = False
        """Made and marked by this process: no earlier run has left anything in it."""

    def make_ready(self) -> None:
        """Check that the root is the same as before. It is made and marked at the first use, never again."""
        with self._looking:
            if os.path.realpath(self.path) != str(self.path):
                raise self._led_away()
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.path / MARK).stat()
                self._remember()
                return
            if self._is_remembered():
                raise self._unmounted()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / MARK).write_text(MARK_TEXT)
            sync(self.path / MARK, self.path, self.path.parent)
            self._remember()
            self.is_new = True

    def diagnose(self) -> tuple[Remark, ...]:
        """Remarks for `comfyledger doctor`. Makes and marks nothing."""
        marked = self._look()
        there = self._nearest()
        may_write = there.is_dir() and daemon_may_write(there, self._state_dir)
        return (_about(self.path, is_marked=marked, is_writable=may_write),)

    def space(self) -> Space:
        """What is free on the root's disk; before the first use, on the disk where the root will be made."""
        self._look()
        return msgspec.structs.replace(space_of(self._nearest()), folder=as_text(str(self.path)))

    def _nearest(self) -> Path:
        """The root, or the nearest folder above it while it is not made."""
        return next(path for path in (self.path, *self.path.parents) if path.exists())

    def _look(self) -> bool:
        """Whether the root is marked. Makes and marks nothing."""
        if os.path.realpath(self.path) != str(self.path):
            raise self._led_away()
        marked = self.is_marked()
        if not marked and self._is_remembered():
            raise self._unmounted()
        return marked

    def _is_remembered(self) -> bool:
        return any(memory.exists() for memory in self._memories)

    def _remember(self) -> None:
        for memory in self._memories:
            if not memory.exists():
                memory.parent.mkdir(parents=True, exist_ok=True)
                memory.write_text(f"{as_text(str(self.path))}\n", encoding="utf-8", errors="surrogateescape")
                sync(memory, memory.parent)

    def is_marked(self) -> bool:
        return (self.path / MARK).exists()

    def _unmounted(self) -> StoreTrouble:
        text = f"{shown(self.path)} has no file {MARK}. Is the disk mounted? If so, make an empty file of that name."
        return StoreTrouble(LaneFault("not_reached", text))

    def _led_away(self) -> StoreTrouble:
        real = shown(Path(os.path.realpath(self.path)))
        text = f"{shown(self.path)} now leads to another place, {real}. Put the folder back."
        return StoreTrouble(LaneFault("configuration", text))

    def blocked(self, folder: Path) -> StoreTrouble:
        text = (
            f"{shown(folder)} is not a folder within {shown(self.path)}: it is a file, or a link that leads out or to "
            "nowhere. Put the folder back. Until then the store cannot be read there."
        )
        return StoreTrouble(LaneFault("configuration", text))


def _about(root: Path, *, is_marked: bool, is_writable: bool) -> Remark:
    """What `comfyledger doctor` says of a root that is not known to have gone."""
    if not is_writable:
        return Remark("failure", f"{root} cannot be written by the daemon's account.", f"ls -ld {root}")
    if not is_marked:
        return Remark("ok", f"{root} will be made and marked at its first use. Mount its disk before.")
    return Remark("ok", f"{root} is there and can be written.")


def _memory_of(path: Path, state_dir: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    return state_dir / f"folder-{digest[:16]}.seen"
