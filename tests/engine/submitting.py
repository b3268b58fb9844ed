"""A program of its own for the kill test: submits on many tasks at once and prints each answer as soon as it has it."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from comfyledger.core.decide.recorder import Policy
from comfyledger.core.results import Accepted
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.engine import Engine
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import submission


async def for_ever(_: object) -> None:
    await asyncio.Event().wait()


async def client(engine: Engine, run: str, name: int) -> None:
    for n in itertools.count():
        accepted = await engine.command(submission(f"{run}-{name}-{n}", quantity=2))
        assert isinstance(accepted, Accepted)
        print(accepted.batch_id, *(image.number for image in accepted.images), flush=True)


async def main(path: str, run: str) -> None:
    engine = Engine(
        Ledger.open(Path(path)),
        policy=Policy(),
        limits=Limits(),
        first_use_wait_s=60,
        wall_ms=lambda: 1_700_000_000_000,
        steady_ms=lambda: 0,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run(for_ever, for_ever))
        for name in range(8):
            group.create_task(client(engine, run, name))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
