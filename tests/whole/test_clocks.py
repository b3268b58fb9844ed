"""Wall clocks that jump by hours: they date events and nothing else. Order is the position's, waiting the steady
clock's, and no module reads a wall clock but those that are listed here."""

from __future__ import annotations

import ast
import asyncio
import itertools
from pathlib import Path

import comfyledger
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import LaneStuck, LaneWorks
from comfyledger.core.results import Accepted
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect
from comfyledger.engine import Engine
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.startup.ids import BatchIds
from support.ledger_builders import log_of, submission
from support.waiting import until

HOUR_MS = 3_600_000
PACKAGE = Path(comfyledger.__file__).parent
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today"}
MAY_ASK = {
    "app.py",
    "logs.py",
    "sim/comfyui/server.py",
    "sim/cloudinary/server.py",
    "sim/objects/server.py",
    "maintenance/doctor/run.py",
    "maintenance/doctor/machine.py",
    "maintenance/doctor/fleet.py",
    "startup/ids.py",
}
"""Composition roots: the engine's dates and the ages of files; the dates of log lines and of stand-ins; the doctor's
look at clocks."""


def asks_a_wall_clock(module: Path) -> bool:
    """Whether a module takes a wall clock from `time` or `datetime`."""
    names = [node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.Attribute)]
    owners = {"time", "datetime", "date"}
    return any(
        isinstance(node.value, ast.Name) and node.value.id in owners and node.attr in WALL_CLOCKS for node in names
    )


def test_no_module_reads_a_wall_clock_but_the_composition_roots() -> None:
    asking = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if asks_a_wall_clock(path)}
    assert {str(path) for path in asking if path.parts[0] != "cli"} == MAY_ASK
    imports = [path for path in PACKAGE.rglob("*.py") if "from time import" in path.read_text("utf-8")]
    assert imports == []


class JumpingEngine:
    """An engine with a steady clock that a test moves and a wall clock that jumps an hour at each look."""

    def __init__(self, path: Path) -> None:
        self.steady_ms = 0
        self.calls: list[Effect] = []
        jumps = itertools.cycle([0, HOUR_MS, -HOUR_MS, 2 * HOUR_MS, -3 * HOUR_MS])
        self.ledger = Ledger.open(path)
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=Limits(),
            first_use_wait_s=60.0,
            wall_ms=lambda: 1_700_000_000_000 + next(jumps),
            steady_ms=lambda: self.steady_ms,
        )
        self.running = asyncio.create_task(self.engine.run(self.perform, self.ask))

    async def perform(self, effect: Effect) -> None:
        """ComfyUI is away."""
        self.calls.append(effect)
        await self.engine.report(LaneStuck(effect.lane, "not_reached"))

    async def ask(self, _: object) -> None:
        """No series is unknown here."""

    async def settle(self) -> None:
        """Let everything go out that is due now."""
        for _ in range(2):  # what was due at the first group has gone out when the second is answered
            await self.engine.report(LaneWorks("nobody's lane"))
        await until(lambda: not self.engine.view.open_counts()["running"])

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.ledger.close()


async def test_a_wall_clock_that_jumps_changes_no_order_no_number_and_no_delay(tmp_path: Path) -> None:
    jumping = JumpingEngine(tmp_path / "ledger.db")
    numbers: list[int] = []
    try:
        for request in range(10):
            accepted = await jumping.engine.command(submission(f"r{request}", quantity=2))
            assert isinstance(accepted, Accepted)
            numbers += [image.number for image in accepted.images]
        await jumping.settle()
        under_way = len(jumping.calls)
        assert under_way <= 3, "more calls than have room"
        for probes, delay_ms in enumerate((1_000, 2_000, 4_000, 8_000), under_way):
            jumping.steady_ms += delay_ms - 1
            await jumping.settle()
            assert len(jumping.calls) == probes, "a jump of the wall clock let a probe out"
            jumping.steady_ms += 1
            jumping.engine.probe_soon("nobody's lane")
            await until(lambda wanted=probes + 1: len(jumping.calls) == wanted)  # type: ignore[misc]
            await jumping.settle()
    finally:
        await jumping.end()
    log = log_of(tmp_path / "ledger.db")
    assert numbers == list(range(1, 21))
    assert [line.position for line in log] == list(range(1, len(log) + 1))
    dates = [line.at_ms for line in log]
    assert dates != sorted(dates), "the clock did not jump"
    assert [line.kind for line in log].count("lane_paused") == 1


def test_batch_ids_ascend_whatever_the_clock_says() -> None:
    """Batches are listed, and taken up at a start, in the order of their ids: an earlier run was ahead in time."""
    far_ahead = "7ZZZZZZZZ0AAAAAAAAAAAAAAAA"
    ids = BatchIds(far_ahead)
    made = [ids() for _ in range(100)]
    assert [far_ahead, *made] == sorted({far_ahead, *made})
    first = BatchIds(None)
    assert first() < first() < far_ahead
