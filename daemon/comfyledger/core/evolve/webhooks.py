"""What the events about webhooks make of their rows."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.events import Recorded, WebhookAdded, WebhookPaused, WebhookRemoved, WebhookResumed
from comfyledger.core.rows import Row, Slice
from comfyledger.core.webhooks import WebhookRow

WebhookEvent = WebhookAdded | WebhookRemoved | WebhookPaused | WebhookResumed


def webhook_changed(state: Slice, event: WebhookEvent, recorded: Recorded) -> tuple[Row, ...]:
    """One that is added anew is not paused. One that gets other values stays as it is, and goes on where it was."""
    row = state.webhook(event.name) or WebhookRow(event.name)
    match event:
        case WebhookAdded(url=url, kinds=kinds, generation=generation):
            fresh = row if row.present else replace(row, since=recorded.position, paused="")
            return (replace(fresh, url=url, kinds=kinds, generation=generation, present=True),)
        case WebhookRemoved():
            return (replace(row, present=False, paused=""),)
        case WebhookPaused(reason=reason):
            return (replace(row, paused=reason),)
        case WebhookResumed():
            return (replace(row, paused=""),)
