"""Large graphs are worked on beside the event loop, and small ones at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from comfyledger.errors import Refused
from comfyledger.queries.large_graphs import LARGE_BYTES, LargeGraphs
from support.waiting import DEADLINE_S


async def test_the_event_loop_goes_on_while_a_large_graph_is_worked_on() -> None:
    large_graphs, may_end = LargeGraphs(), threading.Event()
    working = asyncio.ensure_future(large_graphs.run(LARGE_BYTES + 1, lambda: may_end.wait(DEADLINE_S)))
    await asyncio.wait([working], timeout=0)
    assert await large_graphs.run(LARGE_BYTES, lambda: "at once") == "at once"
    assert not working.done()
    may_end.set()
    assert await working


async def test_large_graphs_are_worked_on_one_after_the_other() -> None:
    large_graphs, running, at_once = LargeGraphs(), [0], [0]

    def work() -> None:
        running[0] += 1
        at_once[0] = max(at_once[0], running[0])
        threading.Event().wait(0.001)
        running[0] -= 1

    await asyncio.gather(*(large_graphs.run(LARGE_BYTES + 1, work) for _ in range(20)))
    assert at_once == [1]


@pytest.mark.parametrize("size_bytes", [1, LARGE_BYTES + 1])
async def test_a_refusal_comes_through(size_bytes: int) -> None:
    def refuse() -> None:
        raise Refused("workflow_no_output")

    with pytest.raises(Refused, match="saves"):
        await LargeGraphs().run(size_bytes, refuse)
