"""Stopping, at whatever moment: who waits is answered, what is durable is told, threads end, nothing is left over."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from comfyledger.core.reports import LaneStuck, LaneWorks
from comfyledger.core.scheduling.effects import Effect
from comfyledger.errors import LedgerUnusable, Refused
from support.ledger_builders import bend, check_tables, failing, log_of, submission
from support.waiting import DEADLINE_S, until


class Held:
    """Holds the writer's thread before its commit until it may go on."""

    def __init__(self, rig: Any, then: Callable[[str], None] = lambda sql: None) -> None:
        self.reached, self.go_on, self._then = threading.Event(), threading.Event(), then
        bend(rig.tables, self._hold)

    def _hold(self, sql: str) -> None:
        if sql == "COMMIT":
            self.reached.set()
            self.go_on.wait(DEADLINE_S)
            self._then(sql)


def writers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ledger-writer")]


async def test_a_group_under_way_is_seen_to_its_end_and_answered(rig: Any) -> None:
    held = Held(rig)
    [client] = rig.send(submission("r1"))
    await until(held.reached.is_set)
    rig.running.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not client.done()
    held.go_on.set()
    assert [image.number for image in (await client).images] == [1, 2, 3]
    await asyncio.wait([rig.running])
    assert rig.running.cancelled()
    assert len(check_tables(rig.path)) == 2


async def test_a_group_that_waits_for_its_thread_is_seen_to_its_end_too(rig: Any) -> None:
    """However often it is cancelled meanwhile."""
    await until(lambda: rig.engine._is_loaded and not rig.engine._scrubbing)
    begun, go_on = threading.Event(), threading.Event()
    rig.engine._thread.call(lambda: (begun.set(), go_on.wait(DEADLINE_S)))
    await until(begun.is_set)
    [client] = rig.send(submission("r1"))
    await until(lambda: rig.engine._thread._jobs.qsize() == 1, "the group waits")
    for _ in range(3):
        rig.running.cancel()
        await asyncio.sleep(0)
    go_on.set()
    assert [image.number for image in (await client).images] == [1, 2, 3]
    await asyncio.wait([rig.running])
    assert rig.running.cancelled()
    assert len(check_tables(rig.path)) == 2


async def test_a_disk_that_fails_while_stopping_is_still_said(rig: Any) -> None:
    held = Held(rig, then=failing("COMMIT", sqlite3.SQLITE_IOERR_FSYNC))
    [client] = rig.send(submission("r1"))
    await until(held.reached.is_set)
    rig.running.cancel()
    held.go_on.set()
    with pytest.raises(Refused, match="internal fault"):
        await client
    with pytest.raises(LedgerUnusable, match="The disk failed"):
        await rig.running


async def test_waiting_clients_get_an_answer_that_the_daemon_stops(rig: Any) -> None:
    parked = rig.send(submission("r0", user="Ann", trust=False))
    await until(lambda: rig.engine.view.questions)
    held = Held(rig)
    [under_way] = rig.send(submission("r1"))
    await until(held.reached.is_set)
    queued = rig.send(submission("r2"), LaneStuck("store/folder", "not_reached"))
    await asyncio.sleep(0)
    rig.running.cancel()
    held.go_on.set()
    answers = await asyncio.gather(*parked, *queued, return_exceptions=True)
    assert [answer.code for answer in answers] == ["not_running"] * 3
    assert (await under_way).repeated is False


async def test_a_batch_that_starts_to_wait_during_the_stop_is_answered(rig: Any) -> None:
    held = Held(rig)
    [client] = rig.send(submission("r1", trust=False))
    await until(held.reached.is_set)
    rig.running.cancel()
    held.go_on.set()
    with pytest.raises(Refused) as refused:
        await client
    assert refused.value.code == "not_running"


async def test_whoever_comes_after_the_end_is_refused_and_does_not_wait(rig: Any) -> None:
    await rig.stop()
    for call in (rig.engine.command(submission("r1")), rig.engine.report(LaneWorks("store/folder"))):
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.code == "not_running"


async def test_workers_end_and_a_report_during_that_does_not_delay_the_stop(rig: Any) -> None:
    ended: list[str] = []

    async def stubborn(effect: Effect) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(effect.kind)
            await rig.engine.report(LaneStuck(effect.lane, "cut_off"))

    rig.perform = stubborn
    await rig.submit(submission("r1"))
    await until(lambda: len(rig.effects) == 3)
    await rig.stop()
    assert ended == ["submit"] * 3
    assert rig.running.cancelled()
    assert [line.kind for line in log_of(rig.path)] == ["series_opened", "batch_requested"]


async def test_the_writers_thread_ends(rig: Any) -> None:
    await rig.submit(submission("r1"))
    assert writers() == ["ledger-writer"]
    await rig.stop()
    assert writers() == []


async def test_the_thread_of_an_engine_that_never_runs_ends_too(make: Any) -> None:
    rig = make()
    await rig.engine.load()
    assert writers() == ["ledger-writer"]
    await rig.engine.stop()
    await rig.engine.stop()
    assert writers() == []


async def test_an_engine_that_cannot_read_its_ledger_ends_and_answers(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make()
    clients = rig.send(submission("r1"))
    await asyncio.sleep(0)
    await rig.on_thread(lambda: rig.tables._connection.execute("ALTER TABLE lanes RENAME TO gone"))
    rig.start()
    with pytest.raises(LedgerUnusable, match="cannot be read"):
        await rig.running
    [refused] = await asyncio.gather(*clients, return_exceptions=True)
    assert isinstance(refused, Refused)
    assert writers() == []


@pytest.mark.parametrize("answers_before", [1, 30, 90])
async def test_a_stop_in_the_middle_of_a_load_answers_all_and_tells_no_lie(rig: Any, answers_before: int) -> None:
    given: dict[str, list[int]] = {}
    refused: list[str] = []

    async def client(name: int) -> None:
        for n in range(50):
            request = f"{name}-{n}"
            try:
                given[request] = await rig.submit(submission(request, quantity=2))
            except Refused as refusal:
                refused.append(refusal.code)
                return

    clients = [asyncio.create_task(client(name)) for name in range(10)]
    await until(lambda: len(given) >= answers_before)
    await rig.stop()
    await asyncio.gather(*clients)
    assert refused == ["not_running"] * 10
    lines = check_tables(rig.path)
    assert {line.stream for line in lines if line.kind == "batch_requested"} == {f"batch-app-{name}" for name in given}
    numbers = [number for numbers in given.values() for number in numbers]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
