"""An engine for benchmarks of the ledger: it decides and writes, and does none of the work that follows."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from comfyledger.core.decide.recorder import Policy
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.engine import Engine
from comfyledger.ledger import ports


def engine_of(ledger: ports.Ledger) -> Engine:
    return Engine(
        ledger,
        policy=Policy(),
        limits=Limits(),
        first_use_wait_s=60.0,
        open_images_max=10**9,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        steady_ms=lambda: time.monotonic_ns() // 1_000_000,
    )


async def nothing(_: Any) -> None:
    await asyncio.Event().wait()
