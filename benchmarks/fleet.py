"""What the shared log costs when several boxes write to it at once: how long an answer takes, and how long a box holds
the log's lock only to take in what others have written.

    python benchmarks/fleet.py --boxes 8 --rate 15

Each box is a process with an engine and a replica that follows the log. It accepts so many batches of one image a
second, whether the ones before are answered or not. PostgreSQL runs on the same machine, with its files on the same
disk. The ratio compares with one box alone that accepts batches at the same rate. Eight boxes on a machine of two
processors share them: on eight machines they take in each other's events side by side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog
from msgspec.structs import replace
from ulid import ULID

from append_shared import Shared
from bare_engine import engine_of, nothing
from comfyledger.core.commands import PauseLane
from comfyledger.core.values import EVERYTHING
from comfyledger.engine import Engine
from comfyledger.ledger.shared.boxes import box_table
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import Page, SharedLog, Turn
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from measured import line, say
from scale_ledger import request

SECONDS: Final = 20.0
START_S: Final = 60.0
"""All boxes have begun by then."""
Found = dict[str, list[float]]
"""Seconds: `answer` of each request, `lock` of each turn of the log, `taken` of what a turn took in before it decided.
`taken_cpu`: the processor time of that. `lines`: how many that were."""


# ---- a box


class Timed(SharedLedger):
    """A shared ledger that notes how long it holds the lock of the log."""

    found: Found

    @contextmanager
    def _turn(self) -> Iterator[list[Any]]:
        self._is_locked = True
        try:
            with super()._turn() as lines:
                yield lines
        finally:
            self._is_locked = False

    def _take_in(self, page: Page) -> Any:
        began, used = time.perf_counter(), time.thread_time()
        taken = super()._take_in(page)
        if self._is_locked:
            self._locked_at = began
            self.found["taken"].append(time.perf_counter() - began)
            self.found["taken_cpu"].append(time.thread_time() - used)
            self.found["lines"].append(len(taken.lines))
        return taken

    def _write(self, turn: Turn) -> None:
        super()._write(turn)
        self.found["lock"].append(time.perf_counter() - self._locked_at)

    _is_locked = False
    _locked_at = 0.0


async def write(ledger: Timed, name: str, address: str, rate: float, seconds: float) -> None:
    """Begin, say so, wait for the word on standard input, and write."""
    engine = engine_of(ledger)
    running = [asyncio.create_task(engine.run(nothing, nothing)), asyncio.create_task(_follow(engine, address))]
    await engine.command(PauseLane("bench", EVERYTHING))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for kept in ledger.found.values():
        kept.clear()
    await _requests(engine, ledger.found, name, rate, seconds)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _follow(engine: Engine, address: str) -> None:
    """Take in what the other boxes append, as the daemon does."""
    async with box_table(address) as table:
        while True:
            engine.catch_up()
            await table.news(1.0)


async def _requests(engine: Engine, found: Found, name: str, rate: float, seconds: float) -> None:
    gaps, number, at = random.Random(name), 0, time.monotonic()  # noqa: S311 - the same gaps each time
    end, asked = at + seconds, []
    while (at := at + gaps.expovariate(rate)) < end:
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        asked.append(asyncio.create_task(_request(engine, found, f"{name}-{number}", number, at)))
        number += 1
    await asyncio.gather(*asked)


async def _request(engine: Engine, found: Found, name: str, number: int, at: float) -> None:
    """The answer of a request that comes late counts from when it was due."""
    await engine.command(replace(request(name, number, 1), batch_id=str(ULID())))
    found["answer"].append(time.monotonic() - at)


def be_box(name: str, address: str, path: Path, rate: float, seconds: float) -> None:
    if not path.exists():
        fleet.join(address, path, lambda *_: None)
    with (
        closing(Ledger.open(path, replica=True)) as replica,
        closing(Timed.open(replica, SharedLog(address, Keys.beside(path)))) as ledger,
    ):
        assert isinstance(ledger, Timed)  # noqa: S101
        ledger.found = {"answer": [], "lock": [], "taken": [], "taken_cpu": [], "lines": []}
        asyncio.run(write(ledger, name, address, rate, seconds))
    print(json.dumps(ledger.found), flush=True)


# ---- all of them


def run(shared: Shared, folder: Path, boxes: int, rate: float, seconds: float) -> Found:
    """Let boxes write at the same time. Returns what all of them found."""
    folder.mkdir()
    address = shared.founded(folder / "box0.db")
    words = [address, str(folder), str(rate), str(seconds)]
    running = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, __file__, "--box", f"box{number}", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(boxes)
    ]
    for one in running:
        assert one.stdout is not None  # noqa: S101
        if one.stdout.readline() != "ready\n":
            raise SystemExit("a box did not begin")
    for one in running:
        assert one.stdin is not None  # noqa: S101
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [json.loads(one.communicate(timeout=seconds + START_S)[0]) for one in running]
    return {kind: [value for each in said for value in each[kind]] for kind in said[0]}


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(many: Found, one: Found, boxes: int) -> None:
    alone = f"one box alone, at the same rate a box: {1_000 * percentile(one['answer'], 0.99):.1f} ms"
    for name, kind, share, peer in (
        ("answer.p99", "answer", 0.99, alone),
        ("answer.median", "answer", 0.5, ""),
        ("taken.p99", "taken", 0.99, ""),
        ("taken.cpu", "taken_cpu", 0.99, ""),
        ("lock.p99", "lock", 0.99, ""),
        ("lock.median", "lock", 0.5, ""),
    ):
        value, other = (1_000 * percentile(found[kind], share) for found in (many, one))
        said = peer or f"one box alone: {other:.2f} ms"
        say(line(f"fleet.{name}", value, max(other, 0.001), "ms", peer=said))
    lines = sum(many["lines"]) / max(1, len(many["lines"]))
    print(f"{boxes} boxes, {len(many['answer'])} answers, {lines:.1f} lines taken in a turn", file=sys.stderr)


def main() -> None:
    if sys.argv[1:2] == ["--box"]:
        name, address, folder, rate, seconds = sys.argv[2:]
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        be_box(name, address, Path(folder) / f"{name}.db", float(rate), float(seconds))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--boxes", type=int, default=8)
    parser.add_argument("--rate", type=float, default=15.0, help="requests a second of each box")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    shared = Shared()
    try:
        with TemporaryDirectory(prefix="comfyledger-bench-") as name:
            many = run(shared, Path(name) / "many", given.boxes, given.rate, given.seconds)
            one = run(shared, Path(name) / "one", 1, given.rate, given.seconds)
    finally:
        shared.end()
    report(many, one, given.boxes)


if __name__ == "__main__":
    main()
