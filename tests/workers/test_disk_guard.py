"""Laws of the brake: it sets in before a disk is full, says which, and goes by itself."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comfyledger.core.commands import RetryBatch, SubmitBatch
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import (
    FilesKept,
    PromptHasFinished,
    PromptWasAccepted,
    PromptWasRefused,
    SubmitIntended,
    UploadIntended,
    UploadRefused,
)
from comfyledger.core.results import Accepted, Changed
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.values import OutputFile, Pinned
from comfyledger.engine import Engine
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.spool import disks as watched
from comfyledger.workers.spool.disk_guard import DiskGuard, Needed, in_words, parked_too_much, short_disk
from comfyledger.workers.spool.disks import Use, Watched
from comfyledger.workers.spool.files import NoPlace
from comfyledger.workers.spool.spool import Spool
from support.ledger_builders import log_of, submission
from support.waiting import DEADLINE_S, until

MIB = 1024 * 1024


class Disks:
    """What is free, by folder; all of them have room at first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: dict[str, int] = {}
        monkeypatch.setattr(shutil, "disk_usage", self.usage)

    def usage(self, folder: Path) -> Any:
        return SimpleNamespace(free=self.free.get(folder.name, 100 * MIB), total=200 * MIB)


class GuardedLedger:
    def __init__(self, folder: Path, disks: Disks) -> None:
        self.disks = disks
        self.path = folder / "ledger" / "ledger.db"
        ledger = Ledger.open(self.path)
        self.ledger = ledger
        self.engine = Engine(
            ledger,
            policy=Policy(),
            limits=Limits(),
            first_use_wait_s=60.0,
            wall_ms=lambda: 1,
            steady_ms=lambda: 1,
        )
        self.reader = Reader(self.path)
        self.spool = Spool(folder / "spool")
        reporter = Reporter(self.engine, lambda: b"salt", 2_000)
        needed = Needed(10 * MIB, 5 * MIB, 2 * MIB)
        own: dict[Use, Watched] = {
            "ledger": Watched(self.path.parent, 5 * MIB),
            "spool": Watched(self.spool.root, 10 * MIB),
        }
        self.watched = watched.Disks(own, {})
        self.disk_guard = DiskGuard(
            self.engine, reporter, self.reader, self.spool, self.path.parent, needed, self.watched
        )

        async def nothing(_: object) -> None:
            await asyncio.Event().wait()

        self.running = asyncio.create_task(self.engine.run(nothing, nothing))

    async def submit(self, request_id: str) -> Accepted:
        command: SubmitBatch = submission(request_id)
        accepted = await self.engine.command(command)
        assert isinstance(accepted, Accepted)
        return accepted

    def lanes(self) -> list[Line]:
        return [line for line in log_of(self.path) if line.stream == "lane/spool"]

    async def turn(self) -> None:
        """One turn of the watch: look, and say what the log shall know."""
        await self.disk_guard.look()
        self.disk_guard._offer()
        await self.disk_guard._report_lane()

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        await self.reader.close()
        self.ledger.close()


@pytest.fixture
async def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GuardedLedger]:
    made = GuardedLedger(tmp_path, Disks(monkeypatch))
    yield made
    await made.close()


@pytest.mark.parametrize("disk", ["spool", "ledger"])
async def test_a_disk_that_is_nearly_full_refuses_new_batches_and_says_which(guarded: GuardedLedger, disk: str) -> None:
    await guarded.submit("r1")
    guarded.disks.free[disk] = 4 * MIB
    await guarded.turn()
    before = [line for line in log_of(guarded.path) if not line.stream.startswith("lane/")]
    with pytest.raises(Refused) as refused:
        await guarded.submit("r2")
    assert refused.value.code == "storage_full"
    assert f"The {disk}'s disk" in refused.value.message
    assert "4.0 MiB free" in refused.value.message
    assert f"[{disk}] free_min_bytes" in refused.value.hint
    assert [line for line in log_of(guarded.path) if not line.stream.startswith("lane/")] == before
    guarded.disks.free[disk] = 100 * MIB
    await guarded.turn()
    assert [image.number for image in (await guarded.submit("r2")).images] == [4, 5, 6]
    assert guarded.engine.view.shortage is None


