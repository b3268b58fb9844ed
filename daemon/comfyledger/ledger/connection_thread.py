"""A thread for one connection to the ledger. It does calls one after the other, and gives a future for each.

An executor does the same through two futures, a lock and a queue of work items for each call, which is a third of what
a small group of the engine costs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]


class LedgerThread:
    """Starts with its first call and stops with `end`. It does not keep a process alive."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._begun = self._ended = False

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the thread; the future has what it returns or raises. Raises RuntimeError after `end`.

        If the future is cancelled before its turn, `work` does not run.
        """
        if self._ended:
            raise RuntimeError(f"The thread {self._thread.name} has ended.")
        if not self._begun:
            self._begun = True
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, work))
        return future

    def end(self) -> None:
        """Do the calls that are waiting, then stop. Blocks until that is done. The second time nothing happens."""
        is_first, self._ended = not self._ended, True
        if self._begun and is_first:
            self._jobs.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, work = job
            if not future.cancelled():
                with suppress(RuntimeError):  # the loop is closed: no caller waits any more
                    loop.call_soon_threadsafe(_tell, future, *_done(work))
            del job, loop, future, work  # a large answer is not kept until the next call


def _done(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # raised where it is waited for
        return None, error


def _tell(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
