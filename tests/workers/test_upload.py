"""Uploads into a store that is down for hours, in an engine of its own with a clock that stands still until moved."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import Report, UploadIntended
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, UploadImage
from comfyledger.engine import Engine
from comfyledger.errors import Refused
from comfyledger.ledger.ports import ImageFilter
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.plugin_api import Deposit, Held, ImageFault, LaneFault, Outcome, Stored, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.resolve import check_identities
from comfyledger.workers.stores.restore_file import SourceTrouble
from comfyledger.workers.stores.upload import Uploader
from support.core_builders import cancel, one_kept, owing, renumbering, retry, submit
from support.ledger_builders import log_of
from support.waiting import pause, until

IMAGES = 20
UPLOADS_MAX = 4
DOWN = LaneFault("not_reached", "no route to host")


class CountingStore:
    """A store that answers as it is told, and counts the calls that overlap."""

    def __init__(self) -> None:
        self.answer: Outcome = Stored("https://there")
        self.trouble: LaneFault | None = None
        self.calls: list[str] = []
        self.names: list[str] = []
        self.firsts: list[bool] = []
        self.at_once = self.most_at_once = 0

    async def check(self, public_id: str, extension: str) -> Held | None:
        """Nothing is ever there."""
        if self.trouble is not None:
            raise StoreTrouble(self.trouble)
        return None

    async def put(self, deposit: Deposit) -> Outcome:
        self.calls.append(deposit.image_id)
        self.firsts.append(deposit.first_attempt)
        self.names.append(deposit.public_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await pause(0.002)
        self.at_once -= 1
        return self.answer


class Believed(Spool):
    """A spool that is believed to have every file, or none."""

    full = True

    def holds(self, batch_id: str, index: int, pinned: ProvedFile) -> bool:
        return self.full


class UploadingWorkers:
    """Kept images, a store for them, and the workers of that store. `identity` is what the store is now."""

    def __init__(self, folder: Path, identity: str = "folder:/there") -> None:
        self.path = folder / "ledger.db"
        self.now_ms = 0
        self.store = CountingStore()
        self.stores = {"folder": OpenedStore("folder", "folder", identity, self.store)}  # type: ignore[arg-type]
        self.ledger = Ledger.open(self.path)
        self.reader = Reader(self.path)
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=Limits(uploads_max=UPLOADS_MAX),
            first_use_wait_s=60.0,
            wall_ms=lambda: 1_700_000_000_000,
            steady_ms=lambda: self.now_ms,
        )
        salts = itertools.count()
        reporter = Reporter(self.engine, lambda: next(salts).to_bytes(16), 2_000)
        self.spool = Believed(folder / "spool")
        self.uploader = Uploader(self.stores, RowCache(self.engine, self.reader), self.spool, reporter)
        self.running = asyncio.create_task(self.engine.run(self.perform, self.perform))

    async def perform(self, effect: Any) -> None:
        if isinstance(effect, UploadImage):
            await self.uploader.upload(effect)
        elif isinstance(effect, Effect):
            await asyncio.Event().wait()

    async def given(self, *images: int, quantity: int = IMAGES) -> None:
        """A batch of which these images are kept."""
        await self.engine.command(submit(quantity=quantity))
        for index in images:
            for report in one_kept(index):
                assert isinstance(report, Report)
                await self.engine.report(report)

    async def later(self, seconds: float) -> None:
        """Move the clock and wait until what is due has been done."""
        self.now_ms += int(seconds * 1000)
        before = len(self.store.calls)
        self.engine.probe_soon("nobody's lane")
        await until(lambda: len(self.store.calls) > before and not self.store.at_once)
        await self.engine.report(one_kept(1)[0])  # type: ignore[arg-type]  (a late one: changes nothing)

    def kinds(self) -> list[str]:
        return [line.kind for line in log_of(self.path)]

    async def states(self) -> set[str]:
        return {row.state for row in await self.reader.images(ImageFilter(limit=100))}

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.reader.close()
        self.ledger.close()


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[UploadingWorkers]:
    made = UploadingWorkers(tmp_path)
    yield made
    await made.end()


async def test_a_store_that_is_down_costs_one_event_and_one_call_at_a_time(workers: UploadingWorkers) -> None:
    workers.store.answer = DOWN
    await workers.given(*range(1, IMAGES + 1))
    await until(lambda: workers.store.calls and not workers.store.at_once)
    workers.store.most_at_once = 0
    before = len(workers.store.calls)
    for _ in range(100):
        await workers.later(60)
    assert workers.store.most_at_once == 1
    assert len(workers.store.calls) - before == 100, "more often than once a minute"
    kinds = workers.kinds()
    assert kinds.count("lane_paused") == 1
    assert kinds.count("upload_started") <= IMAGES
    assert {"image_parked", "lane_resumed"}.isdisjoint(kinds)
    assert await workers.states() == {"kept"}


async def test_a_store_that_is_back_is_not_flooded(workers: UploadingWorkers) -> None:
    workers.store.answer = DOWN
    await workers.given(*range(1, IMAGES + 1))
    await until(lambda: workers.store.calls and not workers.store.at_once)
    await workers.later(60)
    workers.store.answer = Stored("https://there")
    workers.now_ms += 60_000
    workers.engine.probe_soon("nobody's lane")
    await until(lambda: workers.kinds().count("image_uploaded") == IMAGES)
    assert workers.store.most_at_once <= UPLOADS_MAX
    rows = await workers.reader.images(ImageFilter(limit=100))
    assert {(row.state, row.uploads[0].attempts) for row in rows} == {("stored", 1)}
    assert workers.kinds().count("lane_resumed") == 1


async def test_no_start_while_images_are_owed_to_another_place(workers: UploadingWorkers) -> None:
    workers.store.answer = DOWN
    await workers.given(1, 2, quantity=4)
    await workers.engine.command(cancel(4))
    await check_identities(workers.stores, workers.reader)
    await check_identities({}, workers.reader)
    moved = {"folder": OpenedStore("folder", "folder", "folder:/elsewhere", workers.store)}  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        await check_identities(moved, workers.reader)
    assert caught.value.code == "config_invalid"
    for said in ("store folder is now folder:/elsewhere", "images of batch b1 (3)", "folder:/there", "[stores.folder]"):
        assert said in str(caught.value)


async def test_a_retry_for_a_store_that_moved_is_parked_again(tmp_path: Path) -> None:
    """The lane goes on for others: what is owed to a place that is gone is that image's trouble."""
    workers = UploadingWorkers(tmp_path)
    try:
        workers.store.answer = ImageFault("collision", "somebody else's")
        await workers.given(1, quantity=1)
        await until(lambda: "batch_settled" in workers.kinds())
    finally:
        await workers.end()
    moved = UploadingWorkers(tmp_path, identity="folder:/elsewhere")
    try:
        await check_identities(moved.stores, moved.reader)
        await moved.engine.command(retry())
        await until(lambda: moved.kinds().count("image_parked") == 2)
        (row,) = await moved.reader.images(ImageFilter())
        assert (row.state, row.code, moved.store.calls) == ("parked", "identity_changed", [])
        assert "lane_paused" not in moved.kinds()
    finally:
        await moved.end()


