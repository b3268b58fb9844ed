"""Our entries in ComfyUI's history: deleted one call at a time, none left out, and a failure costs nothing."""

from __future__ import annotations

import asyncio

from comfyledger.comfyui.transfer import NotReached
from comfyledger.ledger.eventlog import Head
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup


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


async def test_what_is_used_up_during_a_call_goes_together_with_the_next() -> None:
    comfyui, used_up = entries()
    first = [asyncio.create_task(used_up.forget(name)) for name in ("a", "b")]
    while not comfyui.calls:
        await asyncio.sleep(0)
    later = [asyncio.create_task(used_up.forget(name)) for name in ("c", "d", "e")]
    await asyncio.gather(*later)
    comfyui.may_answer.set()
    await asyncio.gather(*first)
    assert comfyui.calls == [["a", "b"], ["c", "d", "e"]]
    assert comfyui.most_at_once == 1


async def test_what_could_not_be_deleted_goes_with_the_next() -> None:
    comfyui, used_up = entries()
    comfyui.may_answer.set()
    comfyui.down = True
    await used_up.forget("a")
    comfyui.down = False
    await used_up.forget("b")
    assert comfyui.calls == [["a"], ["a", "b"]]
    await used_up.forget("c")
    assert comfyui.calls[-1] == ["c"]


async def test_a_call_that_is_cancelled_stands_in_nobodys_way() -> None:
    comfyui, used_up = entries()
    cut_off = asyncio.create_task(used_up.forget("a"))
    while not comfyui.calls:
        await asyncio.sleep(0)
    cut_off.cancel()
    await asyncio.wait([cut_off])
    comfyui.may_answer.set()
    await used_up.forget("b")
    assert comfyui.calls == [["a"], ["a", "b"]]
