"""Strikes: files of which the process died while it checked them, counted across restarts.

A file that is being checked lies in the spool under a temporary name. One that a start finds there was being checked
when the process ended; the kernel kills whoever needs most memory, so it may be what killed it. Each time is one byte
in a file beside it, named by the image and the attempt, so that a new attempt begins without.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

CHECKED: Final = re.compile(r"\.([1-9][0-9]*)-a([0-9]+)-[0-9]+\.pinned")
STRUCK: Final = re.compile(r"\.([1-9][0-9]*)-a([0-9]+)\.strikes")

Key = tuple[str, int, int]
"""Batch, index, attempt."""


class Strikes:
    """Of the files below one folder. `found` is called at the start for all that lies there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count: dict[Key, int] = {}

    def found(self, path: Path) -> None:
        """Count what was being checked when the process died, and what was counted before. Raises OSError."""
        checked = CHECKED.fullmatch(path.name)
        found = checked or STRUCK.fullmatch(path.name)
        if found is None:
            return
        key = (path.parent.name, int(found[1]), int(found[2]))
        with self._place(key).open("ab") as file:
            file.write(b"x" if checked else b"")
            self._count[key] = file.tell()

    def of(self, key: Key) -> int:
        return self._count.get(key, 0)

    def acquit(self, key: Key) -> None:
        """A check that came to its end was not what the process died of."""
        if self._count.pop(key, 0):
            self._place(key).unlink(missing_ok=True)

    def acquit_all(self, batch_id: str, index: int) -> bool:
        """Of all attempts: no file of this image is awaited. Whether there was any."""
        found = [key for key in list(self._count) if key[:2] == (batch_id, index)]
        for key in found:
            self.acquit(key)
        return bool(found)

    def _place(self, key: Key) -> Path:
        batch_id, index, attempt = key
        return self._root / batch_id / f".{index}-a{attempt}.strikes"
