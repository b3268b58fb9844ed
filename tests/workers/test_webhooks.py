"""Webhooks run as the ledger and the configuration say: where each begins, how often it saves, and when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import AddWebhook, PauseWebhook, RemoveWebhook, ResumeWebhook
from comfyledger.core.decide.decide import Message
from comfyledger.core.reports import Report, WebhookEnded, WebhookProgressed
from comfyledger.core.webhook_deliveries import Fault
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.ports import LogLines, LogWanted
from comfyledger.queries.webhooks import infos
from comfyledger.workers.webhooks import deliverer
from comfyledger.workers.webhooks.post import Poster, Signed
from comfyledger.workers.webhooks.target import Target
from comfyledger.workers.webhooks.webhooks import Webhooks
from support.core_builders import PlainLedger
from support.waiting import until

SHOP = Target("shop", "https://shop.example/hook", frozenset({"batch_settled"}), b"k" * 32, is_configured=True)
ADD = AddWebhook("app", "late", "https://late.example/hook", ("batch_settled",))
ALLOWED = ("https://*.example",)
DOWN = Fault("endpoint", "http_503", "It answered 503.")


class House:
    """A ledger in memory with a log of its own, and endpoints that answer what a test says."""

    ledger_id, epoch, secret = "l", "e", b"s" * 32

    def __init__(self) -> None:
        self.ledger = PlainLedger()
        self.log: list[Line] = []
        self.reports: list[Report] = []
        self.posted: list[Signed] = []
        self.answer: Callable[[Signed], Fault | None] = lambda _: None
        self.progress: dict[str, WebhookProgress] = {}
        self.refuses = False
        self.while_reading: Callable[[], Awaitable[None]] = partial(asyncio.sleep, 0)
        self.wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.made: Webhooks | None = None
        self.task: asyncio.Task[None] | None = None

    # ---- as the view

    @property
    def position(self) -> int:
        return len(self.log)

    term = 0

    def news(self) -> asyncio.Future[None]:
        return self._news

    def lines_after(self, position: int, limit: int) -> list[Line] | None:
        return None if position < self.position - 50 else self.log[position : position + limit]

    # ---- as the reader and the reporter

    async def webhooks(self) -> list[WebhookRow]:
        return [row for row in self.ledger.rows.values() if isinstance(row, WebhookRow)]

    async def webhook_progress(self) -> list[WebhookProgress]:
        return list(self.progress.values())

    async def log_lines(self, wanted: LogWanted) -> LogLines:
        lines = self.log[wanted.after : wanted.upto]
        await self.while_reading()
        return LogLines(lines[: wanted.limit], wanted.after + len(lines[: wanted.limit]), len(lines) > wanted.limit)

    async def report(self, report: Report) -> None:
        self.reports.append(report)
        await asyncio.sleep(0)
        if self.refuses:
            raise Refused("busy")
        self.decide(report)

    async def post(self, request: Signed) -> Fault | None:
        self.posted.append(request)
        await asyncio.sleep(0)
        return self.answer(request)

    # ---- what happens

    def decide(self, message: Message) -> None:
        self.ledger.when(message)
        rows = {("", "", str(at)): row for at, row in enumerate(self.ledger.changed)}
        self.progress |= {row.name: row for row in self.ledger.changed if isinstance(row, WebhookProgress)}
        if self.made is not None:
            self.made.committed(Committed([], rows, 1, 0.0))

    def happens(self, *streams: str, kind: str = "batch_settled") -> None:
        for stream in streams:
            self.log.append(Line(self.position + 1, stream, kind, 1, 7, "{}", b"hash"))
        self._news.set_result(None)
        self._news = asyncio.get_running_loop().create_future()

    async def starts(self, *configured: Target, allowed: tuple[str, ...] = ALLOWED) -> None:
        """Another daemon on the same ledger."""
        await self.ends()

        async def compose(line: Line) -> bytes:
            return str(line.position).encode()

        house: Any = self
        self.made = Webhooks({one.name: one for one in configured}, allowed, house, house, house, compose, self.wall_ms)
        await self.made.start()
        self.task = asyncio.create_task(self.made.run())

    async def ends(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def state(self, name: str) -> str:
        assert self.made is not None
        view: Any = self
        return next(one.state for one in infos(self.made, view) if one.name == name)

    @property
    def delivered(self) -> list[int]:
        return [int(one.body) for one in self.posted]

    @property
    def saves(self) -> list[WebhookProgress]:
        return [one.progress for one in self.reports if isinstance(one, WebhookProgressed)]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    house = House()
    monkeypatch.setattr(Poster, "post", house.post)
    yield house
    await house.ends()


# ---- where it begins


async def test_a_new_webhook_of_the_configuration_begins_at_the_end_of_the_log_and_saves_that_at_once(
    house: House,
) -> None:
    house.happens("a", "b")
    await house.starts(SHOP)
    await until(lambda: house.saves == [WebhookProgress("shop", "e", 2)], "where it begins is saved")
    house.happens("c")
    await until(lambda: house.delivered == [3], "what follows is delivered")


async def test_one_that_was_saved_goes_on_where_it_was_and_says_nothing_new(house: House) -> None:
    house.happens("a", "b")
    house.progress["shop"] = WebhookProgress("shop", "before", 1)
    await house.starts(SHOP)
    await until(lambda: house.delivered == [2], "what it had not delivered is delivered")


async def test_one_that_was_further_than_the_log_goes_begins_at_its_end(house: House) -> None:
    house.happens("a", "b")
    house.progress["shop"] = WebhookProgress("shop", "before", 99, ahead=(101,))
    await house.starts(SHOP)
    house.happens("c")
    await until(lambda: house.delivered == [3], "what follows is delivered")


async def test_an_added_one_begins_after_its_event_also_if_the_daemon_died_before_it_saved_anything(
    house: House,
) -> None:
    house.happens("x")  # the event that adds it
    house.decide(ADD)
    house.happens("a")
    await house.starts()
    await until(lambda: house.delivered == [2], "what follows its event is delivered")


async def test_one_that_is_removed_and_added_again_does_not_go_on_where_it_was(house: House) -> None:
    await house.starts()
    for message, runs in ((ADD, True), (RemoveWebhook("app", "late"), False), (ADD, True)):
        house.happens("webhook/late", kind="webhook_added")
        house.decide(message)
        await until(lambda runs=runs: ("late" in names(house)) is runs, "it runs, or not")
        house.happens("between")
        house.ledger.when(PauseWebhook("app", f"other-{house.position}"))  # so that both logs have the same positions
    await until(lambda: 6 in house.delivered, "what follows is delivered")
    assert 4 not in house.delivered


def names(house: House) -> list[str]:
    assert house.made is not None
    return list(house.made._running)


async def test_a_long_log_is_read_in_pages(house: House) -> None:
    house.progress["shop"] = WebhookProgress("shop", "e", 0)
    house.happens(*(f"s{number}" for number in range(900)))
    await house.starts(SHOP)
    await until(lambda: sorted(house.delivered) == list(range(1, 901)), "all is delivered")


async def test_what_is_logged_while_the_log_is_read_is_delivered_too(house: House) -> None:
    house.progress["shop"] = WebhookProgress("shop", "e", 0)
    house.happens(*(f"s{number}" for number in range(60)))

    async def more_is_logged() -> None:
        if house.position == 60:
            house.happens("late", "later", "last")

    house.while_reading = more_is_logged
    await house.starts(SHOP)
    await until(lambda: sorted(house.delivered) == list(range(1, 64)), "all is delivered")


# ---- saving


async def test_however_many_events_stream_it_saves_once_in_a_while(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SAVE_S", 1_000.0)
    await house.starts(SHOP)
    for number in range(20):
        house.happens(*(f"s{number}-{place}" for place in range(10)))
        await until(lambda number=number: len(house.posted) == 10 * (number + 1), "they are delivered")
    assert len(house.saves) <= 2


async def test_events_that_it_does_not_deliver_are_not_worth_saving_until_there_are_many(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SAVE_S", 0.0)
    monkeypatch.setattr(deliverer, "UNSAVED_MAX", 30)
    await house.starts(SHOP)
    await until(lambda: len(house.saves) == 1, "where it begins is saved")
    house.happens(*["a"] * 29, kind="image_kept")
    assert house.made is not None
    await until(lambda: house.made is not None and house.made["shop"].progress.position == 29, "it has looked at them")
    assert len(house.saves) == 1
    house.happens("a", "a", kind="image_kept")
    await until(lambda: house.saves[-1].position == 31, "that is saved")


async def test_where_it_begins_is_saved_later_if_it_could_not_be_at_first(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "RETRY_S", 0.01)
    house.refuses = True
    await house.starts(SHOP)
    await until(lambda: house.saves, "it is tried")
    house.refuses = False
    await until(lambda: "shop" in house.progress, "it is saved")


async def test_what_could_not_be_saved_is_saved_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "SAVE_S", 0.0)
    monkeypatch.setattr(deliverer, "RETRY_S", 0.01)
    await house.starts(SHOP)
    await until(lambda: house.saves, "where it begins is saved")
    house.refuses = True
    house.happens("a")
    await until(lambda: len(house.saves) >= 3, "it is tried again")
    house.refuses = False
    await until(lambda: house.progress["shop"].position == 1, "it is saved")
    assert house.delivered == [1]


# ---- pauses and ends


async def test_a_try_that_becomes_due_while_progress_is_saved_is_made(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = [1_000_000]
    house.wall_ms = lambda: now_ms[0]
    monkeypatch.setattr(deliverer, "SAVE_S", 0.0)
    decide = house.decide

    def decide_slowly(message: Message) -> None:
        if isinstance(message, WebhookProgressed) and message.progress.tries:
            now_ms[0] += 60_000
        decide(message)

    monkeypatch.setattr(house, "decide", decide_slowly)
    house.answer = lambda _: DOWN if len(house.posted) == 1 else None
    await house.starts(SHOP)
    house.happens("a")
    await until(lambda: house.delivered == [1, 1], "it is tried again, and nothing else has happened")


async def test_after_days_in_which_nothing_is_taken_it_is_paused_once_and_goes_on_when_it_is_resumed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfyledger.core.webhooks.DEAD_AFTER_S", -1.0)
    house.answer = lambda _: DOWN
    await house.starts(SHOP)
    house.happens("a")
    await until(lambda: house.state("shop") == "dead", "it is paused")
    assert [one for one in house.reports if isinstance(one, WebhookEnded)] == [WebhookEnded("shop", "dead")]
    monkeypatch.setattr("comfyledger.core.webhooks.DEAD_AFTER_S", 86_400.0)
    house.answer = lambda _: None
    asked = len(house.posted)
    house.happens("b")
    await until(lambda: house.made is not None and house.made["shop"].deliveries.scanned == 2, "it has seen the news")
    assert len(house.posted) == asked
    house.decide(ResumeWebhook("app", "shop"))
    await until(lambda: house.delivered[asked:] == [1, 2], "it goes on where it was")
    assert house.state("shop") == "working"


async def test_a_pause_outlives_the_daemon(house: House) -> None:
    house.decide(PauseWebhook("app", "shop"))
    house.progress["shop"] = WebhookProgress("shop", "e", 0)
    await house.starts(SHOP)
    house.happens("a")
    await until(lambda: house.made is not None and house.made["shop"].deliveries.scanned == 1, "it has seen the news")
    assert (house.posted, house.state("shop")) == ([], "paused")


async def test_an_added_one_that_is_not_allowed_any_more_waits_where_it_was(house: House) -> None:
    house.happens("x")
    house.decide(ADD)
    house.happens("a")
    await house.starts(allowed=())
    assert house.state("late") == "not_allowed"
    await house.starts()
    await until(lambda: house.delivered == [2], "it is allowed again and nothing is lost")


async def test_the_configuration_takes_the_name_of_one_that_was_added(house: House) -> None:
    house.decide(replace(ADD, name="shop"))
    await house.starts(SHOP)
    house.happens("a")
    await until(lambda: house.posted, "it is delivered")
    assert house.posted[0].url == SHOP.url


async def test_an_error_of_our_own_is_an_event_that_fails_and_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfyledger.core.webhooks.RETRY_FIRST_S", 0.01)
    monkeypatch.setattr("comfyledger.core.webhooks.RETRY_MIN_S", 0.0)
    broken = [True]

    def answer(_: Signed) -> Fault | None:
        if broken.pop():
            broken.append(False)
            raise RuntimeError("broken")
        broken.append(False)
        return None

    house.answer = answer
    await house.starts(SHOP)
    house.happens("a", "b")
    await until(lambda: house.made is not None and house.made["shop"].progress.position == 2, "all is delivered")
