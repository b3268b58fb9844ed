"""One group at a time: what messages of a group see of each other, and what leaves when."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from comfyledger.core.commands import CancelBatch, PauseLane
from comfyledger.core.reports import LaneStuck, LaneWorks, PromptHasFailed, SubmitIntended
from comfyledger.core.rows import SeriesRow
from comfyledger.core.values import blob_of
from comfyledger.engine import engine as engines
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger import commit_group
from comfyledger.ledger.sqlite import projections
from support.ledger_builders import bend, check_tables, failing, log_of, submission
from support.waiting import DEADLINE_S, until

STUCK = LaneStuck("store/folder", "not_reached")


async def test_many_clients_share_a_few_commits_and_get_numbers_of_their_own(rig: Any) -> None:
    await rig.submit(submission("first"))
    before = rig.commits()
    given = await asyncio.gather(*(rig.submit(submission(f"r{n}")) for n in range(256)))
    assert sorted(number for numbers in given for number in numbers) == list(range(4, 4 + 3 * 256))
    assert rig.commits() - before <= 8
    check_tables(rig.path)


async def test_each_message_of_a_group_sees_the_one_before_it(make: Any) -> None:
    rig = make()
    clients = rig.send(*(submission(f"r{n}") for n in range(3)))
    await asyncio.sleep(0)
    rig.start()
    numbers = [[image.number for image in (await client).images] for client in clients]
    assert numbers == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert rig.commits() == 1


async def test_a_hundred_copies_of_one_request_make_one_batch(rig: Any) -> None:
    answers = await asyncio.gather(*rig.send(*[submission("r1")] * 100))
    assert len({answer.images for answer in answers}) == 1
    assert sorted(answer.repeated for answer in answers) == [False] + [True] * 99
    assert [line.kind for line in log_of(rig.path)] == ["series_opened", "batch_requested"]


async def test_reports_go_before_commands_that_came_earlier(make: Any) -> None:
    rig = make()
    clients = rig.send(submission("r1"), PauseLane("app", "everything"), STUCK, submission("r2"))
    await asyncio.sleep(0)
    rig.start()
    await asyncio.gather(*clients)
    kinds = [line.kind for line in log_of(rig.path)]
    assert kinds == ["lane_paused", "series_opened", "batch_requested", "lane_paused", "batch_requested"]


async def test_commands_above_the_bound_are_refused_as_busy_and_reports_never(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COMMANDS_MAX", 5)
    rig = make()
    clients = rig.send(*(submission(f"r{n}") for n in range(5)))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await rig.engine.command(submission("r5"))
    assert refused.value.code == "busy"
    assert "same request_id" in refused.value.hint
    reports = rig.send(*[STUCK] * 20)
    rig.start()
    await asyncio.gather(*clients, *reports)
    assert await rig.submit(submission("r5")) == [16, 17, 18]


async def test_batches_that_wait_for_a_series_count_against_the_bound(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else clients could have as many of them held in memory as they like while a store is away."""
    monkeypatch.setattr(engines, "COMMANDS_MAX", 5)
    rig = make()
    rig.start()
    clients = rig.send(*(submission(f"r{n}", trust=False) for n in range(5)))
    await until(lambda: rig.engine.view.queued["first_use"] == 5)
    with pytest.raises(Refused, match="The daemon is overloaded"):
        await rig.engine.command(submission("r5", trust=False))
    await rig.stop()
    await asyncio.gather(*clients, return_exceptions=True)