async def test_what_nobody_has_is_told_lost_once_and_waits_to_be_rendered_again(workers: UploadingWorkers) -> None:
    workers.spool.full = False
    await workers.given(1, quantity=1)
    await until(lambda: "image_lost" in workers.kinds())
    assert await workers.states() == {"pending"}
    assert workers.store.calls == []
    assert {"upload_started", "image_parked", "batch_settled"}.isdisjoint(workers.kinds())


async def test_a_store_in_trouble_is_its_lanes_and_nothing_is_lost(workers: UploadingWorkers) -> None:
    workers.spool.full, workers.store.trouble = False, DOWN
    await workers.given(1, quantity=1)
    await until(lambda: "lane_paused" in workers.kinds())
    assert await workers.states() == {"kept"}
    workers.spool.full = True
    await workers.later(60)
    await until(lambda: "batch_settled" in workers.kinds())
    assert await workers.states() == {"stored"}


async def test_an_owed_upload_goes_out_under_the_images_new_name(workers: UploadingWorkers) -> None:
    workers.store.answer = ImageFault("collision", "somebody else's")
    await workers.given(1, quantity=1)
    await until(lambda: "batch_settled" in workers.kinds())
    (old,) = await workers.reader.images(ImageFilter())
    await workers.engine.command(PauseLane("app", "store/folder"))
    await workers.engine.command(renumbering(1))
    workers.store.answer = Stored("https://there")
    await workers.uploader.upload(UploadImage("folder", old, old.uploads[0]))
    (row,) = await workers.reader.images(ImageFilter())
    assert (row.state, row.number) == ("stored", 2)
    assert workers.store.names == [old.public_id, row.public_id]


