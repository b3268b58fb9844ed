"""How each webhook is: what it delivers, how far it has come, and why something waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.rows import BatchRow
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.engine import EngineView
from comfyledger.ledger.eventlog import Line
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.webhook_reasons import owed_to
from comfyledger.wire.answers.webhooks import WebhookState
from comfyledger.workers.webhooks.deliverer import Deliverer
from comfyledger.workers.webhooks.target import Target
from comfyledger.workers.webhooks.webhooks import Webhooks

OWED_SHOWN: Final = 20
_PAUSED: Final[dict[str, WebhookState]] = {"person": "paused", "gone": "gone", "dead": "dead"}


def infos(webhooks: Webhooks, view: EngineView) -> Iterator[wire.WebhookInfo]:
    """All of them, by name."""
    for target, row, deliverer in webhooks.all():
        progress = deliverer.progress if deliverer is not None else webhooks.saved(target.name)
        yield _info(target, row, deliverer, progress, view.position, webhooks.wall_ms())


def briefly(webhooks: Webhooks, view: EngineView) -> list[wire.WebhookInfo]:
    """The same for whoever may read: a path may hold a secret, as those of chat services do."""
    return [replace(one, url=_server(one.url)) for one in infos(webhooks, view)]


def _server(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def owed(context: Dependencies, batch: BatchRow, lines: list[Line]) -> Iterator[wire.OwedInfo]:
    """What waits to be delivered of a batch, or of the part of it that `lines` are. A token that sees its own work only
    learns of the webhook that the batch names.
    """
    now_ms = context.webhooks.wall_ms()
    for target, row, deliverer in context.webhooks.all():
        if context.only is None or target.name == batch.webhook:
            progress = deliverer.progress if deliverer is not None else context.webhooks.saved(target.name)
            info = _info(target, row, deliverer, progress, context.view.position, now_ms)
            yield from owed_to(target, info, progress, batch, lines)


def _info(
    target: Target, row: WebhookRow, deliverer: Deliverer | None, progress: WebhookProgress, head: int, now_ms: int
) -> wire.WebhookInfo:
    oldest_ms = deliverer.oldest_ms() if deliverer is not None else 0
    return wire.WebhookInfo(
        name=target.name,
        url=target.url.partition("?")[0],
        kinds=sorted(target.kinds),
        origin="configured" if target.is_configured else "added",
        state=_state(row, deliverer, progress),
        position=progress.position,
        behind=max(0, head - progress.position),
        behind_s=max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0,
        delivered_ms=progress.delivered_ms,
        failing_ms=progress.failing_ms,
        next_ms=deliverer.deliveries.next_ms if deliverer is not None else 0,
        code=progress.code,
        text=progress.text,
        owed=len(progress.owed),
        owed_first=[
            wire.OwedDelivery(one.position, one.stream, one.tries, one.next_ms, one.code)
            for one in progress.owed[:OWED_SHOWN]
        ],
        per_batch=target.only_named,
    )


def _state(row: WebhookRow, deliverer: Deliverer | None, progress: WebhookProgress) -> WebhookState:
    if deliverer is None:
        return "not_allowed"
    return _PAUSED.get(row.paused) or ("failing" if progress.tries else "working")
