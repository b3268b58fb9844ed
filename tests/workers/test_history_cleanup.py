"""Our entries in ComfyUI's history: many are deleted with one call, one call at a time, none is left out, and a failure
costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.decide.decide import Message
from comfyledger.core.events import KIND_OF
from comfyledger.core.rows import PromptRow
from comfyledger.core.values import prompt_uuid
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.workers.comfyui.history_cleanup import GATHER_S, LEFT_MAX, TOGETHER, HistoryCleanup
from support.core_builders import PlainLedger, finished, given, kept, left, rendered, rendering, submit
from support.waiting import until


class ComfyUI:
    """Takes deletions when it is let, and says how many came at once."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.at_once = self.most_at_once = 0
        self.may_answer = asyncio.Event()
        self.down = False

    async def forget(self, prompt_ids: list[str]) -> None:
        self.calls.append(prompt_ids)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may_answer.wait()
        self.at_once -= 1
        if self.down:
            raise NotReached("not_reached", "away", sent=False)


class EmptyLog:
    async def head(self) -> Head:
        await asyncio.sleep(0)
        return Head()

    async def page(self, **_: int) -> list[object]:
        return []


def entries() -> tuple[ComfyUI, HistoryCleanup]:
    comfyui = ComfyUI()
    return comfyui, HistoryCleanup(comfyui, "main", EmptyLog())  # type: ignore[arg-type]


@pytest.fixture
async def running() -> AsyncIterator[tuple[ComfyUI, HistoryCleanup]]:
    comfyui, used_up = entries()
    comfyui.may_answer.set()
    task = asyncio.create_task(used_up.run())
    yield comfyui, used_up
    task.cancel()


async def test_many_are_deleted_at_once(running: tuple[ComfyUI, HistoryCleanup]) -> None:
    comfyui, used_up = running
    names = [f"entry {number}" for number in range(TOGETHER)]
    for name in names:
        used_up.forget(name)
    async with asyncio.timeout(GATHER_S / 2):
        await until(lambda: bool(comfyui.calls))
    assert comfyui.calls == [names]


async def test_few_wait_for_more_and_not_for_ever(running: tuple[ComfyUI, HistoryCleanup]) -> None:
    comfyui, used_up = running
    used_up.forget("a")
    await asyncio.sleep(0)
    used_up.forget("b")
    await until(lambda: bool(comfyui.calls))
    assert comfyui.calls == [["a", "b"]]


async def test_what_is_used_up_during_a_call_goes_together_with_the_next() -> None:
    comfyui, used_up = entries()
    used_up.forget("a")
    first = asyncio.create_task(used_up.forget_left())
    await until(lambda: bool(comfyui.calls))
    names = [f"entry {number}" for number in range(TOGETHER)]
    for name in names:
        used_up.forget(name)
    await used_up.forget_left()
    comfyui.may_answer.set()
    await first
    await used_up.forget_left()
    assert comfyui.calls == [["a"], names]
    assert comfyui.most_at_once == 1


async def test_what_could_not_be_deleted_goes_with_the_next() -> None:
    comfyui, used_up = entries()
    comfyui.may_answer.set()
    comfyui.down = True
    used_up.forget("a")
    await used_up.forget_left()
    comfyui.down = False
    used_up.forget("b")
    await used_up.forget_left()
    assert comfyui.calls == [["a"], ["a", "b"]]
    used_up.forget("c")
    await used_up.forget_left()
    assert comfyui.calls[-1] == ["c"]


async def test_a_call_that_is_cancelled_stands_in_nobodys_way() -> None:
    comfyui, used_up = entries()
    used_up.forget("a")
    cut_off = asyncio.create_task(used_up.forget_left())
    await until(lambda: bool(comfyui.calls))
    cut_off.cancel()
    await asyncio.wait([cut_off])
    comfyui.may_answer.set()
    used_up.forget("b")
    await used_up.forget_left()
    assert comfyui.calls == [["a"], ["a", "b"]]


async def test_what_is_owed_while_comfyui_is_away_has_a_bound() -> None:
    comfyui, used_up = entries()
    comfyui.may_answer.set()
    comfyui.down = True
    for number in range(LEFT_MAX + 1):
        used_up.forget(f"entry {number}")
    await used_up.forget_left()
    comfyui.down = False
    await used_up.forget_left()
    assert [len(call) for call in comfyui.calls] == [LEFT_MAX, LEFT_MAX]


# ---- what an earlier run of the daemon left


class Log:
    """The log of one prompt, and its row."""

    def __init__(self, ledger: PlainLedger) -> None:
        self._ledger = ledger

    async def head(self) -> Head:
        return Head(len(self._ledger.log))

    async def page(self, **_: int) -> list[Line]:
        events = [entry.event for entry in self._ledger.log]
        return [
            Line(at, "b1", KIND_OF[type(one)], 1, 0, msgspec.json.encode(one).decode(), b"")
            for at, one in enumerate(events, 1)
        ]

    async def prompt(self, _: str, index: int) -> PromptRow:
        return self._ledger.prompt(index)


LEFT: tuple[Message, ...] = (*rendered(1), left(1))
ONE_KEPT: tuple[Message, ...] = (*rendered(1, files=2), kept(1, prompt=1))
USED: tuple[Message, ...] = (*rendering(1), left(1), finished(1, files=2))


@pytest.mark.parametrize(
    ("happened", "backend", "used_up"),
    [
        (rendered(1, files=2), "main", []),
        (ONE_KEPT, "main", []),
        ((*ONE_KEPT, kept(2, prompt=1)), "main", [1]),
        ((*ONE_KEPT, kept(2, prompt=1)), "other", []),
        (LEFT, "main", []),
        ((*LEFT, *rendered(1, 2, files=2), finished(1)), "main", [1]),
        (USED, "main", []),
        ((*USED, kept(1, 2, prompt=1)), "main", [1]),
    ],
    ids=["finished", "one kept", "kept", "elsewhere", "left", "late", "used", "used and kept"],
)
async def test_what_nothing_reads_again_is_deleted_after_a_start(
    happened: tuple[Message, ...], backend: str, used_up: list[int]
) -> None:
    comfyui = ComfyUI()
    comfyui.may_answer.set()
    ledger = given(submit(quantity=2, per_prompt=2), happened)
    await HistoryCleanup(comfyui, backend, Log(ledger)).forget_left()  # type: ignore[arg-type]
    assert {one for call in comfyui.calls for one in call} == {prompt_uuid("b1", 1, attempt) for attempt in used_up}