async def test_a_message_that_raises_is_answered_internal_and_the_group_goes_on(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = commit_group.decide

    def breaking(state: Any, message: Any, *more: Any) -> Any:
        decision = decide(state, message, *more)
        if getattr(message, "request_id", "") == "bad":
            raise ZeroDivisionError
        return decision

    monkeypatch.setattr(commit_group, "decide", breaking)
    rig = make()
    clients = rig.send(submission("r1"), submission("bad"), submission("r2"))
    await asyncio.sleep(0)
    with capture_logs() as logs:
        rig.start()
        first, bad, second = await asyncio.gather(*clients, return_exceptions=True)
    assert [image.number for answer in (first, second) for image in answer.images] == [1, 2, 3, 4, 5, 6]
    assert isinstance(bad, Refused)
    assert bad.code == "internal"
    [entry] = [entry for entry in logs if entry["event"] == "engine.message_failed"]
    assert isinstance(entry["exc_info"], ZeroDivisionError)
    assert len(check_tables(rig.path)) == 3


async def test_a_name_that_is_taken_refuses_its_own_message_alone(rig: Any) -> None:
    await rig.submit(submission("r1"))
    series = submission().series[0]
    await rig.on_thread(
        lambda: projections.save(rig.tables._connection, [SeriesRow(series.key, series.folder, next=2)])
    )
    clients = rig.send(submission("r2"), submission("r3", user="Ann"))
    taken, given = await asyncio.gather(*clients, return_exceptions=True)
    assert isinstance(taken, Refused)
    assert taken.code == "name_taken"
    assert [image.number for image in given.images] == [1, 2, 3]
    log = log_of(rig.path)
    assert [line.hash for line in rig.engine._state.tail] == [line.hash for line in log]
    assert rig.engine.view.position == len(log) == 4


async def test_nothing_leaves_before_the_commit(rig: Any) -> None:
    """The commit is held up in the writer's thread: until it is through, nobody hears of the batch."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(sql: str) -> None:
        if sql == "COMMIT":
            reached.set()
            go_on.wait(DEADLINE_S)

    bend(rig.tables, hold)
    news = rig.engine.view.news()
    [client] = rig.send(submission("r1"))
    await until(reached.is_set)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not client.done()
    assert not news.done()
    assert (rig.engine.view.position, len(rig.engine._state.tail), rig.effects) == (0, 0, [])
    assert log_of(rig.path) == []
    go_on.set()
    await client
    assert news.done()
    assert (rig.engine.view.position, len(rig.engine._state.tail)) == (2, 2)
    await until(lambda: rig.effects)


async def test_during_a_commit_the_next_group_gathers_undecided(rig: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(sql: str) -> None:
        if sql == "COMMIT":
            reached.set()
            go_on.wait(DEADLINE_S)

    bend(rig.tables, hold)
    [first] = rig.send(submission("r0"))
    await until(reached.is_set)
    before = len(rig.statements)
    clients = rig.send(*(submission(f"r{n}") for n in range(1, 50)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(rig.statements) == before
    go_on.set()
    await asyncio.gather(first, *clients)
    assert rig.statements[before:].count("COMMIT") == 2


async def test_of_a_commit_that_fails_nothing_has_left(rig: Any) -> None:
    await rig.submit(submission("r0"))
    position, news = rig.engine.view.position, rig.engine.view.news()
    bend(rig.tables, failing("COMMIT", sqlite3.SQLITE_IOERR))
    answers = await asyncio.gather(*rig.send(submission("r1"), STUCK), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Refused, Refused]
    assert (rig.engine.view.position, news.done()) == (position, False)
    assert not rig.engine.view.in_trouble("store/folder")
    with pytest.raises(LedgerUnusable):
        await rig.running
    assert [line.stream for line in check_tables(rig.path)] == [f"series/{submission().series[0].key}", "batch-app-r0"]


async def test_a_lane_that_works_again_within_its_group_is_out_of_trouble(make: Any) -> None:
    rig = make()
    workers = rig.send(STUCK, LaneWorks("store/folder"))
    await asyncio.sleep(0)
    rig.start()
    await asyncio.gather(*workers)
    assert [line.kind for line in log_of(rig.path)] == ["lane_paused", "lane_resumed"]
    assert not rig.engine.view.in_trouble("store/folder")


async def test_the_words_of_a_server_are_kept_only_if_an_event_names_them(rig: Any) -> None:
    """What no event names could never be found again to be forgotten."""
    words = [blob_of(text, b"salt") for text in (b"out of memory", b"too late", b"unreachable", b"again")]
    await rig.submit(submission("r1", quantity=1))
    await rig.engine.report(SubmitIntended("batch-app-r1", 1, 1, "main"))
    await rig.engine.report(PromptHasFailed("batch-app-r1", 1, 1, "execution_error", words[0]))
    await rig.engine.report(PromptHasFailed("batch-app-r1", 1, 1, "execution_error", words[1]))
    await rig.engine.report(LaneStuck("store/folder", "not_reached", words[2]))
    await rig.engine.report(LaneStuck("store/folder", "not_reached", words[3]))
    found = await rig.on_thread(
        lambda: rig.tables._connection.execute("SELECT content FROM blobs WHERE key = '' ORDER BY rowid").fetchall()
    )
    assert found == [(b"out of memory",), (b"unreachable",)]


async def test_the_words_of_a_report_that_ends_a_cancelled_prompt_are_not_kept(rig: Any) -> None:
    await rig.submit(submission("r1", quantity=1))
    await rig.engine.report(SubmitIntended("batch-app-r1", 1, 1, "main"))
    await rig.engine.command(CancelBatch("app", "batch-app-r1"))
    words = blob_of(b"interrupted in KSampler", b"salt")
    await rig.engine.report(PromptHasFailed("batch-app-r1", 1, 1, "execution_error", words))
    assert log_of(rig.path)[-1].kind == "prompt_removed"
    found = await rig.on_thread(
        lambda: rig.tables._connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (words.digest,)).fetchall()
    )
    assert found == []
