"""The first use of a series: the batch waits for the stores, and whoever waits is answered, whatever the asker does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from comfyledger.core.commands import OpenSeries, RaiseSeries, SeriesFound, SubmitBatch
from comfyledger.core.reports import SeriesAnswered
from comfyledger.core.results import SeriesNext, SeriesUnknown
from comfyledger.core.values import Evidence, StoreRef
from comfyledger.engine import Engine
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import decide_group
from support.ledger_builders import FOLDER, check_tables, log_of, raw, submission
from support.waiting import pass_time, until


def first(request_id: str = "r1", **more: Any) -> Any:
    return submission(request_id, trust=False, **more)


def answering(engine: Engine, highest: int, wait: asyncio.Event | None = None) -> Any:
    """An asker whose store holds numbers up to `highest`, and says so as soon as it may."""

    async def ask(unknown: SeriesUnknown) -> None:
        if wait is not None:
            await wait.wait()
        await engine.report(SeriesAnswered(unknown.series, (Evidence("folder", FOLDER.identity, highest),)))

    return ask


def waiting_for(rig: Any, count: int) -> Callable[[], bool]:
    return lambda: rig.engine.view.queued["first_use"] == count


async def test_the_first_batch_goes_on_after_the_highest_number_found(rig: Any) -> None:
    rig.ask = answering(rig.engine, 57)
    assert await rig.submit(first()) == [58, 59, 60]
    assert [line.kind for line in log_of(rig.path)] == ["series_opened", "batch_requested"]
    assert [unknown.stores for unknown in rig.asked] == [(FOLDER,)]
    assert rig.engine.view.questions == {}


async def test_clients_waiting_for_one_series_ask_once_and_get_distinct_numbers(rig: Any) -> None:
    may = asyncio.Event()
    rig.ask = answering(rig.engine, 10, may)
    clients = [asyncio.create_task(rig.submit(first(f"r{n}", user=user))) for n, user in enumerate(["Areg", "areg"])]
    await until(waiting_for(rig, 2))
    assert log_of(rig.path) == []
    may.set()
    assert await asyncio.gather(*clients) == [[11, 12, 13], [14, 15, 16]]
    assert len(rig.asked) == 1
    check_tables(rig.path)


async def test_a_series_that_waits_keeps_no_other_waiting(rig: Any) -> None:
    client = asyncio.create_task(rig.submit(first()))
    await until(waiting_for(rig, 1))
    assert await rig.submit(submission("r2", user="Ann")) == [1, 2, 3]
    assert not client.done()
    await rig.stop()
    with pytest.raises(Refused, match="stopping"):
        await client


async def test_what_waited_goes_before_what_came_later(rig: Any) -> None:
    may = asyncio.Event()
    rig.ask = answering(rig.engine, 0, may)
    clients = [asyncio.create_task(rig.submit(first("r1")))]
    await until(waiting_for(rig, 1))
    clients += [asyncio.create_task(rig.submit(first(f"r{n}"))) for n in range(2, 5)]
    await until(waiting_for(rig, 4))
    may.set()
    assert await asyncio.gather(*clients) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


async def test_a_wait_that_times_out_is_refused_with_the_reason_and_cleaned_up(make: Any) -> None:
    rig = make(first_use_wait_s=60.0)
    rig.start()
    clients = rig.send(first(prompt="typed text"))
    await until(lambda: rig.engine.view.questions)
    rig.engine.series_waiting(first().series[0].key, "store/folder: the NAS is away", "Mount it.")
    pass_time(61.0)
    [refused] = await asyncio.gather(*clients, return_exceptions=True)
    assert isinstance(refused, Refused)
    assert refused.code == "series_unanswered"
    assert "the NAS is away" in refused.message
    assert log_of(rig.path) == []
    assert raw(rig.path).execute("SELECT count(*) FROM blobs").fetchone() == (0,)


async def test_a_request_that_timed_out_is_accepted_once_the_store_answers(make: Any) -> None:
    rig = make(first_use_wait_s=0.02)
    rig.start()
    with pytest.raises(Refused, match="could not say"):
        await rig.engine.command(first())
    rig.ask = answering(rig.engine, 4)
    [question] = rig.engine.view.questions.values()
    assert question.labels == ()
    await rig.engine.report(SeriesAnswered(first().series[0], (Evidence("folder", FOLDER.identity, 4),)))
    assert await rig.submit(first()) == [5, 6, 7]
    assert rig.engine.view.questions == {}


@pytest.mark.parametrize("ending", ["returns", "raises"])
async def test_nobody_waits_for_an_asker_that_has_ended_without_an_answer(rig: Any, ending: str) -> None:
    async def ask(_: SeriesUnknown) -> None:
        if ending == "raises":
            raise ZeroDivisionError

    rig.ask = ask
    with capture_logs() as logs:
        answers = await asyncio.gather(*rig.send(first("r1"), first("r2")), return_exceptions=True)
    assert [answer.code for answer in answers] == ["series_unanswered"] * 2
    died = [entry for entry in logs if entry["event"] == "question.died"]
    assert len(died) == (1 if ending == "raises" else 0)
    assert rig.engine.view.questions == {}
    rig.ask = answering(rig.engine, 0)
    assert await rig.submit(first("r1")) == [1, 2, 3]


async def test_a_client_that_returns_gets_the_same_answer_for_its_waiting_batch(rig: Any) -> None:
    """Leaving then is as leaving just before an answer: the batch was asked for, and asking again finds it."""
    may = asyncio.Event()
    rig.ask = answering(rig.engine, 0, may)
    left, stayed = rig.send(first("r1"), first("r2"))
    await until(waiting_for(rig, 2))
    left.cancel()
    await asyncio.wait([left])
    may.set()
    assert [image.number for image in (await stayed).images] == [4, 5, 6]
    again = await rig.engine.command(first("r1"))
    assert (again.repeated, [image.number for image in again.images]) == (True, [1, 2, 3])


async def test_an_answer_that_comes_twice_opens_the_series_once(rig: Any) -> None:
    answer = SeriesAnswered(first().series[0], (Evidence("folder", FOLDER.identity, 9),))
    assert await rig.engine.report(answer) == SeriesNext(first().series[0].key, 10)
    other = SeriesAnswered(first().series[0], (Evidence("folder", FOLDER.identity, 90),))
    assert await rig.engine.report(other) == SeriesNext(first().series[0].key, 10)
    assert [line.kind for line in log_of(rig.path)] == ["series_opened"]


async def test_opening_a_series_by_hand_asks_the_stores_too(rig: Any) -> None:
    rig.ask = answering(rig.engine, 57)
    opened = await rig.engine.command(OpenSeries("app", first().series[0], (FOLDER,)))
    assert opened == SeriesNext(first().series[0].key, 58)
    assert await rig.submit(first()) == [58, 59, 60]


async def test_a_batch_that_is_asked_for_twice_while_it_waits_is_made_once(rig: Any) -> None:
    may = asyncio.Event()
    rig.ask = answering(rig.engine, 0, may)
    clients = rig.send(*[first("r1")] * 5)
    await until(waiting_for(rig, 5))
    may.set()
    answers = await asyncio.gather(*clients)
    assert [answer.repeated for answer in answers] == [False, True, True, True, True]
    assert len(log_of(rig.path)) == 2


def imported(store: StoreRef, highest: int) -> RaiseSeries:
    return RaiseSeries("cli", store, (SeriesFound(first().series[0], highest),))


async def test_what_waits_goes_on_as_soon_as_an_import_says_what_the_store_holds(rig: Any) -> None:
    rig.ask = answering(rig.engine, 0, asyncio.Event())
    clients = rig.send(first("r1"), first("r2"))
    await until(waiting_for(rig, 2))
    await rig.engine.command(imported(FOLDER, 57))
    answers = await asyncio.gather(*clients)
    assert [[image.number for image in answer.images] for answer in answers] == [[58, 59, 60], [61, 62, 63]]
    assert rig.engine.view.questions == {}
    check_tables(rig.path)


async def test_an_import_from_another_place_leaves_what_waits_waiting(rig: Any) -> None:
    rig.ask = answering(rig.engine, 0, asyncio.Event())
    [client] = rig.send(first("r1"))
    await until(waiting_for(rig, 1))
    [question] = rig.engine.view.questions.values()
    await rig.engine.command(imported(StoreRef("other", "folder:/other"), 57))
    assert not client.done()
    assert list(rig.engine.view.questions.values()) == [question]
    await rig.stop()
    with pytest.raises(Refused, match="stopping"):
        await client


async def test_after_an_import_from_one_store_only_the_others_are_asked(rig: Any) -> None:
    other = StoreRef("other", "folder:/other")
    rig.ask = answering(rig.engine, 9, asyncio.Event())
    [client] = rig.send(replace(first("r1"), stores=(FOLDER, other)))
    await until(lambda: rig.asked)
    rig.ask = answering(rig.engine, 9)
    await rig.engine.command(imported(FOLDER, 57))
    assert [image.number for image in (await client).images] == [58, 59, 60]
    assert [unknown.stores for unknown in rig.asked] == [(FOLDER, other), (other,)]


def loop_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock by which the loop calls what is due later."""
    loop, passed_s = asyncio.get_running_loop(), [0.0]
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + sum(passed_s))
    return passed_s.append


