"""Waiting in tests. Nobody sleeps: a test polls a condition, and fails at a deadline.

`pause` is for what a test sets up, such as a server that is slow. A test does not wait with it. `pass_time`,
`let_time_end` and `hurry` are for what ends by a time limit in this process: the limit stays as it is, and is over
sooner. Whatever must happen before the limit has all of it, also on a busy machine.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 120.0
"""At forty programs for two processors, what takes two seconds alone takes one minute."""
PATIENT: dict[str, Any] = {"open_timeout": DEADLINE_S, "ping_timeout": DEADLINE_S}
"""Keywords of a client of a websocket, which would wait for 10 and 20 s."""
POLL_FIRST_S = 0.001
POLL_MAX_S = 0.02
HURRY_S = 0.002


class _Polling:
    """The deadline of one wait, and the pauses between its polls: each is twice as long as the one before."""

    def __init__(self, what: str, deadline_s: float) -> None:
        self._what, self._deadline_s = what, deadline_s
        self._ends_at = time.monotonic() + deadline_s
        self._pause_s = POLL_FIRST_S

    def next_s(self) -> float:
        """How long to pause now. Raises AssertionError after the deadline."""
        assert time.monotonic() < self._ends_at, f"not within {self._deadline_s:g} s: {self._what}"
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, POLL_MAX_S)
        return pause_s


async def until(condition: Callable[[], Any], what: str = "the condition", deadline_s: float = DEADLINE_S) -> Any:
    """Poll until the condition is true; its value. It may be a coroutine function.

    Raises AssertionError at the deadline, and TimeoutError if the condition itself does not return soon after it.
    """
    polling = _Polling(what, deadline_s)
    async with asyncio.timeout(deadline_s + 5.0):
        while not (found := await _value_of(condition)):
            await asyncio.sleep(polling.next_s())
    return found


async def _value_of(condition: Callable[[], Any]) -> Any:
    found = condition()
    return await found if inspect.iscoroutine(found) else found


def until_without_a_loop(
    condition: Callable[[], Any], what: str = "the condition", deadline_s: float = DEADLINE_S
) -> Any:
    """The same for a test without an event loop."""
    polling = _Polling(what, deadline_s)
    while not (found := condition()):
        time.sleep(polling.next_s())
    return found


async def pause(time_s: float) -> None:
    """Time that a stand-in takes on purpose: the bytes of a slow server, the call of a slow plugin."""
    await asyncio.sleep(time_s)


def pass_time(time_s: float) -> None:
    """Put the clock of the running event loop forward. Each test has a loop of its own, so it need not be put back."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop.time, _Ahead):
        loop.time = _Ahead()  # type: ignore[method-assign]
    loop.time.ahead_s += time_s


class _Ahead:
    """A clock that was put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


async def let_time_end(task: asyncio.Task[Any], time_s: float) -> None:
    """Let a time limit of so many seconds be over, whenever it begins, until the task has ended."""
    while not task.done():
        pass_time(time_s)
        await asyncio.sleep(0)


async def hurry() -> None:
    """Let time pass eight times as fast in the running event loop, for ever.

    It passes between the turns of the loop. So a busy machine, which takes longer for each turn, leaves what happens in
    the loop as much time as an idle one.
    """
    while True:
        pass_time(7 * HURRY_S)
        await asyncio.sleep(HURRY_S)
