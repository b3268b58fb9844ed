"""The effects that are under way at one ComfyUI, so that they can be ended before the daemon ends.

An effect that is ended has no outcome: it is owed again, as after a crash, and goes to whatever has the name then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class UnderWay:
    """Each effect in the task that runs it."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[object], str] = {}
        self._ended: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def one(self, kind: str) -> Iterator[None]:
        """The present task runs an effect of this kind. If it is ended, it leaves the block and goes on after it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (the engine runs each effect in a task)
        self._tasks[task] = kind
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended or task.uncancel():  # somebody else cancels it too
                raise
        finally:
            del self._tasks[task]
            self._ended.discard(task)

    def end(self, kinds: Collection[str] | None = None) -> None:
        """End all effects, or those of these kinds."""
        for task, kind in list(self._tasks.items()):
            if task not in self._ended and (kinds is None or kind in kinds):
                self._ended.add(task)
                task.cancel()
