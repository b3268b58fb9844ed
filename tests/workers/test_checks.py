"""Laws of checks: together they stay below a bound, nobody is passed over, and whoever kills the process is found."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyledger.workers.comfyui.fetch import Turns
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.spool import pinned_copy as copy_module
from comfyledger.workers.spool import spool as spool_module
from comfyledger.workers.spool.checks import ALL, LONG, Checks
from comfyledger.workers.spool.spool import Spool
from support.spool_files import image, keep
from support.waiting import DEADLINE_S

# ---- the bound


async def test_checks_together_stay_below_the_bound_whatever_is_cancelled() -> None:
    chance, checks, under_way = random.Random(7), Checks(), 0

    async def one(cost: int) -> None:
        nonlocal under_way
        async with checks.turn(cost):
            under_way += cost
            try:
                assert under_way <= ALL
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                under_way -= cost

    tasks = [asyncio.create_task(one(chance.choice([0, 1, LONG, ALL // 3, ALL]))) for _ in range(300)]
    for task in chance.sample(tasks, 80):
        await asyncio.sleep(0)
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
    async with asyncio.timeout(DEADLINE_S), checks.turn(ALL):
        pass


async def test_a_full_cost_is_not_passed_over_and_a_zero_cost_never_waits() -> None:
    checks, order, leave = Checks(), [], asyncio.Event()

    async def one(name: str, cost: int) -> None:
        async with checks.turn(cost):
            order.append(name)
            if name == "first":
                await leave.wait()

    tasks = [asyncio.create_task(one(*each)) for each in (("first", 1), ("all", ALL), ("late", 1), ("free", 0))]
    while "free" not in order:
        await asyncio.sleep(0)
    assert order == ["first", "free"]
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "free", "all", "late"]


async def test_a_place_is_given_back_once_whether_its_holder_is_slow_or_not() -> None:
    turns, leave, inside = Turns(2, 0.05), asyncio.Event(), 0

    async def slow() -> None:
        nonlocal inside
        async with turns.turn():
            inside += 1
            await leave.wait()

    tasks = [asyncio.create_task(slow()) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE_S), turns.turn():
        pass
    assert inside == 2
    leave.set()
    await asyncio.gather(*tasks)
    async with asyncio.timeout(DEADLINE_S), turns.turn(), turns.turn():
        waiting = asyncio.create_task(slow())
        await asyncio.sleep(0)
        assert inside == 2
    await waiting


# ---- deaths


class Death(BaseException):
    """Stands for the end of the process: nothing after it is done."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


async def die_at(root: Path, monkeypatch: pytest.MonkeyPatch, step: str, index: int = 1) -> None:
    """A life that ends while a file is checked; the next one sweeps."""
    spool = opened(root)

    def dies(*_: Any, **__: Any) -> None:
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr(spool_module if step == "walk" else copy_module, step, dies)
        patched.setattr(spool_module, "discard", lambda *_: False)
        with pytest.raises(Death):
            await keep(spool, index)


def opened(root: Path) -> Spool:
    spool = Spool(root)
    spool.sweep(lambda *_: True)
    return spool


@pytest.mark.parametrize("step", ["walk", "proved", "sync_file"])
async def test_a_file_of_which_the_process_died_again_and_again_is_given_up(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for _ in range(3):
        await die_at(root, monkeypatch, step)
    spool = opened(root)
    with pytest.raises(Broken) as refused:
        await keep(spool)
    assert refused.value.reason == "poison"
    assert "3 times" in refused.value.sentence
    assert (await keep(spool, 2)).extension == "png"
    assert sorted(path.name for path in (root / "B1").iterdir()) == ["2.png"]


async def test_a_check_that_comes_to_its_end_was_not_to_blame(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        await die_at(root, monkeypatch, "walk")
    await keep(opened(root))
    assert [path.name for path in (root / "B1").iterdir()] == ["1.png"]
    for _ in range(2):
        await die_at(root, monkeypatch, "walk")
    with pytest.raises(Broken):
        await keep(opened(root), content=b"rubbish")
    await keep(opened(root))


async def test_a_file_that_only_came_in_when_the_process_died_is_not_to_blame(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: Any) -> None:
        raise Death

    for _ in range(4):
        with monkeypatch.context() as patched:
            patched.setattr(spool_module, "received", dies)
            with pytest.raises(Death):
                await keep(opened(root))
    await keep(opened(root))


async def test_a_new_attempt_begins_without_strikes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await die_at(root, monkeypatch, "walk")
    spool = opened(root)

    async def chunks() -> AsyncIterator[bytes]:
        yield image()

    await spool.keep("B1", 1, 2, chunks(), strip=True, bytes_max=10**6, pixels_max=10**6)
    spool.remove("B1", 1)
    assert list(root.iterdir()) == []


async def test_a_suspect_is_checked_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await die_at(root, monkeypatch, "walk")
    spool, inside = opened(root), 0

    def counting(*args: Any) -> Any:
        nonlocal inside
        inside = spool._checks._free
        return original(*args)

    original = copy_module.proved
    monkeypatch.setattr(copy_module, "proved", counting)
    await keep(spool)
    assert inside == 0
    await keep(spool)
    assert inside == ALL
