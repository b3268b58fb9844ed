"""The webhooks that there are, of the configuration and of the log: where each delivers, and what."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from comfyledger.core.webhooks import WebhookRow, chosen_kinds, derived_secret, signing_key
from comfyledger.errors import Refused
from comfyledger.settings import Webhook, read_secret


class Target(msgspec.Struct, frozen=True):
    """Where a webhook delivers, and what. `key` signs, and is shown nowhere.

    `only_named`: only events of batches that name it. `since`: of the event that added it; 0 for the configuration.
    """

    name: str
    url: str
    kinds: frozenset[str]
    key: bytes
    is_configured: bool
    only_named: bool = False
    since: int = 0

    def __repr__(self) -> str:
        return f"Target({self.name!r})"


def configured(webhooks: Mapping[str, Webhook], environ: Mapping[str, str]) -> dict[str, Target]:
    """Those of the configuration, with their secrets. Raises Refused(config_invalid)."""
    return {name: _configured(name, webhook, environ) for name, webhook in webhooks.items()}


def _configured(name: str, webhook: Webhook, environ: Mapping[str, str]) -> Target:
    try:
        key = signing_key(read_secret(webhook.secret, environ))
    except ValueError as error:
        text = f"The secret of [webhooks.{name}] cannot be used: {error}."
        raise Refused("config_invalid", text, hint="Make one: `echo whsec_$(openssl rand -base64 32)`.") from None
    kinds = frozenset(chosen_kinds(webhook.kinds))
    return Target(name, webhook.url, kinds, key, is_configured=True, only_named=webhook.per_batch)


def added(row: WebhookRow, ledger_secret: bytes) -> Target:
    """One that was added at run time."""
    key = signing_key(derived_secret(ledger_secret, row.name, row.generation))
    return Target(row.name, row.url, frozenset(row.kinds), key, is_configured=False, since=row.since)
