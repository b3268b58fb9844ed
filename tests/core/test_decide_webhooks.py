"""Laws of webhooks in the log: one name, one event for each change, one secret for each address, pauses that stay."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import AddWebhook, PauseWebhook, RemoveWebhook, ResumeWebhook
from comfyledger.core.decide import webhooks
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.events import WebhookAdded, WebhookPaused, WebhookRemoved, WebhookResumed, stream_of
from comfyledger.core.reports import WebhookEnded, WebhookProgressed
from comfyledger.core.results import WebhookKnown
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.errors import Refused
from support.core_builders import PlainLedger, given

URL = "https://shop.example/hooks"
KINDS = ("image_uploaded", "batch_settled")
ADD = AddWebhook("app", "shop", URL, KINDS)
PAUSE, RESUME, REMOVE = PauseWebhook("app", "shop"), ResumeWebhook("app", "shop"), RemoveWebhook("app", "shop")


def row_of(ledger: PlainLedger, name: str = "shop") -> WebhookRow:
    return ledger.rows["webhook", name, ""]  # type: ignore[return-value]


def refusal(ledger: PlainLedger, command: AddWebhook | RemoveWebhook | ResumeWebhook) -> Refused:
    before = (list(ledger.log), dict(ledger.rows))
    with pytest.raises(Refused) as refused:
        ledger.when(command)
    assert (ledger.log, ledger.rows) == before
    return refused.value


def test_what_is_added_is_an_event_with_all_its_values() -> None:
    ledger = given()
    then = ledger.when(ADD)
    assert then.answer == WebhookKnown("shop", changed=True, generation=1)
    assert then.events == (WebhookAdded("shop", URL, KINDS, 1, "app"),)
    assert stream_of(then.events[0]) == "webhook/shop"
    assert row_of(ledger) == WebhookRow("shop", URL, KINDS, 1, since=1, present=True)


def test_adding_it_again_with_the_same_values_is_no_event_whoever_does() -> None:
    ledger = given(ADD)
    for label in ("app", "other"):
        then = ledger.when(replace(ADD, label=label))
        assert (then.answer, then.events) == (WebhookKnown("shop", changed=False, generation=1), ())


def test_other_kinds_keep_the_secret_and_the_place_in_the_log() -> None:
    ledger = given(ADD)
    assert ledger.when(replace(ADD, kinds=("image_kept",))).kinds == ["WebhookAdded"]
    assert row_of(ledger) == WebhookRow("shop", URL, ("image_kept",), 1, since=1, present=True)


def test_another_address_has_another_secret_and_keeps_the_place_in_the_log() -> None:
    ledger = given(ADD)
    assert ledger.when(replace(ADD, url=f"{URL}/new")).answer == WebhookKnown("shop", changed=True, generation=2)
    assert row_of(ledger) == WebhookRow("shop", f"{URL}/new", KINDS, 2, since=1, present=True)


def test_one_that_was_removed_and_added_again_begins_anew_with_another_secret() -> None:
    ledger = given(ADD, PAUSE, REMOVE)
    assert not row_of(ledger).present
    assert ledger.when(ADD).answer == WebhookKnown("shop", changed=True, generation=2)
    assert row_of(ledger) == WebhookRow("shop", URL, KINDS, 2, since=4, present=True)


def test_what_nobody_added_cannot_be_removed() -> None:
    for ledger in (given(), given(ADD, REMOVE), given(PAUSE)):
        refused = refusal(ledger, REMOVE)
        assert (refused.code, refused.path) == ("unknown_webhook", "name")


def test_the_number_of_added_webhooks_is_limited_and_changes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "ADDED_MAX", 2)
    ledger = given(ADD, replace(ADD, name="blog"), PauseWebhook("app", "configured"))
    assert refusal(ledger, replace(ADD, name="third")).code == "webhooks_limit"
    assert ledger.when(replace(ADD, kinds=("image_kept",))).kinds == ["WebhookAdded"]


def test_a_pause_is_one_event_however_often_it_is_asked_for() -> None:
    ledger = given(ADD)
    assert ledger.when(PAUSE).events == (WebhookPaused("shop", "person", "app"),)
    assert ledger.when(PAUSE).events == ()
    assert row_of(ledger).paused == "person"
    assert ledger.when(RESUME).events == (WebhookResumed("shop", "app"),)
    assert refusal(ledger, RESUME).code == "nothing_to_do"


def test_a_webhook_of_the_configuration_has_a_row_once_it_is_paused_and_counts_as_not_added() -> None:
    ledger = given(PauseWebhook("app", "configured"))
    assert row_of(ledger, "configured") == WebhookRow("configured", paused="person")


@pytest.mark.parametrize("reason", ["dead", "gone"])
def test_an_end_pauses_it_once_and_leaves_the_pause_of_a_person(reason: str) -> None:
    ended = WebhookEnded("shop", reason)  # type: ignore[arg-type]
    ledger = given(ADD)
    assert ledger.when(ended).events == (WebhookPaused("shop", reason),)  # type: ignore[arg-type]
    assert ledger.when(ended).events == ()
    assert given(ADD, PAUSE).when(ended).events == ()


def test_a_person_pauses_what_is_dead_so_that_it_stays_paused_for_that_reason() -> None:
    ledger = given(ADD, WebhookEnded("shop", "dead"))
    assert ledger.when(PAUSE).events == (WebhookPaused("shop", "person", "app"),)


def test_what_is_removed_is_not_paused_when_it_comes_back() -> None:
    ledger = given(ADD, PAUSE)
    assert ledger.when(REMOVE).events == (WebhookRemoved("shop", "app"),)
    assert row_of(ledger).paused == ""


def test_progress_is_saved_and_is_no_event() -> None:
    ledger, progress = given(ADD), WebhookProgress("shop", "epoch", 7, since=1, ahead=(9,))
    then = ledger.when(WebhookProgressed(progress))
    assert then.events == ()
    assert ledger.changed == (progress,)


def test_what_a_box_has_come_to_in_an_earlier_term_is_not_saved() -> None:
    ledger = given(ADD, policy=Policy(box="north", term=2))
    for term, saved in ((1, 0), (2, 1)):
        ledger.when(WebhookProgressed(WebhookProgress("shop", "epoch", 7), term))
        assert len(ledger.changed) == saved
