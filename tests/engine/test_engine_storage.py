"""A full disk refuses new work, loses nothing and resumes by itself; a disk that fails ends the engine."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import Any

import pytest

from comfyledger.core.commands import PauseLane
from comfyledger.core.reports import LaneStuck, PromptWasAccepted, SubmitIntended
from comfyledger.core.results import Wanted
from comfyledger.core.values import blob_of
from comfyledger.errors import LedgerUnusable, Refused, SpoolUnusable
from comfyledger.ledger.ports import BatchFilter
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from support.ledger_builders import bend, check_tables, failing, log_of, raw, room, submission
from support.waiting import DEADLINE_S, until

LARGE = blob_of(b"x" * 200_000, b"salt")


async def test_a_full_disk_refuses_commands_and_the_ledger_is_as_before(rig: Any) -> None:
    await rig.submit(submission("r1"))
    position, news, before = rig.engine.view.position, rig.engine.view.news(), log_of(rig.path)
    await rig.on_thread(lambda: room(rig.tables, 0))
    for n in range(3):
        with pytest.raises(Refused) as refused:
            await rig.engine.command(submission(f"r{n}", body="large", label="x", prompt="x" * 200_000))
        assert refused.value.code == "storage_full"
        assert "resumes by itself" in refused.value.hint
    assert rig.engine.view.shortage is not None
    assert (rig.engine.view.position, news.done()) == (position, False)
    assert log_of(rig.path) == before
    await rig.on_thread(lambda: room(rig.tables, 10_000))
    assert await rig.submit(submission("r2")) == [4, 5, 6]
    assert rig.engine.view.shortage is None
    check_tables(rig.path)


async def test_a_full_disk_drops_the_whole_group_it_meets(make: Any) -> None:
    """No command of the group has happened, not even those that came before the one that found no room."""
    rig = make()
    rig.start()
    await rig.submit(submission("r0"))
    await rig.on_thread(lambda: room(rig.tables, 4))
    rig.statements.clear()
    clients = rig.send(*(submission(f"r{n}", prompt="x" * 2_000, salt=bytes([n])) for n in range(1, 40)))
    answers = await asyncio.gather(*clients, return_exceptions=True)
    assert {getattr(answer, "code", "given") for answer in answers} == {"storage_full"}
    assert not any(statement.startswith("INSERT") for statement in after_last_rollback(rig.statements))
    assert len(log_of(rig.path)) == 2


def after_last_rollback(statements: list[str]) -> list[str]:
    """What was asked of SQLite after the group that found no room."""
    last = max(at for at, statement in enumerate(statements) if statement == "BEGIN IMMEDIATE")
    return statements[last:]


async def test_a_stream_of_large_commands_keeps_no_report_out(rig: Any) -> None:
    """There is room for the report and never for a command: while the disk is full reports go alone."""
    await rig.submit(submission("r1", quantity=1))
    await rig.on_thread(lambda: room(rig.tables, 0))
    (report,) = rig.send(LaneStuck("store/folder", "not_reached", LARGE))
    await until(lambda: rig.engine.view.shortage)

    async def knock(number: int) -> None:
        while not report.done():
            with suppress(Refused):
                await rig.engine.command(submission(f"r{number}", prompt="x" * 20_000_000))

    knocking = [asyncio.create_task(knock(number)) for number in range(2, 5)]
    await rig.on_thread(lambda: room(rig.tables, 1_000))
    await asyncio.wait_for(report, DEADLINE_S)
    assert rig.engine.view.in_trouble("store/folder"), "what it said is known"
    await asyncio.gather(*knocking)


async def test_reports_wait_in_their_order_and_are_taken_once_there_is_room(rig: Any) -> None:
    await rig.submit(submission("r1", quantity=1))
    await rig.on_thread(lambda: room(rig.tables, 0))
    workers = rig.send(
        LaneStuck("store/folder", "not_reached", LARGE),
        SubmitIntended("batch-app-r1", 1, 1, "main"),
        PromptWasAccepted("batch-app-r1", 1, 1),
    )
    await until(lambda: rig.engine.view.shortage)
    clients = rig.send(*(submission(f"r{n}") for n in range(2, 9)))
    refused = await asyncio.gather(*clients, return_exceptions=True)
    assert [answer.code for answer in refused if isinstance(answer, Refused)] == ["storage_full"] * 7
    assert not any(worker.done() for worker in workers)
    assert not rig.engine.view.in_trouble("store/folder")
    await rig.on_thread(lambda: room(rig.tables, 10_000))
    answers = await asyncio.gather(*workers)
    assert answers == [None, Wanted(go=True, attempt=1), None]
    kinds = [line.kind for line in check_tables(rig.path)]
    assert kinds[2:] == ["lane_paused", "prompt_submitting", "prompt_accepted"]
    assert rig.engine.view.in_trouble("store/folder")


async def test_a_large_command_does_not_keep_reports_out_of_the_space_left(rig: Any) -> None:
    await rig.submit(submission("r1", quantity=1))
    await rig.on_thread(lambda: room(rig.tables, 3))
    workers = rig.send(SubmitIntended("batch-app-r1", 1, 1, "main"))
    clients = rig.send(*(submission(f"r{n}", prompt="x" * 200_000) for n in range(2, 9)))
    await asyncio.gather(*clients, return_exceptions=True)
    flood: list[asyncio.Task[Any]] = []

    def taken() -> bool:
        flood.extend(rig.send(submission(f"f{len(flood)}", prompt="x" * 200_000)))
        return all(worker.done() for worker in workers)

    await until(taken)
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert {getattr(answer, "code", "given") for answer in answers} == {"storage_full"}
    assert log_of(rig.path)[-1].kind == "prompt_submitting"


async def test_reading_goes_on_while_the_disk_is_full(rig: Any) -> None:
    await rig.submit(submission("r1"))
    await rig.on_thread(lambda: room(rig.tables, 0))
    with pytest.raises(Refused, match="disk is full"):
        await rig.engine.command(submission("r2", prompt="x" * 200_000))
    reader = Reader(rig.path)
    assert [row.request_id for row in await reader.batches(BatchFilter())] == ["r1"]
    await reader.close()


async def test_a_repeated_request_is_answered_even_while_reports_wait_for_room(rig: Any) -> None:
    given = await rig.submit(submission("r1"))
    await rig.on_thread(lambda: room(rig.tables, 0))
    (worker,) = rig.send(LaneStuck("store/folder", "not_reached", LARGE))
    await until(lambda: rig.engine.view.shortage)
    assert await rig.submit(submission("r1")) == given
    with pytest.raises(Refused) as refused:
        await rig.engine.command(PauseLane("app", "everything"))
    assert refused.value.code == "storage_full"
    assert not worker.done()
    await rig.on_thread(lambda: room(rig.tables, 10_000))
    await worker


async def test_a_repeated_request_is_answered_even_while_the_disk_is_full(rig: Any) -> None:
    given = await rig.submit(submission("r1"))
    await rig.on_thread(lambda: room(rig.tables, 0))
    with pytest.raises(Refused, match="disk is full"):
        await rig.engine.command(submission("r2", prompt="x" * 200_000))
    assert await rig.submit(submission("r1")) == given


async def test_a_disk_that_fails_ends_the_engine_and_answers_everybody(rig: Any) -> None:
    await rig.submit(submission("r1"))
    await until(lambda: rig.effects)
    waiting = rig.send(submission("r2", user="Ann", trust=False))
    await until(lambda: rig.engine.view.questions)
    bend(rig.tables, failing("COMMIT", sqlite3.SQLITE_IOERR_FSYNC))
    clients = rig.send(submission("r3"), LaneStuck("store/folder", "not_reached"))
    with pytest.raises(LedgerUnusable, match=r"The disk failed.*Check the disk"):
        await rig.running
    answers = await asyncio.gather(*clients, *waiting, return_exceptions=True)
    assert [answer.code for answer in answers] == ["internal", "internal", "not_running"]
    with pytest.raises(Refused) as refused:
        await rig.engine.command(submission("r4"))
    assert refused.value.code == "not_running"
    assert {line.stream for line in log_of(rig.path)} == {f"series/{submission().series[0].key}", "batch-app-r1"}


async def test_a_message_that_breaks_the_transaction_ends_the_engine(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To go on would write outside of a group: given numbers without an answer, and a log without its index."""
    follow = rig.ledger.follow

    def breaking(recorded: Any, state: Any) -> None:
        follow(recorded, state)
        if recorded[-1].event.request_id == "bad":
            rig.tables._connection.execute("ROLLBACK")
            raise MemoryError

    monkeypatch.setattr(rig.ledger, "follow", breaking)
    clients = rig.send(submission("r1"), submission("bad"), submission("r2"))
    answers = await asyncio.gather(*clients, return_exceptions=True)
    assert [answer.code for answer in answers] == ["internal"] * 3
    with pytest.raises(LedgerUnusable, match="MemoryError"):
        await rig.running
    assert log_of(rig.path) == []
    assert raw(rig.path).execute("SELECT count(*) FROM names_given").fetchone() == (0,)


async def test_a_worker_that_meets_a_failed_disk_ends_the_engine(rig: Any) -> None:
    """What it was doing is not tried again in this process, and everybody is answered."""

    async def failing(effect: Any) -> None:
        raise SpoolUnusable("The disk failed the spool.", hint="Check the disk.")

    rig.perform = failing
    await rig.submit(submission("r1", quantity=1))
    with pytest.raises(SpoolUnusable, match=r"The disk failed.*Check the disk"):
        await asyncio.wait_for(rig.running, DEADLINE_S)
    assert len(rig.effects) == 1
    with pytest.raises(Refused) as refused:
        await rig.engine.command(submission("r2"))
    assert refused.value.code == "not_running"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (sqlite3.SQLITE_FULL, "Make room"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "Make room"),
        (sqlite3.SQLITE_CORRUPT, "Restore a backup"),
    ],
)
def test_nobody_is_told_to_restore_a_backup_because_a_disk_is_full(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def failing_set_up(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("no")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(schema, "set_up", failing_set_up)
    with pytest.raises(LedgerUnusable, match=advice):
        Ledger.open(tmp_path / "ledger.db")
