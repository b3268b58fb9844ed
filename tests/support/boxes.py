"""Boxes of a fleet in the test's own process: doors of real daemons that share a log in a database of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

from comfyledger.ledger.shared.keys import Keys
from comfyledger.maintenance import fleet
from comfyledger.workers.fleet import membership
from support.door import ONE, Door, opened
from support.ledger_kinds import slow_machine
from support.ports import KeptPort
from support.postgres import shared_cluster
from support.waiting import until

BEAT_S = 0.1
"""Between two signs of life of a box of these tests."""


@contextmanager
def quick_beats() -> Iterator[None]:
    with patch.object(membership, "BEAT_S", BEAT_S), patch.object(membership, "LOOK_S", BEAT_S):
        yield


class Boxes:
    """Makes boxes, each below a folder of its own. All use one folder for the files of their store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = shared_cluster().database()
        self._keys: Keys | None = None
        """Of the first box, which the others are given."""

    @asynccontextmanager
    async def opened(
        self,
        name: str,
        sections: str = "",
        seconds_per_image: float = 0.0,
        backends: Mapping[str, str] = ONE,
        top: str = "",
        box: str = "",
    ) -> AsyncIterator[Door]:
        """The box of this name, with its replica made if it has none. `sections`, `backends`, `top`: as for a door.
        `box`: further keys of its section."""
        own = self.folder / name
        self._make_replica(own)
        port = KeptPort()
        url = f"http://127.0.0.1:{port.number}"
        fleet_sections = f'[ledger]\nshared = "{self.address}"\n[box]\nname = "{name}"\nurl = "{url}"\n{box}\n'
        store = f'root = "{self.folder / "images"}"\nshared = true'
        sections = f"{sections}\n{fleet_sections}"
        async with opened(own, sections, seconds_per_image, backends, top, store, port.number) as door:
            await until(lambda: door.context.view.is_member and door.context.fleet.boxes(), "the box has joined")
            yield door

    def _make_replica(self, own: Path) -> None:
        state = own / "state"
        if state.exists():
            return
        state.mkdir(parents=True)
        ledger = state / "ledger.db"
        if self._keys is None:
            fleet.init(self.address, ledger, lambda *_: None)
            self._keys = Keys.beside(ledger)
        else:
            fleet.join(self.address, ledger, lambda *_: None, own.name, self._keys.oldest_key())


@asynccontextmanager
async def two_boxes(folder: Path, **both: str) -> AsyncIterator[tuple[Door, Door]]:
    """The boxes `north` and `south`, which know each other. `both`: as for `Boxes.opened`."""
    boxes = Boxes(folder)
    async with AsyncExitStack() as stack:
        stack.enter_context(slow_machine())
        stack.enter_context(quick_beats())
        north = await stack.enter_async_context(boxes.opened("north", **both))  # type: ignore[arg-type]
        south = await stack.enter_async_context(boxes.opened("south", **both))  # type: ignore[arg-type]
        await until(lambda: know_each_other(north, south), "the boxes know each other and their ComfyUIs")
        yield north, south


def know_each_other(*doors: Door) -> bool:
    """Whether each knows that the others take part, and has heard that their ComfyUIs are connected."""
    return all(_knows(door, len(doors)) for door in doors)


def _knows(door: Door, boxes: int) -> bool:
    heard = {box.name for box, one in door.context.fleet.backends_elsewhere() if one.connected}
    present = {row.name for row in door.context.view.boxes() if row.present}
    return len(heard & present) == boxes - 1 and len(present) == boxes
