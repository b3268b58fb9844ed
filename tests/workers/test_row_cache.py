"""RowCache for workers: from memory where work is open, and never other than those of the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from comfyledger.core.commands import Command
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import Report
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.engine import Engine
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.row_cache import RowCache
from support.core_builders import cancel, forget, hold, one_kept, release, submit, uploaded, uploading

LIFE = (
    *one_kept(1),
    uploading(1),
    hold(),
    uploaded(1),
    *one_kept(2),
    release(),
    cancel(3),
    uploading(2),
    uploaded(2),
    forget(1, stores=True),
)


async def _ignore(_: Any) -> None:
    await asyncio.Event().wait()


async def test_after_every_message_memory_says_what_the_ledger_says(tmp_path: Path) -> None:
    ledger, reader = Ledger.open(tmp_path / "ledger.db"), Reader(tmp_path / "ledger.db")
    engine = Engine(
        ledger, policy=Policy(), limits=Limits(), first_use_wait_s=60.0, wall_ms=lambda: 1, steady_ms=lambda: 1
    )
    running = asyncio.create_task(engine.run(_ignore, _ignore))
    rows, from_memory = RowCache(engine.view, reader), 0
    await engine.command(submit(quantity=3))
    for message in LIFE:
        await (engine.command(message) if isinstance(message, Command) else _reported(engine, message))
        assert await rows.batch("b1") == await reader.batch("b1")
        for index in (1, 2, 3):
            assert await rows.prompt("b1", index) == await reader.prompt("b1", index)
            assert await rows.image("b1", index) == await reader.image("b1", index)
            from_memory += engine.view.image("b1", index) is not None
    assert from_memory
    assert [row.index for row in await rows.images("b1", (3, 9, 1))] == [3, 1]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await reader.close()
    ledger.close()


async def _reported(engine: Engine, message: Any) -> None:
    assert isinstance(message, Report)
    await engine.report(message)
