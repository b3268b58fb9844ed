"""An effect that is ended before the daemon ends comes to nothing, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from comfyledger.workers.comfyui.under_way import UnderWay
from support.waiting import until


class Effects:
    def __init__(self) -> None:
        self.under_way = UnderWay()
        self.said: list[str] = []
        self.fails = False

    async def run(self, kind: str) -> str:
        with self.under_way.one(kind):
            try:
                await asyncio.Event().wait()
            finally:
                self.said.append(kind)
                if self.fails:
                    raise ZeroDivisionError
        await asyncio.sleep(0)
        return "went on"

    async def begin(self, *kinds: str) -> list[asyncio.Task[str]]:
        tasks = [asyncio.create_task(self.run(kind)) for kind in kinds]
        await until(lambda: len(self.under_way) == len(kinds))
        return tasks


async def test_what_is_ended_comes_to_nothing_and_goes_on_after_it() -> None:
    effects = Effects()
    tasks = await effects.begin("follow", "fetch")
    effects.under_way.end()
    effects.under_way.end()
    assert await asyncio.gather(*tasks) == ["went on", "went on"]
    assert not len(effects.under_way)


async def test_only_the_kinds_that_are_named_are_ended() -> None:
    effects = Effects()
    follow, fetch = await effects.begin("follow", "fetch")
    effects.under_way.end({"follow"})
    assert await follow == "went on"
    assert not fetch.done()
    fetch.cancel()


async def test_one_that_the_engine_cancels_is_cancelled() -> None:
    effects = Effects()
    (task,) = await effects.begin("follow")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_that_the_engine_cancels_as_well_is_cancelled() -> None:
    effects = Effects()
    (task,) = await effects.begin("follow")
    effects.under_way.end()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_that_fails_as_it_is_ended_says_so() -> None:
    effects = Effects()
    effects.fails = True
    (task,) = await effects.begin("follow")
    effects.under_way.end()
    with pytest.raises(ZeroDivisionError):
        await task
    assert not len(effects.under_way)
