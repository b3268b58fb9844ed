"""The thread of a connection: one call after the other, each told to the one who asked."""

from __future__ import annotations

import asyncio
import threading

import pytest

from comfyledger.ledger.connection_thread import LedgerThread
from support.waiting import DEADLINE_S


async def test_calls_are_done_in_their_order_in_one_thread_of_that_name() -> None:
    thread = LedgerThread("ledger-test")
    done: list[int] = []
    names = await asyncio.gather(*(thread.call(lambda n=n: _done(done, n)) for n in range(50)))  # type: ignore[misc]
    thread.end()
    assert done == list(range(50))
    assert set(names) == {"ledger-test"}


def _done(done: list[int], number: int) -> str:
    done.append(number)
    return threading.current_thread().name


async def test_a_call_that_raises_does_so_for_its_caller_and_the_next_still_runs() -> None:
    thread = LedgerThread("ledger-test")
    failing = thread.call(lambda: 1 // 0)
    following = thread.call(lambda: 2)
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await following == 2
    thread.end()


async def test_a_call_that_nobody_waits_for_any_more_is_not_begun() -> None:
    thread = LedgerThread("ledger-test")
    held, go_on = threading.Event(), threading.Event()
    first = thread.call(lambda: held.set() or go_on.wait(DEADLINE_S))
    done: list[int] = []
    second = thread.call(lambda: done.append(2))
    third = thread.call(lambda: done.append(3))
    assert await asyncio.to_thread(held.wait, 20.0)
    second.cancel()
    go_on.set()
    await asyncio.gather(first, third)
    assert done == [3]
    thread.end()


async def test_the_end_waits_for_what_was_asked_and_nothing_comes_after_it() -> None:
    thread = LedgerThread("ledger-test")
    done: list[int] = []
    asked = [thread.call(lambda n=n: done.append(n)) for n in range(3)]  # type: ignore[misc]
    thread.end()
    assert done == [0, 1, 2]
    await asyncio.gather(*asked)
    with pytest.raises(RuntimeError):
        thread.call(lambda: None)


def test_one_that_was_never_used_has_nothing_to_end() -> None:
    LedgerThread("ledger-test").end()
