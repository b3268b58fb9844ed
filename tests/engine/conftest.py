"""An engine on a real ledger, with workers that do what a test says and a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import Report
from comfyledger.core.results import Accepted, SeriesUnknown
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect
from comfyledger.engine import Engine
from comfyledger.engine import engine as engines
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.sqlite.writer import Ledger as SqliteLedger
from support.ledger_kinds import KINDS, PARAMETERS
from support.waiting import DEADLINE_S


async def for_ever(_: object) -> None:
    await asyncio.Event().wait()


class Rig:
    """An engine that is started by `start` and ended by `stop`. `faults` is what asyncio itself complained of."""

    def __init__(self, path: Path, first_use_wait_s: float, opened: AbstractContextManager[Any]) -> None:
        """`opened`: the ledger, whose tables are in the file at `path`."""
        self.path = path
        self._opened = ExitStack()
        self.now_ms = 0
        self.effects: list[Effect] = []
        self.asked: list[SeriesUnknown] = []
        self.statements: list[str] = []
        self.faults: list[dict[str, Any]] = []
        self.perform: Callable[[Effect], Awaitable[None]] = for_ever
        self.ask: Callable[[SeriesUnknown], Awaitable[None]] = for_ever
        self.ledger = self._opened.enter_context(opened)
        self.tables: SqliteLedger = self.ledger._replica if isinstance(self.ledger, SharedLedger) else self.ledger
        """The ledger in SQLite, or the replica."""
        self.tables._connection.set_trace_callback(self.statements.append)
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=Limits({"main": 3}),
            first_use_wait_s=first_use_wait_s,
            wall_ms=lambda: 1_700_000_000_000,
            steady_ms=lambda: self.now_ms,
        )
        self.running: asyncio.Task[None] | None = None
        self.closed = False
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.faults.append(context))

    def start(self) -> None:
        async def perform(effect: Effect) -> None:
            self.effects.append(effect)
            await self.perform(effect)

        async def ask(unknown: SeriesUnknown) -> None:
            self.asked.append(unknown)
            await self.ask(unknown)

        self.running = asyncio.create_task(self.engine.run(perform, ask))

    def send(self, *commands: Any) -> list[asyncio.Task[Any]]:
        """Commands of as many clients, each in a task of its own; reports as those of workers."""
        enter = [self.engine.report if isinstance(one, Report) else self.engine.command for one in commands]
        return [asyncio.create_task(call(one)) for call, one in zip(enter, commands, strict=True)]

    async def submit(self, command: Any) -> list[int]:
        accepted = await self.engine.command(command)
        assert isinstance(accepted, Accepted)
        return [image.number for image in accepted.images]

    def poke(self) -> None:
        """Let the engine look again at what is due."""
        self.engine.probe_soon("nobody's lane")

    def commits(self) -> int:
        return sum(statement == "COMMIT" for statement in self.statements)

    async def on_thread(self, call: Callable[[], Any]) -> Any:
        return await self.engine._in_thread(call)

    async def stop(self) -> None:
        if self.running is not None and not self.running.done():
            self.running.cancel()
            await asyncio.wait([self.running], timeout=DEADLINE_S)
            assert self.running.done(), "the engine does not stop"

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        await self.stop()
        self._opened.close()
        gc.collect()
        await asyncio.sleep(0)
        assert self.faults == []


Started = Callable[..., Rig]


@pytest.fixture(params=PARAMETERS)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Started]:
    """Makes rigs that are not started yet and closes them in the end, each with no complaint of asyncio.

    What an engine does is the same whether its log is its own or shared.
    """
    kind, rigs = KINDS[request.param](tmp_path), list[Rig]()

    def one(first_use_wait_s: float = 3600.0) -> Rig:
        rigs.append(Rig(tmp_path / "ledger.db", first_use_wait_s, kind.opened()))
        return rigs[-1]

    yield one
    for rig in rigs:
        await rig.close()


@pytest.fixture
async def rig(make: Started) -> Rig:
    started = make()
    started.start()
    return started


@pytest.fixture(autouse=True, scope="module")
def collect_only_what_is_new() -> None:
    """A rig collects all garbage when it is closed, and would look through what thousands of other tests have left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "STORAGE_RETRY_S", 0.005)
    monkeypatch.setattr(engines, "LOCK_RETRY_S", 0.005)
