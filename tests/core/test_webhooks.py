"""Laws of the rules of webhooks: which events, which id, which signature, when again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from comfyledger.core.events import KINDS
from comfyledger.core.webhooks import (
    DEAD_AFTER_S,
    DEFAULT_KINDS,
    DELIVERED,
    RETRY_FIRST_S,
    RETRY_LAST_S,
    RETRY_MIN_S,
    chosen_kinds,
    delivery_id,
    derived_secret,
    is_dead,
    retry_delay_s,
    signature,
    signing_key,
)
from comfyledger.errors import Refused

SPECIFIED = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330)
"""Secret, id and time of the example in the specification."""


# ---- kinds


def test_without_kinds_a_webhook_delivers_what_most_apps_wait_for() -> None:
    assert chosen_kinds(()) == DEFAULT_KINDS
    assert set(DEFAULT_KINDS) <= set(KINDS)


def test_a_kind_that_is_named_twice_counts_once() -> None:
    assert chosen_kinds(["image_kept", "batch_settled", "image_kept"]) == ("image_kept", "batch_settled")


@pytest.mark.parametrize("kind", ["webhook_added", "webhook_removed", "webhook_paused", "webhook_resumed", "nothing"])
def test_events_about_webhooks_and_unknown_ones_cannot_be_chosen(kind: str) -> None:
    with pytest.raises(Refused, match=kind) as refused:
        chosen_kinds(["image_kept", kind])
    assert (refused.value.code, refused.value.path) == ("invalid_field", "kinds")
    assert kind not in DELIVERED


# ---- ids and secrets


def test_one_event_has_one_id_for_each_webhook_and_another_event_has_another() -> None:
    first = delivery_id("ledger", "shop", 7, b"hash")
    assert first == delivery_id("ledger", "shop", 7, b"hash")
    others = {
        delivery_id("other", "shop", 7, b"hash"),
        delivery_id("ledger", "blog", 7, b"hash"),
        delivery_id("ledger", "shop", 8, b"hash"),
        delivery_id("ledger", "shop", 7, b"restored"),
    }
    assert len(others | {first}) == 5


def test_the_secret_of_an_added_webhook_is_its_own_and_can_be_made_again() -> None:
    secret = derived_secret(b"k" * 32, "shop", 1)
    assert secret == derived_secret(b"k" * 32, "shop", 1)
    assert len(signing_key(secret)) == 32
    others = {
        derived_secret(b"k" * 32, "shop", 2),
        derived_secret(b"k" * 32, "blog", 1),
        derived_secret(b"x", "shop", 1),
    }
    assert len(others | {secret}) == 4


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%%"])
def test_what_is_no_secret_of_standard_webhooks_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_") as refused:
        signing_key(secret)
    assert not secret or secret == "whsec_" or secret not in str(refused.value)


# ---- signatures


def test_a_body_is_signed_as_the_specification_shows() -> None:
    secret, message_id, at_s = SPECIFIED
    signed = signature(signing_key(secret), message_id, at_s, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_package_of_standard_webhooks_takes_the_signature() -> None:
    webhooks = pytest.importorskip("standardwebhooks.webhooks")
    secret, body = derived_secret(b"k" * 32, "shop", 1), json.dumps({"type": "image_uploaded", "é": "ü"}).encode()
    at_s = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature(signing_key(secret), "msg_1", at_s, body),
    }
    assert webhooks.Webhook(secret).verify(body, headers) == json.loads(body)
    with pytest.raises(webhooks.WebhookVerificationError):
        webhooks.Webhook(secret).verify(body + b" ", headers)


# ---- when again


def test_the_longest_delay_grows_from_seconds_to_hours_and_no_further() -> None:
    longest = [retry_delay_s(tries, 1.0) for tries in range(1, 40)]
    assert longest[0] == RETRY_FIRST_S
    assert longest == sorted(longest)
    assert longest[-1] == RETRY_LAST_S


@pytest.mark.parametrize("tries", [1, 5, 1_000])
def test_the_whole_delay_is_random_but_never_nothing(tries: int) -> None:
    assert retry_delay_s(tries, 0.0) == RETRY_MIN_S
    half = retry_delay_s(tries, 0.5)
    assert RETRY_MIN_S < half < retry_delay_s(tries, 1.0)


def test_an_endpoint_may_ask_for_a_longer_delay_and_not_for_an_endless_or_a_shorter_one() -> None:
    assert retry_delay_s(1, 1.0, retry_after_s=60.0) == 60.0
    assert retry_delay_s(1, 1.0, retry_after_s=0.001) == RETRY_FIRST_S
    assert retry_delay_s(1, 1.0, retry_after_s=1e9) == RETRY_LAST_S


def test_only_days_of_failing_are_the_end() -> None:
    days_ms = int(DEAD_AFTER_S * 1000)
    assert is_dead(1, days_ms + 1)
    assert not is_dead(1, days_ms)
    assert not is_dead(0, days_ms * 2)
