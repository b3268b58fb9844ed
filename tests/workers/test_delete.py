"""Deleting what is forgotten: from stores, whatever they answer, and from the spool as soon as the log says so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import Report
from comfyledger.core.rows import ImageRow, ImageState
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import DeleteImage, Effect, UploadImage
from comfyledger.engine import Engine
from comfyledger.ledger.ports import ImageFilter
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.plugin_api import Deleted, Deletion, Foreign, Held, LaneFault
from comfyledger.plugins import OpenedStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.retention import Retention
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.delete import Deleter, SpoolFollower
from support.core_builders import forget, one_stored, submit
from support.ledger_builders import log_of
from support.waiting import until


class AnsweringStore:
    """A store that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Deletion = Deleted(found=True)
        self.asked: list[Held] = []

    async def delete(self, ours: Held) -> Deletion:
        self.asked.append(ours)
        return self.answer


class DeletingWorkers:
    """Two stored images, the workers that delete, and the spool with their files."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.store = AnsweringStore()
        self.stores = {"folder": OpenedStore("folder", "folder", "folder:/there", self.store)}  # type: ignore[arg-type]
        self.ledger, self.reader = Ledger.open(self.path), Reader(self.path)
        self.now_ms = 0
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=Limits(),
            first_use_wait_s=60.0,
            wall_ms=lambda: 1_700_000_000_000,
            steady_ms=lambda: self.now_ms,
        )
        salts = itertools.count()
        self.spool = Spool(folder / "spool")
        reporter = Reporter(self.engine, lambda: next(salts).to_bytes(16), 2_000)
        self.deleter = Deleter(self.stores, RowCache(self.engine, self.reader), reporter)
        self.follower = SpoolFollower(self.engine.view, self.reader, self.spool)
        work = (self.engine.run(self.perform, self.perform), self.follower.run())
        self.running = [asyncio.create_task(one) for one in work]

    async def perform(self, effect: Any) -> None:
        if isinstance(effect, DeleteImage):
            await self.deleter.delete(effect)
        elif isinstance(effect, Effect) and not isinstance(effect, UploadImage):
            await asyncio.Event().wait()

    async def given(self) -> None:
        await self.engine.command(submit(quantity=2))
        for index in (1, 2):
            self.place(index)
            for report in one_stored(index):
                assert isinstance(report, Report)
                await self.engine.report(report)

    def place(self, index: int) -> Path:
        path = self.spool.path_of("b1", index, "png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture")
        return path

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.spool.root)) for path in self.spool.root.rglob("*.png"))

    def kinds(self) -> list[str]:
        return [line.kind for line in log_of(self.path)]

    async def image(self, index: int = 1) -> ImageRow:
        found = await self.reader.image("b1", index)
        assert found is not None
        return found

    async def end(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        await self.reader.close()
        self.ledger.close()


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[DeletingWorkers]:
    made = DeletingWorkers(tmp_path)
    await made.given()
    yield made
    await made.end()


async def test_a_store_is_asked_for_what_it_was_given_and_nothing_else(workers: DeletingWorkers) -> None:
    await workers.engine.command(forget(1, stores=True))
    await until(lambda: "image_deleted" in workers.kinds())
    (asked,) = workers.store.asked
    image = await workers.image()
    assert asked == Held(image.public_id, "png", 1_000, image.md5, image.sha256, "b1/1")
    assert (image.state, image.uploads[0].state) == ("forgotten", "deleted")


async def test_what_is_not_ours_is_left_and_the_image_is_forgotten_all_the_same(workers: DeletingWorkers) -> None:
    workers.store.answer = Foreign("somebody drew over it")
    await workers.engine.command(forget(1, stores=True))
    await until(lambda: "image_left" in workers.kinds())
    image = await workers.image()
    assert (image.state, image.uploads[0].state, image.uploads[0].code) == ("forgotten", "foreign", "foreign")


async def test_a_store_in_trouble_is_one_event_and_is_asked_again(workers: DeletingWorkers) -> None:
    workers.store.answer = LaneFault("not_reached", "no route to host")
    await workers.engine.command(forget(stores=True))
    await until(lambda: "lane_paused" in workers.kinds())
    assert (await workers.image()).state == "forgetting"
    workers.store.answer = Deleted(found=False)
    workers.now_ms += 120_000
    workers.engine.probe_soon("store/folder")
    await until(lambda: workers.kinds().count("image_deleted") == 2)
    assert (workers.kinds().count("lane_paused"), workers.kinds().count("lane_resumed")) == (1, 1)


async def test_another_place_under_the_stores_name_is_not_asked(workers: DeletingWorkers) -> None:
    moved = OpenedStore("folder", "folder", "folder:/elsewhere", workers.store)  # type: ignore[arg-type]
    workers.stores["folder"] = moved
    await workers.engine.command(forget(1, stores=True))
    await until(lambda: "image_left" in workers.kinds())
    assert (await workers.image()).uploads[0].code == "identity_changed"
    assert workers.store.asked == []


async def test_a_store_that_is_not_configured_any_more_is_waited_for(workers: DeletingWorkers) -> None:
    del workers.stores["folder"]
    await workers.engine.command(forget(1, stores=True))
    await until(lambda: "lane_paused" in workers.kinds())
    assert (await workers.image()).state == "forgetting"


async def test_files_leave_the_spool_as_soon_as_the_log_says_so(workers: DeletingWorkers) -> None:
    await workers.engine.command(forget(2))
    await until(lambda: workers.files() == ["b1/1.png"])
    await workers.engine.command(forget(1))
    await until(lambda: not (workers.spool.root / "b1").exists())


async def test_a_follower_that_fell_behind_reads_on_in_the_log(workers: DeletingWorkers) -> None:
    await until(lambda: workers.follower._position == workers.engine.view.position)
    workers.running[1].cancel()
    await workers.engine.command(forget(1))
    workers.engine._state.tail.clear()
    workers.running[1] = asyncio.create_task(workers.follower.run())
    await until(lambda: workers.files() == ["b1/2.png"])


class Known:
    """A reader that knows these images only."""

    def __init__(self, *rows: ImageRow) -> None:
        self.rows = rows

    async def images(self, wanted: ImageFilter) -> list[ImageRow]:
        return [row for row in self.rows if row.batch_id == wanted.batch_id]


@pytest.mark.parametrize("state", ["forgetting", "forgotten"])
async def test_forgotten_files_left_behind_go_at_the_start_and_at_each_clearing(
    tmp_path: Path, state: ImageState
) -> None:
    spool = Spool(tmp_path / "spool")
    rows = Known(ImageRow("b1", 1, 1, "f", "n_1", 1, "areg", state, sha256="aa"))
    retention = Retention(spool, rows, 999, lambda: 0.0)  # type: ignore[arg-type]
    for go in (retention.sweep_at_start, retention.clear):
        path = spool.path_of("b1", 1, "png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture")
        assert await go() == 1
        assert not path.exists()


async def test_an_image_over_which_the_plugin_dies_is_left_with_the_reason(workers: DeletingWorkers) -> None:
    async def delete(ours: Held) -> Deletion:
        raise KeyError("etag")

    workers.store.delete = delete  # type: ignore[method-assign]
    await workers.engine.command(forget(1, stores=True))
    await until(lambda: "image_left" in workers.kinds())
    image = await workers.image()
    assert (image.state, image.uploads[0].code) == ("forgotten", "plugin_died")
    assert workers.stores["folder"].died == {"delete": 1}
