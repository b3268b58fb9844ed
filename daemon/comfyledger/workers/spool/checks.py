"""What checks of files may take together, and which files the process died of.

Each check says what it costs: memory of decoders, or time. Together they stay below one bound, in the order of asking.
A file whose check the process did not survive is checked alone, so that the next death blames nobody else.

A file that is being checked lies in its folder under a temporary name. A start that finds one there counts a strike
against it: the kernel kills the process that needs most memory, so this file may be the reason. Each strike is one byte
in a file beside it. What the file is called there is up to its owner: the spool names the image and the attempt, so
that a new attempt begins without strikes.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final, TypeVar

from comfyledger.workers.media.broken_file import DECODE_BYTES_MAX, Walked
from comfyledger.workers.media.media_file import is_heavy
from comfyledger.workers.spool.files import HEAD_BYTES, to_end

ALL: Final = DECODE_BYTES_MAX
LONG: Final = ALL // 2
"""The cost of a check that takes long but little memory. Two at once leave threads for others."""
LARGE_BYTES: Final = 64 * 1_048_576
"""A file above this takes seconds to copy and to hash."""
CHECKED: Final = re.compile(r"\.([0-9a-z-]+)-[0-9]+\.pinned")
STRUCK: Final = re.compile(r"\.([0-9a-z-]+)\.strikes")

Key = tuple[str, str]
"""The folder of a file, and what it is called there."""
T = TypeVar("T")


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

    async def run(
        self, source: BytesIO | Path, walk: Callable[[], Walked], finish: Callable[[Walked], T], *, is_suspect: bool
    ) -> T:
        """Walk, then prove and place, in turn with others. A file with strikes is checked alone.

        Both run in a thread: at once if what is decoded costs no more than the walk, else the second in a turn of its
        own. Raises Broken, NoPlace, and whatever else they raise.
        """
        cost = ALL if is_suspect else await _cost_of_walk(source)
        async with self.turn(cost):
            found = await to_end(partial(_as_far_as, cost, walk, finish))
        if not isinstance(found, Walked):
            return found
        async with self.turn(max(cost, _cost_of_rest(found))):
            return await to_end(partial(finish, found))


def _as_far_as(cost: int, walk: Callable[[], Walked], finish: Callable[[Walked], T]) -> Walked | T:
    walked = walk()
    return finish(walked) if _cost_of_rest(walked) <= cost else walked


def _cost_of_rest(walked: Walked) -> int:
    return walked.decode_bytes if walked.is_decodable else 0


async def _cost_of_walk(source: BytesIO | Path) -> int:
    """The cost of a walk for `Checks`: 0 for most files, which are quick. Raises Broken."""
    head, size_bytes = await to_end(partial(_on_disk, source)) if isinstance(source, Path) else _held(source)
    return LONG if size_bytes > LARGE_BYTES or is_heavy(head) else 0


def _held(source: BytesIO) -> tuple[bytes, int]:
    with source.getbuffer() as content:
        return bytes(content[:HEAD_BYTES]), len(content)


def _on_disk(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size


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
        key = (path.parent.name, found[1])
        with self._place(key).open("ab") as file:
            file.write(b"x" if checked else b"")
            self._count[key] = file.tell()

    def of(self, key: Key) -> int:
        return self._count.get(key, 0)

    def acquit(self, key: Key) -> None:
        """Forget the strikes of a file whose check came to its end."""
        if self._count.pop(key, 0):
            self._place(key).unlink(missing_ok=True)

    def acquit_all(self, folder: str, start: str) -> bool:
        """Forget the strikes of all files of a folder whose names begin so. Returns whether there were any."""
        found = [key for key in list(self._count) if key[0] == folder and key[1].startswith(start)]
        for key in found:
            self.acquit(key)
        return bool(found)

    def _place(self, key: Key) -> Path:
        folder, name = key
        return self._root / folder / f".{name}.strikes"
