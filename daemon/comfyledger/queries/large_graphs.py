"""Works on large graphs beside the event loop, so that nobody else waits for them.

To plan and check a graph of half a megabyte takes up to some seconds of processor time on a busy machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

LARGE_BYTES: Final = 32_768
"""A request up to this size takes a few milliseconds, and is worked on at once. Most are smaller."""

T = TypeVar("T")


class LargeGraphs:
    """One thread, which takes them one after the other: Python runs one thread at a time anyway."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-graphs")

    async def run(self, size_bytes: int, call: Callable[[], T]) -> T:
        """What `call` returns or raises. `size_bytes`: of the request that it is about."""
        if size_bytes <= LARGE_BYTES:
            return call()
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
