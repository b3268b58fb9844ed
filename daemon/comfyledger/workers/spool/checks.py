"""What checks of files may take together, and which files the process died of.

Each check says what it costs: memory of decoders, or time. Together they stay below one bound, in the order of asking.
A file whose check the process did not survive is checked alone, so that the next death blames nobody else.

A file that is being checked lies in the spool under a temporary name. A start that finds one there counts a strike
against it: the kernel kills the process that needs most memory, so this file may be the reason. Each strike is one byte
in a file beside it, named by the image and the attempt, so that a new attempt begins without strikes.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from comfyledger.workers.media.broken_file import DECODE_BYTES_MAX

ALL: Final = DECODE_BYTES_MAX
LONG: Final = ALL // 2
"""The cost of a check that takes long but little memory. Two at once leave threads for others."""
CHECKED: Final = re.compile(r"\.([1-9][0-9]*)-a([0-9]+)-[0-9]+\.pinned")
STRUCK: Final = re.compile(r"\.([1-9][0-9]*)-a([0-9]+)\.strikes")

Key = tuple[str, int, int]
"""Batch, index, attempt."""


class Checks:
    """The costs of running checks, in bytes, together never above ALL."""

    def __init__(self) -> None:
        self._free = ALL
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, cost: int) -> AsyncIterator[None]:
        """Wait until the cost fits. A cost of 0 never waits."""
        if cost:
            await self._take(cost)
        try:
            yield
        finally:
            self._free += cost
            self._let_in()

    async def _take(self, cost: int) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, mine))
        self._let_in()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._waiting = deque(one for one in self._waiting if one[1] is not mine)
            else:
                self._free += cost
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            cost, first = self._waiting.popleft()
            if not first.done():
                self._free -= cost
                first.set_result(None)


class Strikes:
    """Strikes of the files below one folder. `found` is called at the start for each file there."""

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
        """Forget the strikes of a file whose check came to its end."""
        if self._count.pop(key, 0):
            self._place(key).unlink(missing_ok=True)

    def acquit_all(self, batch_id: str, index: int) -> bool:
        """Forget the strikes of all attempts at an image. Returns whether there were any."""
        found = [key for key in list(self._count) if key[:2] == (batch_id, index)]
        for key in found:
            self.acquit(key)
        return bool(found)

    def _place(self, key: Key) -> Path:
        batch_id, index, attempt = key
        return self._root / batch_id / f".{index}-a{attempt}.strikes"
