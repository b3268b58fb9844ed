"""How close appending comes to the speed of the disk: one caller and many, through the engine, with every event durable
when it is answered.

    python benchmarks/append.py --rounds 5
    python benchmarks/append.py --rounds 5 --shared

F is how often a second this disk makes 4 KiB durable. `append.N.sqlite` compares with SQLite alone, which gets the same
rows in groups of the same size. One caller appends one small event at a time: a batch is held and resumed. Many callers
submit batches of one image each, with everything that belongs to a batch.

`--shared` compares a ledger whose log is shared in PostgreSQL with one in SQLite, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Final

import structlog

import append_floor
import peer_eventsourcing
from append_shared import Shared
from bare_engine import engine_of, nothing
from comfyledger.core.commands import Command, HoldBatch, PauseLane, ReleaseBatch, SubmitBatch
from comfyledger.core.values import EVERYTHING
from comfyledger.engine import Engine
from comfyledger.ledger import ports
from comfyledger.ledger.sqlite.writer import Ledger
from measured import in_turns, line, say, syncs_per_second
from scale_ledger import request

ALONE: Final = 1_500
Commands = Sequence[Command[Any]]
Opened = Callable[[Path], AbstractContextManager[ports.Ledger]]
"""Opens a new ledger, whose file is at a path."""

SUBMITS: Final = {16: 6_000, 256: 12_000}
PEERS: Final = {16: 1_500, 256: 1_500}
LABEL: Final = "bench"


def in_sqlite(path: Path) -> AbstractContextManager[ports.Ledger]:
    return closing(Ledger.open(path))


def _submits(count: int) -> list[SubmitBatch]:
    """Each is of a series that others use as well, so it has one event, but for the first of each series."""
    return [request(str(number), number % append_floor.SERIES, 1) for number in range(count)]


async def _commands_per_second(
    path: Path, callers: int, commands: Commands, before: Commands, opened: Opened = in_sqlite
) -> float:
    with opened(path) as ledger:
        return await _rate(engine_of(ledger), callers, commands, before)


async def _rate(engine: Engine, callers: int, commands: Commands, before: Commands) -> float:
    running = asyncio.create_task(engine.run(nothing, nothing))
    for command in (PauseLane(LABEL, EVERYTHING), *before):
        await engine.command(command)
    waiting = iter(commands)

    async def caller() -> None:
        for command in waiting:
            await engine.command(command)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = len(commands) / (time.perf_counter() - start)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return rate


def ours(folder: Path, callers: int, opened: Opened = in_sqlite) -> float:
    path = folder / f"{time.monotonic_ns()}.db"
    if callers == 1:
        held = request("held", 0, 1)
        turns: list[Command[Any]] = []
        for _ in range(ALONE // 2):
            turns += (HoldBatch(LABEL, held.batch_id), ReleaseBatch(LABEL, held.batch_id))
        return asyncio.run(_commands_per_second(path, 1, turns, [held], opened))
    return asyncio.run(_commands_per_second(path, callers, _submits(SUBMITS[callers]), [], opened))


def floors(folder: Path, callers: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """How fast SQLite alone writes the rows of our submits, and how fast submits are decided in memory."""
    path = folder / f"rows-{callers}.db"
    submits = _submits(SUBMITS[callers])
    asyncio.run(_commands_per_second(path, callers, submits, []))
    groups = append_floor.rows_of(path, callers)
    return lambda: append_floor.submits_per_second(folder, groups), lambda: append_floor.decided_per_second(submits)


def compare_shared(folder: Path, rounds: int) -> None:
    """The same commands on a ledger whose log is in PostgreSQL on the same disk."""
    shared = Shared()
    try:
        for callers in (1, *SUBMITS):
            rate, alone = in_turns(
                rounds,
                lambda c=callers: ours(folder, c, shared.opened),  # type: ignore[misc]
                lambda c=callers: ours(folder, c),  # type: ignore[misc]
            )
            say(line(f"append.{callers}.shared", rate, alone, "events/s", peer=f"in SQLite: {alone:.0f}/s"))
    finally:
        shared.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--submits", type=int, help="of all callers together (default: several thousand)")
    parser.add_argument("--shared", action="store_true", help="compare a shared ledger with one in SQLite")
    given = parser.parse_args()
    rounds = given.rounds
    if given.submits:
        for each in (SUBMITS, PEERS):
            each.update(dict.fromkeys(each, given.submits))
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        folder = Path(name)
        if given.shared:
            compare_shared(folder, rounds)
            return
        for callers in (1, *SUBMITS):
            rate, syncs = in_turns(rounds, lambda c=callers: ours(folder, c), lambda: syncs_per_second(folder))  # type: ignore[misc]
            say(line(f"append.{callers}", rate, syncs, "events/s", floor=f"F: {syncs:.0f} durable 4 KiB a second"))
        rate, alone = in_turns(rounds, lambda: ours(folder, 1), lambda: append_floor.changes_per_second(folder, ALONE))
        say(line("append.1.sqlite", rate, alone, "events/s", floor=f"SQLite alone with the same rows: {alone:.0f}/s"))
        for callers in SUBMITS:
            rate, alone, decided = in_turns(rounds, lambda c=callers: ours(folder, c), *floors(folder, callers))  # type: ignore[misc]
            said = f"SQLite alone with the same rows: {alone:.0f}/s"
            say(line(f"append.{callers}.sqlite", rate, alone, "events/s", floor=said))
            both = 1 / (1 / alone + 1 / decided)
            said = f"that, and deciding in memory ({decided:.0f}/s), one after the other: {both:.0f}/s"
            say(line(f"append.{callers}.limit", rate, both, "events/s", floor=said))
        for callers, saves in PEERS.items():
            rate, peer = in_turns(
                rounds,
                lambda c=callers: ours(folder, c),  # type: ignore[misc]
                lambda c=callers, n=saves: peer_eventsourcing.saves_per_second(folder, c, n),  # type: ignore[misc]
            )
            say(line(f"append.{callers}.peer", rate, peer, "events/s", peer=f"{peer_eventsourcing.NAME}: {peer:.0f}/s"))


if __name__ == "__main__":
    main()
