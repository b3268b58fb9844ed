"""How old the oldest job of the writer's thread is: what tells a disk that is stuck from one that is slow."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from support.waiting import DEADLINE_S, until


async def idle(rig: Any) -> None:
    """Until the thread has no job, those of the engine's own start included."""
    rig.now_ms += 1_000
    await until(lambda: rig.engine.view.oldest_job_s == 0.0)


async def test_the_age_is_that_of_the_oldest_job_and_none_is_left_at_the_end(rig: Any) -> None:
    await idle(rig)
    held, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        go_on.wait(DEADLINE_S)

    first = asyncio.create_task(rig.on_thread(wait))
    await until(held.is_set)
    rig.now_ms += 90_000
    second = asyncio.create_task(rig.on_thread(lambda: None))
    await asyncio.sleep(0)
    rig.now_ms += 40_000
    assert rig.engine.view.oldest_job_s == 130.0
    go_on.set()
    await asyncio.gather(first, second)
    await idle(rig)


async def test_a_job_that_fails_leaves_no_age(rig: Any) -> None:
    def fail() -> None:
        raise ValueError

    await asyncio.gather(rig.on_thread(fail), return_exceptions=True)
    await idle(rig)
