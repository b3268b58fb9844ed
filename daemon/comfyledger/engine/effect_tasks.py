"""The tasks of an engine: one for each effect that has started, and those of the engine itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from comfyledger.core.scheduling.effects import Effect, EffectKey
from comfyledger.engine.inbox import Inbox
from comfyledger.engine.state import State
from comfyledger.errors import Unusable

Perform = Callable[[Effect], Coroutine[Any, Any, None]]
"""Does one effect and reports what came of it. It runs in a task of its own."""

log = structlog.get_logger("comfyledger.engine")


class EffectTasks:
    """Starts what is due, and tells the index of pending work what has ended. `run` of the engine sets `perform`.

    `failure`: why the engine must end, because a disk failed; None as long as none did.
    """

    def __init__(self, state: State, inbox: Inbox) -> None:
        self._state, self._inbox = state, inbox
        self._tasks: set[asyncio.Task[None]] = set()
        self.perform: Perform | None = None
        self.failure: Unusable | None = None

    def start_due(self, now_ms: int) -> None:
        """Start what may start. A box that does not take part in its fleet starts nothing."""
        if self._state.is_member:
            for effect in self._state.owed.take(now_ms):
                self.spawn(self._do(effect))

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something until the engine ends."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def fail(self, error: Unusable) -> None:
        """Have the engine end."""
        self.failure = error
        self._inbox.wake.set()

    async def end(self) -> None:
        """Cancel all of them, and wait until they have ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _do(self, effect: Effect) -> None:
        """A worker that dies is logged; what it should have done is still owed and tried again later.

        A failed disk is the exception: it ends the engine, and nothing is tried again on it.
        """
        key: EffectKey = effect.key
        assert self.perform is not None  # noqa: S101 (set by run, before any effect is taken)
        died = True
        try:
            await self.perform(effect)
            died = False
        except Unusable as error:
            self.failure = error
        except Exception:
            log.exception("effect.died", effect=list(key))
        finally:
            self._state.owed.done(key, self._state.steady_ms(), died=died)
            self._inbox.wake.set()
