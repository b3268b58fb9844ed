"""How much is free in each folder that the daemon or a store writes to, as it was seen last.

The disk guard reads ledger and spool each second and decides from them. The others are read here, each for itself: a
disk that hangs, or a store that does not answer, delays only its own figures. Figures are for people and metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from comfyledger.plugin_api import Space, StoreTrouble, space_of
from comfyledger.plugins import OpenedStore

LOOK_EVERY_S: Final = 10.0
LOOK_EVERY_MAX_S: Final = 600.0
"""After failures the waits double, up to this."""

Use = Literal["ledger", "spool", "inputs", "store"]

log = structlog.get_logger("comfyledger.room")


class Watched(msgspec.Struct, frozen=True):
    """A folder of the daemon's own, and how many bytes must be free there."""

    folder: Path
    free_min: int


class Disk(msgspec.Struct, frozen=True):
    """The disk of one folder. `store`: the name of the store whose folder it is. `free_min`: nothing new is taken while
    fewer bytes are free; 0 if the folder may be filled. `space`: None if it cannot be read now.
    """

    use: Use
    store: str
    folder: str
    free_min: int
    space: Space | None


class Disks:
    """The figures that were seen last. `own`: the daemon's folders; ledger and spool are read by the disk guard."""

    def __init__(self, own: Mapping[Use, Watched], stores: Mapping[str, OpenedStore]) -> None:
        self._own = own
        self._stores = stores
        self._of_own: dict[Use, Space] = {}
        self._of_stores: dict[str, Space] = {}
        self._folders: dict[str, str] = {}

    def read(self, use: Use) -> int:
        """The bytes that are free for this user in one of the daemon's folders; 0 if the disk has gone. Blocks."""
        folder = self._own[use].folder
        try:
            space = space_of(folder)
        except OSError as error:
            log.warning("room.unknown", folder=str(folder), error=error.strerror)
            self._of_own.pop(use, None)
            return 0
        self._of_own[use] = space
        return space.free_bytes

    def seen(self) -> list[Disk]:
        """All disks, stores last. A store that is on no disk, or has never answered, is left out."""
        own = [Disk(use, "", str(one.folder), one.free_min, self._of_own.get(use)) for use, one in self._own.items()]
        stores = [
            Disk("store", name, self._folders[name], 0, self._of_stores.get(name))
            for name in self._stores
            if name in self._folders
        ]
        return [*own, *stores]

    async def run(self) -> None:
        """Read what nobody else reads, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_inputs())
            for name in self._stores:
                group.create_task(self._watch_store(name))

    async def _watch_inputs(self) -> None:
        while True:
            await asyncio.to_thread(self.read, "inputs")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _watch_store(self, name: str) -> None:
        wait_s = LOOK_EVERY_S
        while True:
            wait_s = LOOK_EVERY_S if await self._read_store(name) else min(2 * wait_s, LOOK_EVERY_MAX_S)
            await asyncio.sleep(wait_s)

    async def _read_store(self, name: str) -> bool:
        """False if the store was asked and did not answer."""
        store = self._stores[name].guarded
        if store is None:
            return True
        try:
            space = await store.space()
        except StoreTrouble:  # its lane says why
            self._of_stores.pop(name, None)
            return False
        if space is not None:
            self._of_stores[name], self._folders[name] = space, space.folder
        return True
