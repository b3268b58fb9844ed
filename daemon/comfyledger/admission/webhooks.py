"""Webhooks: what clients add, remove, test and replay, and which one a request may name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from comfyledger import wire
from comfyledger.core.commands import AddWebhook, PauseWebhook, RemoveWebhook, ResumeWebhook
from comfyledger.core.decide.webhooks import unknown_webhook
from comfyledger.core.urls import shown_url
from comfyledger.core.webhooks import chosen_kinds, derived_secret
from comfyledger.errors import Refused
from comfyledger.ledger.ports import LogWanted
from comfyledger.queries import webhooks as lists
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.fleet import other_box
from comfyledger.queries.webhook_payload import test_body
from comfyledger.settings import Webhook
from comfyledger.settings.backend_urls import backend_url, is_allowed
from comfyledger.workers.webhooks.deliverer import Deliverer

COUNTED_MAX: Final = 100_000
_PAGE: Final = 2_000
SCOPE: Final = "webhook"

Message = wire.AddWebhook | wire.RemoveWebhook | wire.ListWebhooks | wire.TestWebhook | wire.ReplayWebhook
MESSAGES: Final = (wire.AddWebhook, wire.RemoveWebhook, wire.ListWebhooks, wire.TestWebhook, wire.ReplayWebhook)


async def answer(context: Dependencies, label: str, message: Message) -> wire.Answer:
    """The reply to a request. Raises Refused."""
    try:
        match message:
            case wire.AddWebhook():
                return await _add(context, label, message)
            case wire.RemoveWebhook(name=name):
                await context.engine.command(RemoveWebhook(label, name))
                return wire.RemovedWebhook(name)
            case wire.ListWebhooks():
                return wire.Webhooks(list(lists.infos(context.webhooks, context.view)))
            case wire.TestWebhook(name=name):
                return await _test(_deliverer(context, name), name, context.webhooks.wall_ms())
            case wire.ReplayWebhook():
                return await _replay(context, message)
    except Refused as refusal:
        raise (refusal.below("$.data") if refusal.path else refusal) from refusal


async def _add(context: Dependencies, label: str, message: wire.AddWebhook) -> wire.AddedWebhook:
    """Raises Refused(invalid_field, webhook_not_allowed, webhook_exists, webhooks_limit)."""
    try:
        url = backend_url(message.url)
    except ValueError as error:
        text = f"{shown_url(message.url)!r} is not an address for a webhook: {error}."
        hint = "Write it like https://shop.example/hooks/images, without a user or a query."
        raise Refused("invalid_field", text, hint=hint, path="url") from error
    context.webhooks.check(message.name, url)
    kinds = chosen_kinds(message.kinds)
    known = await context.engine.command(AddWebhook(label, message.name, url, kinds))
    secret = derived_secret(context.view.secret, message.name, known.generation)
    return wire.AddedWebhook(message.name, url, list(kinds), secret, known.changed)


def _deliverer(context: Dependencies, name: str) -> Deliverer:
    """Raises Refused(unknown_webhook, webhook_not_allowed)."""
    try:
        return context.webhooks[name]
    except KeyError:
        for target, _, _ in context.webhooks.all():
            if target.name == name:
                context.webhooks.check(name, target.url)
        raise unknown_webhook(name) from None


async def _test(deliverer: Deliverer, name: str, now_ms: int) -> wire.WebhookTested:
    begun = time.monotonic()
    fault = await deliverer.post(f"msg_test_{now_ms}", test_body(name, now_ms))
    took_s = round(time.monotonic() - begun, 3)
    if fault is None:
        return wire.WebhookTested(taken=True, took_s=took_s)
    return wire.WebhookTested(taken=False, took_s=took_s, code=fault.code, text=fault.text)


async def _replay(context: Dependencies, message: wire.ReplayWebhook) -> wire.WebhookReplayed:
    """Raises Refused(unknown_webhook, unknown_position, invalid_field)."""
    deliverer = _deliverer(context, message.name)
    before = await _before(context, message)
    upto = deliverer.progress.position
    if before >= upto:
        text = f"It has delivered nothing after position {before}; it is at {upto}."
        raise Refused("nothing_to_do", text, hint="Give an earlier position or time.")
    events, more = await _count(context, deliverer, before, upto)
    if not message.dry_run:
        _check_delivers(context)
        await deliverer.replay(before)
    return wire.WebhookReplayed(before, events, more, message.dry_run)


def _check_delivers(context: Dependencies) -> None:
    """Raises Refused(other_box)."""
    if not context.webhooks.delivers:
        heard = (box.name for box in context.fleet.boxes() if box.about.delivers and box.name != context.fleet.own)
        raise other_box(context, next(heard, ""), "Another box of the fleet delivers the webhooks.")


async def _before(context: Dependencies, message: wire.ReplayWebhook) -> int:
    """The position before the first event that is delivered again."""
    if (message.since_position is None) == (message.since_ms is None):
        text = "Give either since_position or since_ms."
        raise Refused("invalid_field", text, hint="`--since` takes a position or a time.", path="since_position")
    if message.since_position is not None:
        if message.since_position > context.view.position:
            text = f"The log ends at {context.view.position}."
            raise Refused("unknown_position", text, hint="Give a position of the log.", path="since_position")
        return max(0, message.since_position - 1)
    return await _before_time(context, message.since_ms)


async def _before_time(context: Dependencies, since_ms: int | None) -> int:
    """Of a long log, one call looks through a part only."""
    after, more = 0, True
    while more:
        found = await context.unlimited.log_lines(LogWanted(after=after, since_ms=since_ms, limit=1))
        if found.lines:
            return found.lines[0].position - 1
        after, more = found.position, found.more
    return context.view.position


async def _count(context: Dependencies, deliverer: Deliverer, after: int, upto: int) -> tuple[int, bool]:
    """How many events of its kinds lie between two positions, and whether there are more than were counted."""
    kinds, count = deliverer.target.kinds, 0
    while after < upto:
        page = await context.unlimited.log_lines(LogWanted(after=after, upto=upto, kinds=kinds, limit=_PAGE))
        for line in page.lines:
            count += bool(await deliverer.sends(line))
            if count >= COUNTED_MAX:
                return count, True
        if not page.more:
            break
        after = page.position
    return count, False


def scoped(context: Dependencies, label: str, name: str, *, pause: bool) -> PauseWebhook | ResumeWebhook | None:
    """The command that pauses or resumes a webhook; None if there is none of this name."""
    if name not in {target.name for target, _, _ in context.webhooks.all()}:
        return None
    return PauseWebhook(label, name) if pause else ResumeWebhook(label, name)


def named(asked: str | None, webhooks: Mapping[str, Webhook]) -> tuple[str, str]:
    """The webhook that a request names, and the address if it gives one; both empty if it names none.

    Raises Refused(unknown_webhook, webhook_not_allowed).
    """
    if not asked:
        return "", ""
    if "://" not in asked:
        if asked not in webhooks:
            hint = f"Configured: {', '.join(sorted(webhooks)) or 'none'}."
            text = f"The configuration has no webhook {asked[:64]!r}."
            raise Refused("unknown_webhook", text, hint=hint, path="$.data.webhook")
        return asked, ""
    entries = [(len(one.url), name) for name, one in webhooks.items() if one.per_batch and _is_below(asked, one.url)]
    if not entries:
        text = f"{shown_url(asked)[:200]!r} is below no [webhooks.NAME] with `per_batch = true`."
        hint = "Name a webhook of the configuration, or give an address with its scheme, host, port and path."
        raise Refused("webhook_not_allowed", text, hint=hint, path="$.data.webhook")
    return max(entries)[1], backend_url(asked)


def _is_below(asked: str, entry: str) -> bool:
    """Whether scheme, host and port are equal, and the path begins with the same segments."""
    try:
        return is_allowed(asked, [entry])
    except ValueError:
        return False
