"""`demo --boxes`: several boxes on one log. A box, a stand-in for ComfyUI and the database are killed in the middle.

The box stays dead: the others take over its prompts. The other two are started again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.cli.demo_backends import StandIns, process_name
from comfyledger.cli.demo_postgres import NAME, Database
from comfyledger.cli.demo_processes import DemoFailed, Processes, quoted
from comfyledger.cli.ui.terminal import say
from comfyledger.client import Client
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import LogUnreachable

JOIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.05
ORPHAN_AFTER_S: Final = 5.0


class Fleet(msgspec.Struct, frozen=True):
    """The boxes by name: `north`, and those that joined it."""

    processes: Processes
    database: Database
    standins: StandIns
    names: tuple[str, ...]

    def begin(self) -> None:
        """Start the database and all boxes, each with a stand-in. Raises DemoFailed."""
        self.database.begin()
        for name in self.names:
            self.standins.start(name)
            self._config(name).write_text(self._text(name), encoding="utf-8")
        self._found()
        for name in self.names:
            self.start_box(name)
        self.say_addresses()

    def _found(self) -> None:
        """Share the log of the first box, as soon as the database answers, and have the others join."""
        from comfyledger.ledger.shared.keys import Keys
        from comfyledger.maintenance import fleet

        deadline = time.monotonic() + JOIN_S
        while True:
            try:
                fleet.init(self.database.address, self._ledger(self.names[0]), _silent)
                break
            except LogUnreachable as error:
                if time.monotonic() > deadline:
                    raise DemoFailed(str(error)) from error
                time.sleep(LOOK_EVERY_S)
            except LedgerUnusable as error:
                raise DemoFailed(str(error)) from error
        key = Keys.beside(self._ledger(self.names[0])).oldest_key()
        for name in self.names[1:]:
            fleet.join(self.database.address, self._ledger(name), _silent, name, key)

    def start_box(self, name: str) -> None:
        """Start the daemon of a box. Raises DemoFailed."""
        self.processes.start(name, ("comfyledger", "run", "--config", str(self._config(name))))
        self.processes.url_of(name, self.state(name) / "door.json")

    def say_addresses(self) -> None:
        boxes = ", ".join(self.names)
        say(f"Boxes {boxes} share a log in PostgreSQL; all files below {self.processes.folder}", "dim")

    def state(self, name: str) -> Path:
        return self.processes.folder / f"box-{name}"

    def _ledger(self, name: str) -> Path:
        return self.state(name) / "ledger.db"

    def _config(self, name: str) -> Path:
        return self.processes.folder / f"{name}.toml"

    def _text(self, name: str) -> str:
        return (
            f"state_dir = {quoted(str(self.state(name)))}\n\n"
            f"[door]\nport = 0\n\n"
            f"[ledger]\nshared = {quoted(self.database.address)}\n\n"
            f"[box]\nname = {quoted(name)}\norphan_after_s = {ORPHAN_AFTER_S}\n\n"
            f"[comfyui.main]\nurl = {quoted(self.standins.urls[name])}\n\n"
            f'[stores.folder]\nkind = "folder"\nshared = true\n'
            f"root = {quoted(str(self.processes.folder / 'images'))}\n"
        )

    # ---- what is killed

    async def kill_one_of_each(self) -> list[str]:
        """Kill the last box, the stand-in of the one before it, and the database, once the last box has work. Start
        the latter two again. Returns what was done, in sentences.
        """
        box, other = self.names[-1], self.names[-2]
        await self._until(box, lambda info: any(_is_busy(one) for one in info.backends if one.name == f"{box}.main"))
        self.processes.kill(box)
        self.processes.kill(process_name(other))
        self.processes.kill_group(NAME)
        await asyncio.to_thread(self.database.start)
        await asyncio.to_thread(self.standins.start, other)
        return [
            f"The box {box} was killed while it had work. Nobody started it again.",
            f"The stand-in of {other} and the database were killed, and started again.",
        ]

    async def _until(self, name: str, is_so: Callable[[wire.Info], bool]) -> None:
        async with Client(state_dir=self.state(name), name="demo") as client:
            for _ in range(int(JOIN_S / LOOK_EVERY_S)):
                if is_so(await client.server_info()):
                    return
                await asyncio.sleep(LOOK_EVERY_S)
        raise DemoFailed(f"The box {name} got no work.")


def _is_busy(one: wire.BackendInfo) -> bool:
    return one.work is not None and bool(one.work.running or one.work.waiting)


def _silent(_what: str, _done: int, _count: int) -> None:
    """The demo shows no bars for an empty log."""


def names_of(count: int) -> tuple[str, ...]:
    return ("north", "south", "west", "east", "fifth", "sixth", "seventh", "eighth")[:count]
