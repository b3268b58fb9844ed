"""A lock that another program holds is waited for: nothing ends, reports keep their order, commands are told."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest
from structlog.testing import capture_logs

from comfyledger.core.commands import CancelBatch
from comfyledger.core.reports import LaneStuck, LaneWorks, SubmitIntended
from comfyledger.engine import engine as engines
from comfyledger.engine import patience
from comfyledger.errors import Refused
from comfyledger.ledger.ports import StorageFull
from support.ledger_builders import check_tables, log_of, submission
from support.waiting import until


@pytest.fixture
async def rig(make: Any) -> Any:
    """An engine that tries for a moment only, and somebody else's connection."""
    made = make()
    made.tables.wait_for_locks(0.01)
    made.stranger = sqlite3.connect(made.path, isolation_level=None, check_same_thread=False)
    yield made
    made.stranger.close()


async def test_reports_keep_their_order_and_commands_resume_after_the_lock(rig: Any) -> None:
    rig.start()
    await rig.submit(submission("r1", quantity=2))
    rig.stranger.execute("BEGIN IMMEDIATE")
    reports = rig.send(*(one for n in range(5) for one in (LaneStuck(f"l{n}", "away", None, 1.0), LaneWorks(f"l{n}"))))
    command = asyncio.create_task(rig.submit(submission("r2", quantity=2)))
    await until(lambda: rig.engine.view.is_locked)
    late = rig.send(LaneStuck("late", "away", None, 1.0))
    for _ in range(3):
        tries = rig.statements.count("BEGIN IMMEDIATE")
        await until(lambda tries=tries: rig.statements.count("BEGIN IMMEDIATE") > tries)
    assert not any(task.done() for task in (*reports, *late, command))
    rig.stranger.execute("ROLLBACK")
    assert await command == [3, 4]
    await asyncio.gather(*reports, *late)
    assert not rig.engine.view.is_locked
    await rig.close()
    lanes = [line.stream for line in check_tables(rig.path) if line.kind in {"lane_paused", "lane_resumed"}]
    assert lanes == [*(f"lane/l{n}" for n in range(5) for _ in range(2)), "lane/late"]


async def test_commands_are_told_busy_after_a_while_and_reports_still_wait(rig: Any) -> None:
    rig.start()
    await rig.submit(submission("r1"))
    rig.stranger.execute("BEGIN IMMEDIATE")
    (report,) = rig.send(LaneStuck("l", "away", None, 1.0))
    commands = rig.send(submission("r2"), CancelBatch("app", "batch-app-r1"))
    await until(lambda: rig.engine.view.is_locked)
    assert not any(task.done() for task in commands)
    rig.now_ms += int(patience.LOCKED_COMMANDS_S * 1000)
    for command in commands:
        with pytest.raises(Refused, match="holds the ledger's lock") as refused:
            await command
        assert (refused.value.code, refused.value.retry_after_s) == ("busy", 1.0)
    with pytest.raises(Refused, match="holds the ledger's lock"):
        await rig.submit(submission("r3"))
    rig.now_ms += 3_600_000
    assert not report.done()
    rig.stranger.execute("ROLLBACK")
    await report
    assert await rig.submit(submission("r2")) == [4, 5, 6]


async def test_begin_and_end_are_one_line_each_and_found_without_a_message(rig: Any) -> None:
    rig.start()
    with capture_logs() as lines:
        for _ in range(2):
            rig.stranger.execute("BEGIN IMMEDIATE")
            rig.engine.look_for_lock()
            await until(lambda: rig.engine.view.is_locked)
            assert rig.engine.view.lock_text.endswith("holds the ledger's lock.")
            rig.now_ms += 7_000
            rig.stranger.execute("COMMIT")
            await until(lambda: not rig.engine.view.is_locked)
        rig.engine.look_for_lock()
        await rig.submit(submission("r1"))
    told = [(line["event"], line.get("lasted_s")) for line in lines if line["event"].startswith("ledger.")]
    assert told == [("ledger.locked", None), ("ledger.unlocked", 7.0)] * 2
    assert rig.engine.view.lock_text == ""


async def test_the_writer_does_not_count_as_stuck_however_long_it_lasts(rig: Any) -> None:
    rig.start()
    rig.stranger.execute("BEGIN IMMEDIATE")
    (report,) = rig.send(LaneStuck("l", "away", None, 1.0))
    await until(lambda: rig.engine.view.is_locked)
    for _ in range(5):
        rig.now_ms += 119_000
        tries = rig.statements.count("BEGIN IMMEDIATE")
        await until(lambda tries=tries: rig.statements.count("BEGIN IMMEDIATE") > tries + 1)
        assert rig.engine.view.oldest_job_s < 120
    rig.stranger.execute("COMMIT")
    await report


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_RECOVERY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_BUSY_TIMEOUT,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_LOCKED_SHAREDCACHE,
        sqlite3.SQLITE_PROTOCOL,
    ],
)
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
async def test_no_kind_of_lock_ends_the_engine(make: Any, monkeypatch: Any, statement: str, code: int) -> None:
    rig = make()
    left = [3]
    execute = rig.tables._connection.execute

    class Faulty:
        def execute(self, sql: str, *values: Any) -> Any:
            if sql == statement and left[0]:
                left[0] -= 1
                error = sqlite3.OperationalError("locked")
                error.sqlite_errorcode = code
                raise error
            return execute(sql, *values)

        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

    connection = rig.tables._connection
    rig.tables._connection = Faulty()
    rig.start()
    assert await rig.submit(submission("r1")) == [1, 2, 3]
    assert left == [0]
    await rig.close()
    check_tables(rig.path)


async def test_a_lock_on_a_full_disk_is_waited_for_too(rig: Any, monkeypatch: Any) -> None:
    """The reports keep their order through both."""
    troubles = iter([StorageFull("full"), *[None] * 2])
    decide, begun = engines.decide_group, []

    def decide_group(*args: Any) -> Any:
        begun.append(args)
        trouble = next(troubles, None)
        if trouble is not None:
            rig.stranger.execute("BEGIN IMMEDIATE")
            raise trouble
        return decide(*args)

    monkeypatch.setattr(engines, "decide_group", decide_group)
    rig.start()
    reports = rig.send(LaneStuck("l", "away", None, 1.0), LaneWorks("l"))
    command = asyncio.create_task(rig.submit(submission("r1")))
    await until(lambda: rig.engine.view.is_locked)
    assert rig.engine.view.shortage is not None
    rig.stranger.execute("ROLLBACK")
    await asyncio.gather(*reports)
    assert await command == [1, 2, 3]
    await rig.close()
    assert [line.kind for line in log_of(rig.path)][:2] == ["lane_paused", "lane_resumed"]


async def test_an_engine_that_is_stopped_while_the_lock_lasts_answers_everybody(rig: Any) -> None:
    rig.start()
    await rig.submit(submission("r1", quantity=1))
    rig.stranger.execute("BEGIN IMMEDIATE")
    waiting = rig.send(SubmitIntended("batch-app-r1", 1, 1, "main"), submission("r2"))
    await until(lambda: rig.engine.view.is_locked)
    await rig.stop()
    for task in waiting:
        with pytest.raises(Refused, match="stopping"):
            await task