async def test_a_store_in_trouble_that_was_asked_for_the_bytes_pauses_no_other(
    workers: UploadingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def cannot_say(_: object) -> None:
        tried.set()
        raise SourceTrouble("other", DOWN)

    monkeypatch.setattr(workers.uploader._restorer, "restore", cannot_say)
    await workers.given(1, quantity=1)
    await tried.wait()
    monkeypatch.undo()
    await workers.later(60)
    await until(lambda: "batch_settled" in workers.kinds())
    assert (await workers.states(), workers.kinds().count("lane_paused")) == ({"stored"}, 0)


async def test_only_an_upload_never_begun_before_counts_as_the_first(workers: UploadingWorkers) -> None:
    """A call whose answer never came may have stored the file: what is found then is our own."""
    await workers.given(1, quantity=2)
    await until(lambda: "image_uploaded" in workers.kinds())
    await workers.engine.command(PauseLane("app", "store/folder"))
    for report in one_kept(2):
        await workers.engine.report(report)  # type: ignore[arg-type]
    await workers.engine.report(UploadIntended("b1", 2, "folder"))
    await workers.engine.command(ResumeLane("app", "store/folder"))
    await until(lambda: "batch_settled" in workers.kinds())
    assert workers.store.firsts == [True, False]


async def test_a_spool_without_room_leaves_the_image_owed(
    workers: UploadingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def no_place(_: object) -> None:
        tried.set()
        raise NoPlace(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(workers.uploader._restorer, "restore", no_place)
    await workers.given(1, quantity=1)
    await tried.wait()
    monkeypatch.undo()
    await workers.later(60)
    await until(lambda: "batch_settled" in workers.kinds())
    assert (await workers.states(), workers.kinds().count("upload_started")) == ({"stored"}, 1)


async def test_what_may_be_in_a_store_that_is_gone_is_parked_for_a_person(workers: UploadingWorkers) -> None:
    await workers.given(1, quantity=1)
    await until(lambda: "batch_settled" in workers.kinds())
    workers.spool.full = False
    workers.stores["second"] = OpenedStore("second", "folder", "second:/there", workers.store)  # type: ignore[arg-type]
    gone = workers.stores.pop("folder")
    await workers.engine.command(owing(1, store="second"))
    await until(lambda: "image_parked" in workers.kinds())
    (row,) = await workers.reader.images(ImageFilter())
    assert (row.state, row.code) == ("parked", "altered")
    assert gone.store is workers.store


class ComparingStore(CountingStore):
    """A store that compares what it reads itself. It finds what the spool is said to have."""

    compares_bytes = True

    def __init__(self, spool: Believed) -> None:
        super().__init__()
        self.spool = spool

    async def put(self, deposit: Deposit) -> Outcome:
        outcome = await super().put(deposit)
        return outcome if self.spool.full else ImageFault("altered", "it has other bytes")


@pytest.fixture
def comparing(workers: UploadingWorkers, monkeypatch: pytest.MonkeyPatch) -> UploadingWorkers:
    workers.store = ComparingStore(workers.spool)
    workers.stores["folder"] = OpenedStore("folder", "folder", "folder:/there", workers.store)  # type: ignore[arg-type]
    return workers


async def test_a_store_that_compares_the_bytes_needs_no_other_to(
    comparing: UploadingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[object] = []
    monkeypatch.setattr(comparing.spool, "holds", lambda *about: compared.append(about))
    await comparing.given(1, quantity=1)
    await until(lambda: "batch_settled" in comparing.kinds())
    assert (await comparing.states(), compared) == ({"stored"}, [])


async def test_what_such_a_store_finds_altered_is_restored_and_put_again(
    comparing: UploadingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restore(_: object) -> None:
        comparing.spool.full = True

    comparing.spool.full = False
    monkeypatch.setattr(comparing.uploader._restorer, "restore", restore)
    await comparing.given(1, quantity=1)
    await until(lambda: "batch_settled" in comparing.kinds())
    assert (await comparing.states(), len(comparing.store.calls)) == ({"stored"}, 2)
    assert comparing.kinds().count("upload_started") == 1


async def test_what_such_a_store_finds_altered_and_nobody_has_is_lost(comparing: UploadingWorkers) -> None:
    comparing.spool.full = False
    await comparing.given(1, quantity=1)
    await until(lambda: "image_lost" in comparing.kinds())
    assert await comparing.states() == {"pending"}
    assert len(comparing.store.calls) == 1


async def test_what_such_a_store_finds_altered_again_is_parked(
    comparing: UploadingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restore(_: object) -> None:
        """It says so, and has not."""

    comparing.spool.full = False
    monkeypatch.setattr(comparing.uploader._restorer, "restore", restore)
    await comparing.given(1, quantity=1)
    await until(lambda: "image_parked" in comparing.kinds())
    assert len(comparing.store.calls) == 2


def uploads_under_way(workers: UploadingWorkers) -> list[Effect]:
    return [
        effect for effect in workers.engine._state.owed._effects.running.values() if isinstance(effect, UploadImage)
    ]


async def test_what_an_operator_should_know_of_a_store_is_told_once(workers: UploadingWorkers) -> None:
    workers.store.answer = Stored("https://there", details={"altered": 1})
    with capture_logs() as logs:
        await workers.given(1, 2, 3)
        await until(lambda: workers.kinds().count("image_uploaded") == 3 and not uploads_under_way(workers))
    told = [entry for entry in logs if entry["event"] == "upload.altered_by_store"]
    assert [(entry["log_level"], entry["store"]) for entry in told] == [("warning", "folder")]


@pytest.mark.parametrize("error", [ValueError("日本"), KeyError("etag"), SystemExit(1)], ids=repr)
async def test_a_plugin_that_dies_over_an_image_parks_that_image_with_the_reason(
    workers: UploadingWorkers, error: Any
) -> None:
    async def put(deposit: Deposit) -> Outcome:
        if deposit.image_id.endswith("/2"):
            raise error
        return Stored("https://there")

    workers.store.put = put  # type: ignore[method-assign]
    await workers.given(*range(1, 4), quantity=3)
    await until(lambda: workers.kinds().count("image_uploaded") == 2 and "image_parked" in workers.kinds())
    (image,) = await workers.reader.images(ImageFilter(state="parked", limit=9))
    assert (image.index, image.upload("folder").code) == (2, "plugin_died")  # type: ignore[union-attr]
    assert workers.stores["folder"].died == {"put": 1}
    assert "lane_paused" not in workers.kinds()


@pytest.mark.parametrize("error", [MemoryError(), asyncio.CancelledError(), OSError("?"), TimeoutError()], ids=repr)
async def test_a_plugin_that_dies_of_no_image_pauses_its_lane_and_goes_on_later(
    workers: UploadingWorkers, error: Any
) -> None:
    real = workers.store.put

    async def put(deposit: Deposit) -> Outcome:
        raise error

    workers.store.put = put  # type: ignore[method-assign]
    await workers.given(*range(1, 4), quantity=3)
    await until(lambda: "lane_paused" in workers.kinds())
    assert await workers.states() == {"kept"}
    workers.store.put = real  # type: ignore[method-assign]

    def goes_on() -> bool:
        workers.now_ms += 1_000
        workers.engine.probe_soon("nobody's lane")
        return workers.kinds().count("image_uploaded") == 3

    await until(goes_on)
    assert "lane_resumed" in workers.kinds()


async def test_a_source_whose_plugin_dies_is_no_reason_to_wait_for_ever(workers: UploadingWorkers) -> None:
    workers.spool.full = False

    async def check(public_id: str, extension: str) -> Held | None:
        raise ValueError(public_id)

    workers.store.check = check  # type: ignore[method-assign]
    await workers.given(1, quantity=1)
    await until(lambda: "image_parked" in workers.kinds())
    (image,) = await workers.reader.images(ImageFilter(state="parked", limit=9))
    assert image.upload("folder").code == "altered"  # type: ignore[union-attr]
