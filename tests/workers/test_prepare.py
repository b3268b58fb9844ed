"""Laws of opening stores: one that must find something out first keeps nobody waiting, and is asked until it knows."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.plugin_api import LaneFault, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.stores import prepare
from comfyledger.workers.stores.prepare import StorePreparer
from support.waiting import DEADLINE_S


class Slow:
    """A store that can be prepared after so many times in vain."""

    identity = "slow:/there"

    def __init__(self, times: int) -> None:
        self.times = times

    async def prepare(self) -> None:
        self.times -= 1
        if self.times >= 0:
            raise StoreTrouble(LaneFault("not_reached", "No route to host"))


class Reports:
    def __init__(self) -> None:
        self.probed: list[str] = []

    def probe_soon(self, lane: str) -> None:
        self.probed.append(lane)


class Batches:
    """A reader that knows one open batch with one image, owed to a place of this identity."""

    def __init__(self, identity: str = "") -> None:
        self.identity = identity

    async def batches(self, wanted: Any) -> list[Any]:
        if not self.identity or wanted.before is not None:
            return []
        return [Row(batch_id="b1", stores=(StoreRef("slow", self.identity),))]

    async def images(self, _: Any) -> list[Any]:
        return [Row(state="kept", upload=lambda _: Row(state="owed"))]


class Row:
    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


def opener(store: Any, reader: Batches, reporter: Reports) -> tuple[StorePreparer, dict[str, OpenedStore]]:
    stores = {"slow": OpenedStore("slow", "odd", waiting=store)}
    return StorePreparer(stores, reader, reporter, random.Random(1)), stores  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "DELAY_FIRST_S", 0.001)


async def test_a_store_that_is_away_at_the_start_is_used_as_soon_as_it_can_be() -> None:
    reporter = Reports()
    room, stores = opener(Slow(3), Batches(), reporter)
    await room.first()
    assert (stores["slow"].store, stores["slow"].problem) == (None, "No route to host")
    await asyncio.wait_for(room.run(), DEADLINE_S)
    assert stores["slow"].identity == "slow:/there"
    assert stores["slow"].store is not None
    assert reporter.probed == ["store/slow"]


async def test_a_start_is_refused_where_images_are_owed_to_another_place() -> None:
    room, _ = opener(Slow(0), Batches("slow:/elsewhere"), Reports())
    with pytest.raises(Refused, match="is now slow:/there"):
        await room.first()


async def test_a_store_that_turns_out_later_to_be_another_place_is_not_used(tmp_path: Path) -> None:
    reporter = Reports()
    room, stores = opener(Slow(2), Batches("slow:/elsewhere"), reporter)
    await room.first()
    await asyncio.wait_for(room.run(), DEADLINE_S)
    assert stores["slow"].store is None
    assert "is now slow:/there" in stores["slow"].problem
    assert reporter.probed == []


async def test_a_plugin_that_dies_is_a_status_and_is_asked_again() -> None:
    class Dying(Slow):
        async def prepare(self) -> None:
            self.times -= 1
            if self.times >= 0:
                raise ZeroDivisionError

    room, stores = opener(Dying(1), Batches(), Reports())
    await room.first()
    assert "ZeroDivisionError" in stores["slow"].problem
    await asyncio.wait_for(room.run(), DEADLINE_S)
    assert stores["slow"].store is not None
