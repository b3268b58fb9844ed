"""Removes the temporaries that an interrupted put of the folder store leaves behind.

There are two cases. If the root goes away during a put and comes back, the names that could not be removed are
remembered and tried again with the next put. If the process dies, the next process of the same state folder removes its
temporaries: their names hold the state folder and the process. Other files in the root stay, also temporaries of other
daemons. Temporaries of earlier releases do not name their owner; they are removed after a day.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

TEMPORARY: Final = re.compile(r"\.comfyledger-[0-9a-f]{16}-(?:([0-9a-f]{8})-)?([0-9]{1,10})-[0-9]+")
HOME: Final = "folder-home"
"""The file of the state folder that holds the 8 hex digits in the names of its temporaries."""
OLD_S: Final = 86_400.0
LEFT_MAX: Final = 1_000
"""Names that are remembered; the next start finds the others."""


class Use:
    """One temporary of a put. `begun`: it is on the disk under this name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = False

    def end(self) -> None:
        """Remove it, if it is there. Raises OSError, also if it should be there and is not: the disk went away."""
        if self.begun:
            self.path.unlink()
            self.begun = False


class Remains:
    """The temporaries below one root. Safe to use from several threads at once."""

    _in_use: Final[set[str]] = set()
    """Of all stores of this process, since two of them may have one root."""

    def __init__(self, root: Path, state_dir: Path) -> None:
        self._root = root
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._home: str | None = None
        self._left: dict[Path, None] = {}
        self._stopped = False

    def stop(self) -> None:
        """End a running sweep."""
        self._stopped = True

    def home(self) -> str:
        """The part of a temporary's name for the state folder; empty if that cannot be remembered."""
        with self._lock:
            if self._home is None:
                self._home = _home_of(self._state_dir / HOME)
            return f"{self._home}-" if self._home else ""

    def is_in_use(self, name: str) -> bool:
        return name in self._in_use

    @contextmanager
    def using(self, path: Path) -> Iterator[Use]:
        """Remove what is on the disk under this name at the end, now or later."""
        use = Use(path)
        self._in_use.add(path.name)
        try:
            yield use
        finally:
            try:
                use.end()
            except OSError:
                with self._lock:
                    if len(self._left) < LEFT_MAX:
                        self._left[path] = None
            finally:
                self._in_use.discard(path.name)

    def take_away(self, make_sure: Callable[[], None]) -> None:
        """Try again to remove what could not be removed. `make_sure` raises if the root is away. Raises OSError."""
        if not self._left:
            return
        with self._lock:
            for path in list(self._left):
                path.unlink(missing_ok=True)
                make_sure()
                del self._left[path]

    def sweep(self) -> None:
        """Remove the temporaries of processes of this state folder that are gone. Raises OSError."""
        home = self.home().rstrip("-")
        waiting = [self._root]
        while waiting and not self._stopped:
            with suppress(FileNotFoundError), os.scandir(waiting.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif self._is_left(entry, home):
                        Path(entry.path).unlink(missing_ok=True)

    def _is_left(self, entry: os.DirEntry[str], home: str) -> bool:
        named = TEMPORARY.fullmatch(entry.name)
        if named is None or not entry.is_file(follow_symlinks=False) or self.is_in_use(entry.name):
            return False
        if not named[1]:
            return time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD_S
        return named[1] == home and (int(named[2]) == os.getpid() or not _is_alive(int(named[2])))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _home_of(path: Path) -> str:
    """The digits in the file, which is made at the first use. Empty if it cannot be read or written."""
    with suppress(OSError, UnicodeError):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{HOME}.{os.getpid()}")
            beside.write_text(secrets.token_hex(4), encoding="ascii")
            beside.replace(path)
        found = path.read_text(encoding="ascii").strip()
        return found if re.fullmatch("[0-9a-f]{8}", found) else ""
    return ""
