"""Webhooks through the protocols: what the log says of them, and how far each has come, which no event says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import AddWebhook, PauseLane, PauseWebhook, RemoveWebhook
from comfyledger.core.decide.decide import Message
from comfyledger.core.reports import WebhookProgressed
from comfyledger.core.webhooks import OwedDelivery, WebhookProgress, WebhookRow
from comfyledger.ledger.ports import Ledger
from support.ledger_builders import take_one
from support.ledger_kinds import Kind, apart, together

KINDS = ("batch_settled",)
PROGRESS = WebhookProgress(
    "shop", "e", 7, 1, (9, 12), (OwedDelivery(8, "batch", 2, 99, "http_422"),), 5, 6, 2, "timeout"
)


def adding(name: str) -> AddWebhook:
    return AddWebhook("app", name, f"https://{name}.example/hook", KINDS)


def as_added(name: str, since: int) -> WebhookRow:
    return WebhookRow(name, f"https://{name}.example/hook", KINDS, 1, since, present=True)


async def test_what_the_log_says_of_each_is_read_by_name(kind: Kind) -> None:
    with kind.opened() as ledger:
        together(ledger, [adding("b"), adding("a"), adding("c"), RemoveWebhook("app", "c"), PauseWebhook("app", "d")])
    async with kind.reading() as reader:
        gone = replace(as_added("c", 3), present=False)
        assert await reader.webhooks() == [as_added("a", 2), as_added("b", 1), gone, WebhookRow("d", paused="person")]


@pytest.mark.parametrize("write", [together, apart])
async def test_progress_is_saved_with_the_group_and_adds_nothing_to_the_log(kind: Kind, write: object) -> None:
    other = replace(PROGRESS, name="blog", position=8)
    messages: list[Message] = [WebhookProgressed(PROGRESS), PauseLane("app", "user/a"), WebhookProgressed(other)]
    with kind.opened() as ledger:
        write(ledger, messages)  # type: ignore[operator]
        assert ledger.head.position == 1
    async with kind.reading() as reader:
        assert await reader.webhook_progress() == [other, PROGRESS]
        assert await reader.webhooks() == []


async def test_a_group_of_progress_alone_is_saved_and_the_last_one_counts(kind: Kind) -> None:
    with kind.opened() as ledger:
        together(ledger, [WebhookProgressed(PROGRESS)])
        outcomes = together(ledger, [WebhookProgressed(replace(PROGRESS, position=at)) for at in (8, 9)])
        assert [outcome.rows for outcome in outcomes] == [(replace(PROGRESS, position=at),) for at in (8, 9)]
        assert ledger.head.position == 0
    async with kind.reading() as reader:
        assert await reader.webhook_progress() == [replace(PROGRESS, position=9)]


def roll_back(ledger: Ledger, message: Message) -> None:
    with ledger.group():
        take_one(ledger, message)
        raise ZeroDivisionError


async def test_a_group_that_is_rolled_back_saves_no_progress(kind: Kind) -> None:
    with kind.opened() as ledger:
        with pytest.raises(ZeroDivisionError):
            roll_back(ledger, WebhookProgressed(PROGRESS))
        together(ledger, [PauseLane("app", "user/a")])
    async with kind.reading() as reader:
        assert await reader.webhook_progress() == []