async def test_a_wait_is_no_longer_for_having_been_asked_twice(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = StoreRef("other", "folder:/other")
    rig = make(first_use_wait_s=3_600.0)
    rig.start()
    rig.ask = answering(rig.engine, 9, asyncio.Event())
    pass_time = loop_clock(monkeypatch)
    [client] = rig.send(replace(first("r1"), stores=(FOLDER, other)))
    await until(waiting_for(rig, 1))
    pass_time(3_000.0)
    await rig.engine.command(imported(FOLDER, 57))
    await until(lambda: len(rig.asked) == 2)
    assert not client.done()
    pass_time(601.0)
    await until(client.done)
    with pytest.raises(Refused, match="could not say"):
        await client


# ---- a batch of several series


BOTH: Any = {"media": ("image", "video")}


async def test_the_stores_are_asked_about_all_series_of_a_batch_at_the_same_time(rig: Any) -> None:
    may = asyncio.Event()
    rig.ask = answering(rig.engine, 57, may)
    client = asyncio.create_task(rig.submit(first(**BOTH)))
    await until(lambda: len(rig.asked) == 2)
    assert rig.engine.view.queued["first_use"] == 1
    assert {question.labels for question in rig.engine.view.questions.values()} == {("app",)}
    may.set()
    assert await client == [58, 58, 59, 59, 60, 60]
    assert [line.kind for line in log_of(rig.path)] == ["series_opened", "series_opened", "batch_requested"]
    assert (len(rig.asked), rig.engine.view.questions) == (2, {})
    check_tables(rig.path)


async def test_a_batch_waits_until_the_last_of_its_series_is_known(rig: Any) -> None:
    (client,) = rig.send(first(**BOTH))
    await until(lambda: len(rig.engine.view.questions) == 2)
    image, video = first(**BOTH).series
    await rig.engine.report(SeriesAnswered(image, (Evidence("folder", FOLDER.identity, 4),)))
    assert (list(rig.engine.view.questions), client.done()) == ([video.key], False)
    assert await rig.submit(first("r2")) == [5, 6, 7], "who waits for nothing goes before who waits"
    await rig.engine.report(SeriesAnswered(video, (Evidence("folder", FOLDER.identity, 9),)))
    assert [image.number for image in (await client).images] == [8, 10, 9, 11, 10, 12]


async def test_a_batch_that_is_refused_waits_for_none_of_its_series(make: Any) -> None:
    rig = make(first_use_wait_s=0.05)
    rig.start()
    [refused] = await asyncio.gather(*rig.send(first(**BOTH)), return_exceptions=True)
    assert refused.code == "series_unanswered"
    assert [question.labels for question in rig.engine.view.questions.values()] == [(), ()]
    assert rig.engine.view.queued["first_use"] == 0
    assert log_of(rig.path) == []


async def test_a_series_whose_asker_ends_refuses_the_batch_and_frees_the_others(rig: Any) -> None:
    image, _ = first(**BOTH).series

    async def ask(unknown: SeriesUnknown) -> None:
        if unknown.series != image:
            await asyncio.Event().wait()

    rig.ask = ask
    [refused] = await asyncio.gather(*rig.send(first(**BOTH)), return_exceptions=True)
    assert refused.code == "series_unanswered"
    assert [question.labels for question in rig.engine.view.questions.values()] == [()]


async def test_a_batch_is_decided_again_once_and_only_when_all_of_its_series_are_known(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided: list[Any] = []

    def counting(ledger: Any, messages: list[Any], terms: Any) -> Any:
        decided.extend(message for message in messages if isinstance(message, SubmitBatch))
        return decide_group(ledger, messages, terms)

    monkeypatch.setattr("comfyledger.engine.engine.decide_group", counting)
    rig.ask = answering(rig.engine, 0)
    assert await rig.submit(first(**BOTH)) == [1, 1, 2, 2, 3, 3]
    assert len(decided) == 2
