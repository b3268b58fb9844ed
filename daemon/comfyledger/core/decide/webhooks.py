"""What commands and reports about webhooks mean. How far a webhook has come is saved and is no event."""

from __future__ import annotations

from typing import Final

from comfyledger.core.commands import AddWebhook, PauseWebhook, RemoveWebhook, ResumeWebhook
from comfyledger.core.decide.recorder import Draft, Policy
from comfyledger.core.events import WebhookAdded, WebhookPaused, WebhookRemoved, WebhookResumed
from comfyledger.core.reports import WebhookEnded, WebhookProgressed, WebhookReport
from comfyledger.core.results import Changed, WebhookKnown
from comfyledger.core.webhooks import WebhookRow
from comfyledger.errors import Refused

ADDED_MAX: Final = 100
"""Webhooks that were added at run time and are present."""


def add_webhook(draft: Draft, command: AddWebhook) -> WebhookKnown:
    """With the values that it has already, nothing changes. Raises Refused(webhooks_limit)."""
    row = draft.state.webhook(command.name) or WebhookRow(command.name)
    if row.present and (row.url, row.kinds) == (command.url, command.kinds):
        return WebhookKnown(row.name, changed=False, generation=row.generation)
    others = [one for one in draft.state.webhooks() if one.name != command.name]
    if len(others) >= ADDED_MAX:
        text = f"{ADDED_MAX} webhooks have been added already."
        raise Refused("webhooks_limit", text, hint="Remove those that nobody needs any more.")
    is_same_place = row.present and row.url == command.url
    generation = row.generation if is_same_place else row.generation + 1
    draft.emit(WebhookAdded(command.name, command.url, command.kinds, generation, command.label))
    return WebhookKnown(command.name, changed=True, generation=generation)


def remove_webhook(draft: Draft, command: RemoveWebhook) -> WebhookKnown:
    """Raises Refused(unknown_webhook) for one that nobody added, or that is removed already."""
    row = draft.state.webhook(command.name)
    if row is None or not row.present:
        raise unknown_webhook(command.name)
    draft.emit(WebhookRemoved(command.name, command.label))
    return WebhookKnown(command.name, changed=True, generation=row.generation)


def unknown_webhook(name: str, path: str = "name") -> Refused:
    hint = "`comfyledger webhook list` lists all; those of the configuration are removed there."
    return Refused("unknown_webhook", f"There is no webhook {name[:64]!r} that was added.", hint=hint, path=path)


def pause_webhook(draft: Draft, command: PauseWebhook) -> Changed:
    """Pausing a paused one is not an error. A pause for another reason becomes that of the person."""
    row = draft.state.webhook(command.name) or WebhookRow(command.name)
    if row.paused != "person":
        draft.emit(WebhookPaused(command.name, "person", command.label))
    return Changed(0)


def resume_webhook(draft: Draft, command: ResumeWebhook) -> Changed:
    row = draft.state.webhook(command.name)
    if row is None or not row.paused:
        text = f"The webhook {command.name[:64]} is not paused."
        raise Refused("nothing_to_do", text, hint="See `comfyledger webhook list`.")
    draft.emit(WebhookResumed(command.name, command.label))
    return Changed(0)


def webhook_report(draft: Draft, report: WebhookReport, policy: Policy) -> None:
    """Progress is saved in the transaction of the group, so that it costs no sync of its own beside other messages. A
    pause that is there already stays what it is. What a box of a fleet has come to in an earlier term is not saved:
    another one has gone on since.
    """
    match report:
        case WebhookProgressed(progress=progress, term=term):
            if term == policy.term:
                draft.state.put([progress])
        case WebhookEnded(name=name, reason=reason):
            row = draft.state.webhook(name)
            if row is None or not row.paused:
                draft.emit(WebhookPaused(name, reason))
        case _:
            raise TypeError(f"no decision for {type(report).__name__}")