async def test_a_repeated_request_gets_its_first_answer_under_the_brake(guarded: GuardedLedger) -> None:
    first = await guarded.submit("r1")
    guarded.disks.free["spool"] = 0
    await guarded.turn()
    again = await guarded.submit("r1")
    assert again.repeated
    assert again.images == first.images
    with pytest.raises(Refused) as conflict:
        await guarded.engine.command(submission("r1", body="another"))
    assert conflict.value.code == "request_id_conflict"


async def test_a_series_that_was_never_used_is_refused_before_a_store_is_asked(guarded: GuardedLedger) -> None:
    guarded.disks.free["spool"] = 0
    await guarded.turn()
    with pytest.raises(Refused, match="spool's disk"):
        await guarded.engine.command(submission("r1", trust=False))
    assert guarded.engine.view.questions == {}


async def test_the_lane_of_the_spool_stops_once_and_goes_on_once(guarded: GuardedLedger) -> None:
    for _ in range(3):
        await guarded.turn()
    assert guarded.lanes() == []
    guarded.disks.free["spool"] = 9 * MIB
    for _ in range(3):
        await guarded.turn()
    assert guarded.disk_guard.spool_short
    guarded.disks.free["spool"] = 11 * MIB
    await guarded.turn()
    assert guarded.disk_guard.spool_short, "a shortage does not come and go with every file"
    guarded.disks.free["spool"] = 12 * MIB
    for _ in range(3):
        await guarded.turn()
    assert not guarded.disk_guard.spool_short
    assert [line.kind for line in guarded.lanes()] == ["lane_paused", "lane_resumed"]


async def test_a_short_ledger_stops_no_rendering(guarded: GuardedLedger) -> None:
    guarded.disks.free["ledger"] = 0
    await guarded.turn()
    assert not guarded.disk_guard.spool_short
    assert guarded.lanes() == []


class Files:
    """Fetches that the spool has no place for, until `trouble` is gone."""

    def __init__(self, guarded: GuardedLedger, number: int) -> None:
        self.tries = self.kept = 0
        self.trouble: OSError | None = OSError(errno.ENOSPC, "No space left on device")
        self.tasks = [asyncio.create_task(guarded.disk_guard.fetch(self._fetch)) for _ in range(number)]

    async def _fetch(self) -> bool:
        self.tries += 1
        if self.trouble is not None:
            raise NoPlace(self.trouble)
        self.kept += 1
        return True


async def test_files_that_find_no_place_wait_for_it_and_stop_rendering_once(guarded: GuardedLedger) -> None:
    """Even where the disk says that it has room: a quota, or no inode."""
    files = Files(guarded, 4)
    await until(lambda: guarded.lanes() and len(guarded.disk_guard._turns) == 4)
    assert guarded.disk_guard.spool_short
    with pytest.raises(Refused, match=r"could not store a file: No space.*work resumes by itself"):
        await guarded.submit("r1")
    for tries in (2, 3, 4):
        await guarded.turn()
        await until(lambda tries=tries: files.tries == tries and len(guarded.disk_guard._turns) == 4)
    assert [line.kind for line in guarded.lanes()] == ["lane_paused"]
    files.trouble = None
    await guarded.turn()
    await asyncio.wait_for(asyncio.gather(*files.tasks), DEADLINE_S)
    await guarded.turn()
    assert (files.tries, files.kept) == (8, 4)
    assert [line.kind for line in guarded.lanes()] == ["lane_paused", "lane_resumed"]
    await guarded.submit("r1")


async def test_no_file_is_tried_while_the_disk_is_short(guarded: GuardedLedger) -> None:
    guarded.disks.free["spool"] = 0
    files = Files(guarded, 1)
    await until(lambda: guarded.lanes() and guarded.disk_guard._turns)
    for _ in range(3):
        await guarded.turn()
    assert files.tries == 1
    files.trouble, guarded.disks.free["spool"] = None, 100 * MIB
    await guarded.turn()
    await asyncio.wait_for(files.tasks[0], DEADLINE_S)


async def test_a_trouble_of_which_no_file_is_left_to_ask_is_over(guarded: GuardedLedger) -> None:
    files = Files(guarded, 1)
    await until(lambda: guarded.lanes() and guarded.disk_guard._turns)
    files.tasks[0].cancel()
    await asyncio.wait(files.tasks)
    for _ in range(2):
        await guarded.turn()
    assert not guarded.disk_guard.spool_short
    assert [line.kind for line in guarded.lanes()] == ["lane_paused", "lane_resumed"]


