"""Why events of a batch wait for a webhook: each reason has a sentence, and what is delivered is not named."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.rows import BatchRow
from comfyledger.core.webhooks import OwedDelivery, WebhookProgress
from comfyledger.ledger.eventlog import Line
from comfyledger.queries.webhook_reasons import owed_to
from comfyledger.workers.webhooks.target import Target

TARGET = Target("shop", "https://shop.example", frozenset({"image_uploaded", "batch_settled"}), b"", True)
INFO = wire.WebhookInfo("shop", TARGET.url, [], "configured", "working", 0)
BATCH = BatchRow("b", "app", "r", "Areg", "areg", "Opal", False, "f/s_", "w", 1, "t", {}, (), 1, 1, 1)
LINES = [
    Line(at, "b", kind, 1, 0, "{}", b"")
    for at, kind in ((3, "image_kept"), (4, "image_uploaded"), (7, "batch_settled"))
]
NONE = WebhookProgress("shop", "e", 0)


def owed(progress: WebhookProgress = NONE, state: Any = "working", **more: Any) -> list[wire.OwedInfo]:
    target = replace(TARGET, only_named=more.pop("only_named", False))
    batch = replace(BATCH, webhook=more.pop("webhook", ""))
    return list(owed_to(target, replace(INFO, state=state, **more), progress, batch, LINES))


def test_what_waits_is_counted_with_the_first_and_other_kinds_are_not() -> None:
    (one,) = owed()
    assert (one.what, one.code, one.command) == ("deliver", "turn", "")
    assert one.text == (
        "The webhook shop has still to deliver 2 events, the first of them image_uploaded at 4. It waits for its turn."
    )


def test_what_is_delivered_is_not_named() -> None:
    assert owed(replace(NONE, position=7)) == []
    assert "1 event batch_settled at 7" in owed(replace(NONE, position=4))[0].text
    assert "1 event batch_settled at 7" in owed(replace(NONE, position=2, ahead=(4,)))[0].text


@pytest.mark.parametrize(("state", "helps"), [("paused", True), ("gone", True), ("dead", True), ("not_allowed", False)])
def test_one_that_is_stopped_says_why_and_what_ends_it(state: str, helps: bool) -> None:
    (one,) = owed(state=state)
    assert (one.code, one.command) == (state, "comfyledger webhook resume shop" if helps else "")


def test_one_that_fails_says_how_and_since_when() -> None:
    (one,) = owed(state="failing", code="http_503", text="The endpoint answered 503.", failing_ms=5)
    assert (one.code, one.since_ms) == ("http_503", 5)
    assert one.text.endswith("The endpoint answered 503. The daemon tries again automatically.")


def test_what_was_put_aside_waits_though_the_webhook_has_gone_on() -> None:
    aside = OwedDelivery(4, "b", 2, 9, "http_422")
    progress = replace(NONE, position=20, owed=(aside, OwedDelivery(7, "b")))
    (one,) = owed(progress)
    assert (one.code, "did not take it (http_422)" in one.text, "2 events" in one.text) == ("http_422", True, True)
    (behind,) = owed(replace(progress, owed=(replace(aside, position=2), OwedDelivery(7, "b"))))
    assert "did not take the one at 2, which comes before it (http_422)" in behind.text


def test_a_webhook_for_named_batches_owes_nothing_to_others() -> None:
    assert owed(only_named=True) == []
    assert owed(only_named=True, webhook="apps") == []
    assert len(owed(only_named=True, webhook="shop")) == 1
