"""A place with a backup, a store that says its highest number, and a restore that can be killed at each step."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.restore import Restored, Wanted, restore
from comfyledger.plugin_api import LaneFault, Series, StoreTrouble
from comfyledger.plugins import OpenedStore
from support.ledger_builders import NOW_MS, submission, take
from support.ledger_on_disk import Place

EPOCH = "01NEWEPOCH"
OWN = {"ledger.db", "ledger.db.lock", "ledger.db.mark"}


class Shelf:
    """A store that says of each series which is its highest number; `asked` are the questions."""

    identity = "shelf:/there"

    def __init__(self, highest: int = 0, problem: str = "") -> None:
        self.highest, self.problem = highest, problem
        self.asked: list[Series] = []

    async def prepare(self) -> None: ...

    async def highest_number(self, series: Series) -> int:
        if self.problem:
            raise StoreTrouble(LaneFault("not_reached", self.problem))
        self.asked.append(series)
        return self.highest


def opened(shelf: Shelf) -> dict[str, OpenedStore]:
    return {"shelf": OpenedStore("shelf", "shelf", waiting=shelf)}  # type: ignore[arg-type]


class Home(Place):
    """A place with a backup of it, three numbers of Areg's series given."""

    @property
    def file(self) -> Path:
        return self.folder.parent / "backup.db"

    def wanted(self, shelf: Shelf | None = None, **changed: Any) -> Wanted:
        facts: dict[str, Any] = {"replace": True, "stores": opened(shelf or Shelf()), "now_ms": NOW_MS} | changed
        return Wanted(self.file, self.path, self.spool, epoch=EPOCH, by="cli", **facts)

    def restore(self, shelf: Shelf | None = None, **changed: Any) -> Restored:
        return asyncio.run(restore(self.wanted(shelf, **changed), silent))

    def use(self, *names: str, quantity: int = 100, character: str = "Opal Fever") -> None:
        """Give more numbers, as a daemon that goes on after the backup."""
        ledger = Ledger.open(self.path)
        take(ledger, *(submission(name, quantity=quantity, character=character) for name in names))
        ledger.close()

    def next_number(self, character: str = "Opal Fever", request_id: str = "next") -> int:
        ledger = Ledger.open(self.path)
        (answer,) = take(ledger, submission(request_id, quantity=1, character=character))
        ledger.close()
        return int(answer.images[0].number)

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.is_file()}


STEPS = ("open", "fsync", "link", "replace", "unlink", "close")


def killed_at(home: Home, number: int, work: Callable[[Home], object]) -> bool:
    """Work in a process that ends without a last word before the step of this number; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        count = iter(range(1, 10_000))

        def before(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def stepping(*args: Any, **more: Any) -> Any:
                if next(count) == number:
                    os._exit(9)
                return call(*args, **more)

            return stepping

        for name in STEPS:
            setattr(os, name, before(name, getattr(os, name)))
        done = False
        try:
            work(home)
            done = True
        finally:
            os._exit(0 if done else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in {0, 9}
    return code == 9