async def test_a_disk_that_is_broken_and_not_full_is_named_so(guarded: GuardedLedger) -> None:
    files = Files(guarded, 1)
    files.trouble = OSError(errno.EROFS, "Read-only file system")
    await until(guarded.lanes)
    assert b'"code":"spool"' in guarded.lanes()[0].data.encode()
    files.tasks[0].cancel()


async def one_parked_one_failed(guarded: GuardedLedger) -> str:
    """A batch of two images: the store refuses the first, ComfyUI the second."""
    command: SubmitBatch = submission("r1", quantity=2)
    await guarded.engine.command(command)
    b = command.batch_id
    for report in (
        SubmitIntended(b, 1, 1, "main"),
        PromptWasAccepted(b, 1, 1),
        PromptHasFinished(b, 1, 1, files=(OutputFile("1.png", "", "output"),)),
        FilesKept(b, 1, 1, files=(Pinned(1, "5" * 64, "5" * 32, 3 * MIB, 64, 64, "png"),)),
        UploadIntended(b, 1, "folder"),
        UploadRefused(b, 1, "folder", "collision"),
        SubmitIntended(b, 2, 1, "main"),
        PromptWasRefused(b, 2, 1, code="comfyui_refused"),
    ):
        await guarded.engine.report(report)
    (guarded.spool.root / b).mkdir()
    return b


async def test_a_retry_of_renders_waits_for_room_and_one_of_uploads_does_not(guarded: GuardedLedger) -> None:
    batch_id = await one_parked_one_failed(guarded)
    guarded.disks.free["spool"] = 0
    await guarded.turn()
    with pytest.raises(Refused) as refused:
        await guarded.engine.command(RetryBatch("app", batch_id))
    assert refused.value.code == "storage_full"
    assert await guarded.engine.command(RetryBatch("app", batch_id, (1,))) == Changed(1)
    guarded.disks.free["spool"] = 100 * MIB
    await guarded.turn()
    assert await guarded.engine.command(RetryBatch("app", batch_id, (2,))) == Changed(1)


async def test_parked_images_above_their_quota_refuse_new_batches(guarded: GuardedLedger) -> None:
    batch_id = await one_parked_one_failed(guarded)
    await guarded.turn()
    with pytest.raises(Refused) as refused:
        await guarded.submit("r2")
    assert "Parked images take 3.0 MiB" in refused.value.message
    assert "comfyledger images --state parked" in refused.value.hint
    assert not guarded.disk_guard.spool_short, "nobody else's rendering stops"
    await guarded.engine.command(RetryBatch("app", batch_id, (1,)))
    await guarded.turn()
    await guarded.submit("r2")


async def test_parked_files_are_counted_only_after_something_was_logged(
    guarded: GuardedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def parked_bytes(batch_ids: list[str]) -> int:
        asked.append(batch_ids)
        return 0

    monkeypatch.setattr(guarded.reader, "parked_bytes", parked_bytes)
    await guarded.turn()
    await guarded.turn()
    await guarded.submit("r1")
    await guarded.turn()
    assert len(asked) == 2


async def test_a_disk_that_has_gone_has_no_room(guarded: GuardedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Path) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(shutil, "disk_usage", gone)
    guarded.spool.root.rmdir()
    await guarded.turn()
    assert guarded.engine.view.shortage is not None
    assert "0 bytes free" in guarded.engine.view.shortage.message


def test_a_short_disk_needs_an_eighth_above_its_bound_to_recover() -> None:
    found = [
        short_disk("spool", Path("/s"), free, 800, was_short=was) is not None
        for was in (False, True)
        for free in (799, 800, 899, 900)
    ]
    assert found == [True, False, False, False, True, True, True, False]


def test_parked_images_may_take_all_of_their_quota() -> None:
    assert parked_too_much(10, 10) is None
    assert parked_too_much(11, 10) is not None


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 * 1024**4 * 1024, "3072.0 TiB")]
)
def test_bytes_are_said_for_people(count: int, words: str) -> None:
    assert in_words(count) == words
