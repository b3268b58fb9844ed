"""How much is free on each disk: what is seen, what is not known, and that one disk does not hold up another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from comfyledger.plugin_api import LaneFault, Space, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.queries import disks as lists
from comfyledger.workers.spool import disks
from comfyledger.workers.spool.disks import Disk, Disks, Watched
from support.waiting import until

SPACE = Space("/srv/images", 5, 9, 2)


class Measuring:
    """A store whose disk is as `answer` says; it may raise."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.asked = 0
        self.answer = answer

    async def space(self) -> Any:
        self.asked += 1
        answer = self.answer()
        return await answer if asyncio.isfuture(answer) else answer


class Plain:
    """A store that is on no disk of this machine."""


def opened(name: str, store: Any) -> OpenedStore:
    return OpenedStore(name, "kind", "identity", store)


@asynccontextmanager
async def watching(watched: Disks) -> AsyncIterator[None]:
    task = asyncio.create_task(watched.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def own(folder: Path) -> Any:
    return {use: Watched(folder / use, free_min) for use, free_min in (("ledger", 3), ("spool", 7), ("inputs", 7))}


def stores_of(watched: Disks) -> dict[str, Space | None]:
    return {one.store: one.space for one in watched.seen() if one.store}


async def test_each_folder_is_seen_with_what_must_be_free_and_none_before_it_was_read(tmp_path: Path) -> None:
    for name in ("ledger", "spool", "inputs"):
        (tmp_path / name).mkdir()
    watched = Disks(own(tmp_path), {})
    assert [one.space for one in watched.seen()] == [None, None, None]
    assert watched.read("spool") > 0
    seen = {one.use: one for one in watched.seen()}
    assert [(one.folder, one.free_min) for one in seen.values()] == [
        (str(tmp_path / use), free_min) for use, free_min in (("ledger", 3), ("spool", 7), ("inputs", 7))
    ]
    assert (seen["ledger"].space, seen["inputs"].space) == (None, None)
    assert seen["spool"].space is not None
    assert 0 < seen["spool"].space.free_bytes <= seen["spool"].space.total_bytes


async def test_a_disk_that_has_gone_has_nothing_free_and_its_old_figures_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    watched = Disks(own(tmp_path), {})
    assert watched.read("spool") > 0
    (tmp_path / "spool").rmdir()
    assert watched.read("spool") == 0
    assert [one.space for one in watched.seen()] == [None, None, None]


async def test_a_store_that_hangs_holds_up_neither_inputs_nor_other_stores(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    never = asyncio.get_running_loop().create_future()
    hangs, works = Measuring(lambda: never), Measuring(lambda: SPACE)
    watched = Disks(own(tmp_path), {"hangs": opened("hangs", hangs), "works": opened("works", works)})
    async with watching(watched):
        await until(lambda: stores_of(watched) == {"works": SPACE})
        await until(lambda: watched.seen()[2].space is not None)
    assert hangs.asked == 1


async def test_a_store_on_no_disk_and_one_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    works = Measuring(lambda: SPACE)
    stores = {
        "cloud": opened("cloud", Plain()),
        "broken": OpenedStore("broken", "kind", problem="no key"),
        "disk": opened("disk", works),
    }
    watched = Disks(own(tmp_path), stores)
    async with watching(watched):
        await until(lambda: works.asked)
    assert stores_of(watched) == {"disk": SPACE}


async def test_a_store_that_stops_answering_is_unknown_and_one_that_is_prepared_later_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(disks, "LOOK_EVERY_MAX_S", 0.002)

    def trouble() -> None:
        raise StoreTrouble(LaneFault("not_reached", "gone"))

    works, late = Measuring(lambda: SPACE), Measuring(lambda: SPACE)
    stores = {"disk": opened("disk", works), "late": OpenedStore("late", "kind", problem="not yet")}
    watched = Disks(own(tmp_path), stores)
    async with watching(watched):
        await until(lambda: stores_of(watched) == {"disk": SPACE})
        works.answer = trouble
        await until(lambda: stores_of(watched) == {"disk": None})
        works.answer = lambda: SPACE
        stores["late"] = opened("late", late)
        await until(lambda: stores_of(watched) == {"disk": SPACE, "late": SPACE})


def test_folders_on_one_disk_have_one_number_that_says_nothing_of_the_machine() -> None:
    seen = [
        Disk("ledger", "", "/l", 3, Space("/l", 5, 9, 2_049)),
        Disk("spool", "", "/s", 7, Space("/s", 6, 10, 77)),
        Disk("inputs", "", "/i", 7, None),
        Disk("store", "folder", "/f", 0, Space("/f", 5, 9, 2_049)),
    ]
    shown = lists.shown(seen)
    assert [one.disk for one in shown] == [1, 2, None, 1]
    assert [(one.free_bytes, one.size_bytes) for one in shown] == [(5, 9), (6, 10), (None, None), (5, 9)]
    assert [(one.use, one.store, one.folder, one.free_min_bytes) for one in shown] == [
        ("ledger", "", "/l", 3),
        ("spool", "", "/s", 7),
        ("inputs", "", "/i", 7),
        ("store", "folder", "/f", 0),
    ]
