"""Two engines on one shared log: each knows what the other commits, and both wait out a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from comfyledger.core.commands import Forget, JoinBox, LeaveBox, PauseLane
from comfyledger.core.reports import LaneStuck
from comfyledger.engine import engine as engines
from comfyledger.engine import patience
from comfyledger.errors import Refused
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.ledger.shared import ledger as shared_ledger
from comfyledger.ledger.shared import log as shared_log
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from engine.conftest import Rig
from support.ledger_builders import check_tables, submission
from support.ledger_kinds import NEEDS_POSTGRES, slow_machine
from support.postgres import Cluster, running
from support.waiting import until

pytestmark = NEEDS_POSTGRES
SECRET = "a secret that nobody but Areg may know"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running(Cluster()) as (one,):
        yield one.begin()


@pytest.fixture
async def two(tmp_path: Path, cluster: Cluster) -> AsyncIterator[list[Rig]]:
    """Engines that have not started, each with a replica of its own."""
    address = cluster.database()
    fleet.init(address, tmp_path / "a.db", lambda *_: None)
    fleet.join(address, tmp_path / "b.db", lambda *_: None)
    with ExitStack() as stack:
        stack.enter_context(slow_machine())
        paths = [tmp_path / f"{name}.db" for name in "ab"]
        rigs = [Rig(path, 3600.0, nullcontext(opened(stack, path, address))) for path in paths]
        yield rigs
        for rig in rigs:
            await rig.close()


def opened(stack: ExitStack, path: Path, address: str) -> SharedLedger:
    replica = stack.enter_context(closing(Ledger.open(path, replica=True)))
    return SharedLedger.open(replica, SharedLog(address, Keys.beside(path)))


async def test_a_group_continues_where_the_other_box_ended_and_knows_its_work(two: list[Rig]) -> None:
    a, b = two
    a.start()
    b.start()
    assert await a.submit(submission("r1")) == [1, 2, 3]
    assert await b.submit(submission("r2")) == [4, 5, 6]
    assert b.engine.view.batch("batch-app-r1") is not None
    assert await a.submit(submission("r2")) == [4, 5, 6], "a request id is the fleet's"
    assert a.engine.view.batch("batch-app-r2") is not None
    assert a.engine.view.position == b.engine.view.position
    for rig in two:
        await rig.close()
    assert check_tables(a.path) == check_tables(b.path)


async def test_what_others_commit_wakes_subscribers_and_is_in_memory_in_order(two: list[Rig]) -> None:
    a, b = two
    a.start()
    b.start()
    await a.submit(submission("r1"))
    news = asyncio.shield(b.engine.view.news())
    b.engine.catch_up()
    await news
    await b.submit(submission("r2"))
    check_lines(b)


async def test_what_another_box_forgot_leaves_the_files_of_this_one_without_a_group_of_its_own(two: list[Rig]) -> None:
    a, b = two
    a.start()
    b.start()
    await a.submit(submission("r1", prompt=SECRET))
    b.engine.catch_up()
    await until(lambda: b.engine.view.batch("batch-app-r1") is not None)
    files = [b.path.with_name(b.path.name + end) for end in ("", "-wal")]
    assert any(SECRET.encode() in file.read_bytes() for file in files)
    await a.engine.command(Forget("app", "batch-app-r1", (), False))
    b.engine.catch_up()
    await until(lambda: not any(SECRET.encode() in file.read_bytes() for file in files))


async def test_who_asks_at_another_box_finds_what_was_accepted_before(two: list[Rig]) -> None:
    a, b = two
    a.start()
    b.start()
    await a.submit(submission("r1"))
    assert b.engine.view.batch("batch-app-r1") is None
    assert await asyncio.gather(b.engine.caught_up(), b.engine.caught_up()) == [True, True]
    assert b.engine.view.batch("batch-app-r1") is not None


async def test_without_its_database_commands_are_refused_reports_wait_and_both_go_on(
    two: list[Rig], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "AWAY_COMMANDS_S", 0.2)
    a, _ = two
    a.start()
    await a.submit(submission("r1"))
    cluster.kill()
    a.now_ms += 1
    (report,) = a.send(LaneStuck("store/folder", "throttled", None, 1.0))
    (command,) = a.send(submission("r2"))
    await until(lambda: a.engine.view.is_locked)
    a.now_ms += 10_000
    with pytest.raises(Refused) as refused:
        await command
    assert refused.value.code == "log_unreachable"
    assert "same request_id" in refused.value.hint
    assert a.engine.view.lock_code == "log_unreachable"
    with pytest.raises(Refused, match="cannot be reached"):
        await a.engine.command(PauseLane("app", "everything"))
    assert not report.done()
    assert a.engine.view.batch("batch-app-r1") is not None, "what is known can be read"
    cluster.begin()
    await report
    assert await a.submit(submission("r2")) == [4, 5, 6]
    assert not a.engine.view.is_locked


async def test_a_database_that_hangs_is_given_up_in_time(
    two: list[Rig], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "AWAY_COMMANDS_S", 0.2)
    monkeypatch.setattr(shared_log, "TURN_S", 0.5)
    a, b = two
    a.start()
    b.start()
    await a.submit(submission("r1"))
    with capture_logs() as lines:
        cluster.freeze()
        (report,) = a.send(LaneStuck("store/folder", "throttled", None, 1.0))
        with pytest.raises(Refused) as refused:
            await a.engine.command(submission("r2"))
        assert refused.value.code == "log_unreachable"
        await until(lambda: any(line["event"] == "ledger.log_unreachable" for line in lines))
        cluster.thaw()
        await report
    assert any(line["event"] == "ledger.log_reached" for line in lines)
    assert await b.submit(submission("r2")) in ([4, 5, 6], [7, 8, 9])
    assert await a.submit(submission("r2")) == await b.submit(submission("r2")), "it happened once, or not at all"


async def test_nothing_that_a_box_says_counts_before_it_has_joined_nor_after_it_was_declared_left(
    two: list[Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    make_box(a, "a")
    a.start()
    b.start()
    await b.submit(submission("r1"))
    (waiting,) = a.send(submission("r2"))
    a.engine.catch_up()
    await until(lambda: a.engine.view.position > 0)
    assert not waiting.done()
    assert a.effects == []
    known = await a.engine.command(JoinBox("comfyledger", "a"))
    assert known.term == 1
    a.engine.joined(known.term)
    await waiting
    await until(lambda: bool(a.effects))
    again = await b.engine.command(JoinBox("comfyledger", "a"))
    assert again.term == 2
    report, command = a.send(LaneStuck("store/folder", "throttled", None, 1.0), PauseLane("app", "everything"))
    with pytest.raises(Refused) as refused:
        await command
    assert refused.value.code == "fenced"
    assert not a.engine.view.is_member
    assert not report.done(), "a report is a fact"
    a.engine.joined((await a.engine.command(JoinBox("comfyledger", "a"))).term)
    await report
    assert "store/folder" in b.engine.view.open_work().troubles or await caught_up(b, "store/folder")


def check_lines(rig: Rig) -> None:
    """The lines in memory have no gap."""
    lines = rig.engine.view.lines_after(0, 1_000)
    assert lines is not None
    assert [line.position for line in lines] == list(range(1, rig.engine.view.position + 1))


async def caught_up(rig: Rig, lane: str) -> bool:
    rig.engine.catch_up()
    await until(lambda: rig.engine.view.in_trouble(lane))
    return True


def make_box(rig: Rig, name: str) -> None:
    """Have an engine be that of a box. The engine of the other rig is none, so nothing fences it."""
    engine: Any = rig.engine
    engine._policy = msgspec.structs.replace(engine._policy, box=name)
    engine._state.is_member = False


async def test_a_box_that_lacks_more_than_a_page_hears_all_of_it_with_its_next_group(
    two: list[Rig], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (shared_log, shared_ledger):
        monkeypatch.setattr(module, "PAGE_LINES", 3)
    a, b = two
    a.start()
    b.start()
    for number in range(9):
        await a.submit(submission(f"r{number}"))
    page, asked = SharedLedger._page, 0

    def away_once(ledger: SharedLedger) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise LogUnreachable("for a moment")
        return page(ledger)

    monkeypatch.setattr(SharedLedger, "_page", away_once)
    (last,) = b.send(submission("last"))
    await until(lambda: asked >= 2)
    b.now_ms += 10_000
    await last
    assert asked > 3
    check_lines(b)
    assert all(b.engine.view.batch(f"batch-app-r{number}") is not None for number in range(9))


async def test_an_idle_box_that_hears_that_it_was_declared_left_does_nothing_until_it_has_joined(
    two: list[Rig],
) -> None:
    a, b = two
    make_box(a, "a")
    a.start()
    b.start()
    a.engine.joined((await a.engine.command(JoinBox("comfyledger", "a"))).term)
    await b.engine.command(LeaveBox("comfyledger", "a", 1, "lease"))
    a.engine.catch_up()
    await until(lambda: not a.engine.view.is_member)
    a.engine.joined((await a.engine.command(JoinBox("comfyledger", "a"))).term)
    assert a.engine.view.is_member
    assert await a.submit(submission("r1")) == [1, 2, 3]


async def test_no_command_waits_for_a_box_that_falls_out_and_joining_waits_for_no_command(
    two: list[Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COMMANDS_MAX", 1)
    a, b = two
    make_box(a, "a")
    a.start()
    b.start()
    await b.submit(submission("r1"))
    (waiting,) = a.send(submission("r2"))
    await asyncio.sleep(0)  # so that it has come
    with pytest.raises(Refused, match="overloaded"):
        await a.engine.command(submission("r3"))
    a.engine.joined((await a.engine.command(JoinBox("comfyledger", "a"))).term)
    await waiting
    await b.engine.command(LeaveBox("comfyledger", "a", 1, "lease"))
    late = a.send(submission("r4"))
    a.engine.catch_up()
    with pytest.raises(Refused) as refused:
        await late[0]
    assert (refused.value.code, refused.value.retry_after_s) == ("fenced", 1.0)
    assert not a.engine.view.is_member
