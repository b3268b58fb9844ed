"""The rules of webhooks, and their rows: which events one delivers, under which id, signed how, and when again.

Pure: time and randomness are arguments. Which delivery is next is in `core.webhook_deliveries`.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from comfyledger.core.backoff import backoff
from comfyledger.core.events import KINDS
from comfyledger.errors import Refused

DEFAULT_KINDS: Final = ("image_uploaded", "image_failed", "image_parked", "batch_settled")
"""What most apps wait for: an image is in a store, will not come by itself, or the batch has ended."""
OWN_KINDS: Final = frozenset(kind for kind in KINDS if kind.startswith("webhook_"))
"""Events about webhooks are never delivered: one delivery would cause the next."""
DELIVERED: Final = tuple(kind for kind in KINDS if kind not in OWN_KINDS)

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (a word of Standard Webhooks)
SECRET_BYTES: Final = 32
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
"""The lengths that Standard Webhooks allows."""
RETRY_FIRST_S: Final = 5.0
RETRY_MIN_S: Final = 1.0
RETRY_LAST_S: Final = 6 * 3600.0
DEAD_AFTER_S: Final = 5 * 86_400.0
"""For so long a webhook is tried although nothing is taken. Then it is paused."""

Paused = Literal["", "person", "gone", "dead"]
"""Why nothing is delivered: a person paused it, the endpoint answered 410 (Gone), or nothing was taken for days."""


class WebhookRow(msgspec.Struct, frozen=True, gc=False):
    """What the log says about a webhook, by its name. One of the configuration has a row only once it was paused.

    The row of one that was removed stays, and is not `present`.
    """

    name: str
    url: str = ""
    """Where it was added at run time; empty for one of the configuration."""
    kinds: tuple[str, ...] = ()
    generation: int = 0
    """Counts the addresses that it had: each has its own secret."""
    since: int = 0
    """The position of the event that added it. It delivers what comes after."""
    present: bool = False
    """Whether it was added at run time, and not removed."""
    paused: Paused = ""


class OwedDelivery(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event that was put aside: its endpoint did not take it, or it waits behind such an event of its stream.

    `tries` counts those that failed; 0 for one that waits behind another. `next_ms`: when it is tried again, in
    milliseconds since 1970, as are all times. `code`: why it failed last.
    """

    position: int
    stream: str
    tries: int = 0
    next_ms: int = 0
    code: str = ""


class WebhookProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a webhook has come. It is saved beside the log and is no event.

    Everything up to `position` is delivered or `owed`. `ahead`: what is delivered beyond. `since`: the event that added
    the webhook, so that one that was removed and added again does not go on where the first one was.
    """

    name: str
    epoch: str
    position: int
    since: int = 0
    ahead: tuple[int, ...] = ()
    owed: tuple[OwedDelivery, ...] = ()
    delivered_ms: int = 0
    """When an event was delivered last; 0 for never."""
    failing_ms: int = 0
    """Since when nothing is taken, though there is something to deliver; 0 if all is well."""
    tries: int = 0
    """Failed tries in a row since then."""
    code: str = ""
    """Why the last try failed: `http_503`, `timeout`, `not_reached` and others; empty if it did not."""
    text: str = ""
    """The same for people."""


def chosen_kinds(kinds: Iterable[str], path: str = "kinds") -> tuple[str, ...]:
    """The kinds of events, each once; the default for none. Raises Refused(invalid_field)."""
    chosen = tuple(dict.fromkeys(kinds)) or DEFAULT_KINDS
    for kind in chosen:
        if kind not in DELIVERED:
            why = "Events about webhooks are not delivered" if kind in OWN_KINDS else "There is no such event"
            near = difflib.get_close_matches(kind, DELIVERED, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(DELIVERED)}."
            raise Refused("invalid_field", f"{why}: {kind[:64]!r}.", hint=hint, path=path)
    return chosen


# ---- ids and signatures


def delivery_id(ledger_id: str, webhook: str, position: int, event_hash: bytes) -> str:
    """The `webhook-id` of one event for one webhook: the same at each try, and after a restore.

    `event_hash`: of the event in the chain. After a restore another event may have the same position, and then another
    id.
    """
    named = f"{ledger_id}\n{webhook}\n{position}\n".encode() + event_hash
    return f"msg_{hashlib.sha256(named).hexdigest()[:32]}"


def derived_secret(ledger_secret: bytes, webhook: str, generation: int) -> str:
    """The secret of a webhook that was added at run time, as receivers write it. The log does not have it."""
    key = hmac.digest(ledger_secret, f"comfyledger webhook 1\n{webhook}\n{generation}".encode(), "sha256")
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signing_key(secret: str) -> bytes:
    """The bytes of a secret: `whsec_` and Base64 of 24 to 64 bytes. Raises ValueError with what is wrong."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("it is not Base64 after `whsec_`") from None
    if not secret.startswith(SECRET_PREFIX) or not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError(f"it is not `whsec_` and Base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return key


def signature(key: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """The header `webhook-signature`: an HMAC-SHA256 over id, time and body.

    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    signed = f"{message_id}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


# ---- when again


def retry_delay_s(tries: int, chance: float, retry_after_s: float = 0.0) -> float:
    """Seconds until the next try, after `tries` that failed: from seconds to hours, with full jitter.

    `chance` is from 0 to 1. What the endpoint itself asks for (`Retry-After`) is waited for, up to the longest delay.
    Source of the full jitter: "Exponential Backoff And Jitter", the AWS architecture blog, 2015.
    """
    delay = max(RETRY_MIN_S, backoff(tries, RETRY_FIRST_S, RETRY_LAST_S, chance))
    return max(delay, min(retry_after_s, RETRY_LAST_S))


def is_dead(failing_ms: int, now_ms: int) -> bool:
    """Whether nothing was taken for so long that the webhook is paused. `failing_ms`: since when; 0 for not failing."""
    return failing_ms > 0 and now_ms - failing_ms >= DEAD_AFTER_S * 1000
