"""A folder of inputs for tests, and a ledger that is only a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from comfyledger.workers.inputs.room import Bounds
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.spool.checks import Checks
from support.spool_files import image, stream

BOUNDS = Bounds(bytes_max=1_000_000, pixels_max=1_000_000, quota_bytes=10_000_000, free_min_bytes=0)


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


class Book:
    """What is recorded: the extension of each file by its digest, and whose it is."""

    def __init__(self) -> None:
        self.here: dict[str, str] = {}
        self.owners: dict[str, set[str]] = {}

    async def known(self, digests: Sequence[str]) -> Mapping[str, str]:
        return {one: self.here[one] for one in digests if one in self.here}

    def forget(self, name: str) -> None:
        self.here.pop(name, None)
        self.owners.pop(name, None)


class Client:
    """A client that adds. `before`: called before a file is recorded; it may raise."""

    def __init__(self, book: Book, label: str = "a", before: Callable[[], None] = lambda: None) -> None:
        self._book, self._label, self._before = book, label, before
        self.recorded: list[ProvedFile] = []

    async def knows(self, name: str) -> bool:
        return self._label in self._book.owners.get(name, ())

    async def record(self, file: ProvedFile) -> ProvedFile:
        self._before()
        await asyncio.sleep(0)
        self._book.here[file.sha256] = file.extension
        self._book.owners.setdefault(file.sha256, set()).add(self._label)
        self.recorded.append(file)
        return file


class Remover:
    """Who removes a file. `before`: called before it is recorded that the file has gone."""

    def __init__(self, book: Book, sha256: str, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self._book, self._sha256, self._before = book, sha256, before
        self.recorded: list[bool] = []
        self.was_known: list[bool] = []

    async def is_unwanted(self) -> bool:
        return self._sha256 not in self._book.here

    async def record(self, *, found: bool) -> None:
        if self._before is not None:
            await self._before()
        self.recorded.append(found)
        self.was_known.append(self._sha256 in self._book.here)


def opened(root: Path, book: Book, **bounds: Any) -> InputStore:
    return InputStore(root, replace(BOUNDS, **bounds), Checks(), book.known, 3)


async def add(store: InputStore, client: Client, content: bytes | None = None, named: str = "") -> ProvedFile:
    return await store.add(stream(image() if content is None else content), named, client)
