"""`webhook`: adds, lists, tests, replays, pauses, resumes and removes webhooks."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, REFUSED, Group, asks_daemon, json_option
from comfyledger.cli.commands.log import moment
from comfyledger.cli.ui.terminal import clock, duration, say, say_aside, say_json, say_table, several
from comfyledger.client import Client
from comfyledger.errors import Refused

_HEADS: Final = ("WEBHOOK", "STATE", "WAITING", "ASIDE", "LAST TAKEN", "HOST")
_NEVER: Final = "never"
_WHY: Final = {
    "paused": "paused by a person",
    "gone": "paused, because its endpoint answered 410 (Gone)",
    "dead": "paused, because its endpoint took nothing for five days",
    "not_allowed": "delivers nothing, because webhooks_allowed does not describe its address any more",
}
"""Why a webhook delivers nothing, by its state."""


@click.group(cls=Group, name="webhook")
def webhook() -> None:
    """Have events delivered to web addresses, and see what was delivered."""


def _kinds(_: click.Context, __: click.Parameter, typed: tuple[str, ...]) -> list[str]:
    return [kind.strip() for words in typed for kind in words.split(",") if kind.strip()]


@webhook.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--kinds",
    multiple=True,
    callback=_kinds,
    metavar="KIND,...",
    help="Kinds of events. Default: image_uploaded, image_failed, image_parked and batch_settled.",
)
@json_option
@asks_daemon
async def add(client: Client, name: str, url: str, kinds: list[str], as_json: bool) -> int:
    """Deliver the events that follow to URL, and print the secret that signs them.

    `webhooks_allowed` of the configuration must describe URL. The same command again changes nothing and prints the
    same secret. Another URL gets a new secret.
    """
    added = await client.add_webhook(name, url, kinds=kinds)
    if as_json:
        say_json(added)
        return DONE
    say(f"{added.name} {'delivers' if added.changed else 'delivers already'} {', '.join(added.kinds)} to {added.url}.")
    say("Its secret, for the receiver:")
    say(added.secret, whole=True)
    say(f"`comfyledger webhook test {added.name}` sends a first request.")
    return DONE


@webhook.command(name="list")
@click.argument("name", required=False)
@json_option
@asks_daemon
async def list_(client: Client, name: str | None, as_json: bool) -> int:
    """List the webhooks: state, what waits, and why.

    With NAME: that one in detail. WAITING: for how long its oldest event has waited. ASIDE: events that its endpoint
    did not take although it took others, and those behind them.
    """
    listed = await client.list_webhooks()
    found = listed.webhooks
    if name is not None:
        one = _called(name, found)
        say_json(one) if as_json else _say_one(one)
    elif as_json:
        say_json(listed)
    elif not found:
        say("There is no webhook. See `comfyledger webhook add --help`, or [webhooks.NAME] of the configuration.")
    else:
        say_webhooks(found)
    return DONE


def say_webhooks(found: list[wire.WebhookInfo]) -> None:
    """The table of several, and below it what is wrong."""
    say_table(_HEADS, map(_row, found))
    for one in found:
        for line in problems(one):
            say(line, "yellow")


def _row(one: wire.WebhookInfo) -> tuple[str, ...]:
    waits = duration(one.behind_s) if one.behind_s else "-"
    host = one.url.partition("://")[2].partition("/")[0]
    return (one.name, one.state, waits, f"{one.owed:,}" if one.owed else "-", _taken(one), host)


def _taken(one: wire.WebhookInfo) -> str:
    ago_s = time.time() - one.delivered_ms / 1000
    return f"{duration(max(0.0, ago_s))} ago" if one.delivered_ms else _NEVER


def problems(one: wire.WebhookInfo) -> Iterator[str]:
    """Why it delivers nothing, fails, or has put events aside, each with what helps."""
    if one.state in _WHY:
        helps = "" if one.state == "not_allowed" else f"; `comfyledger webhook resume {one.name}` ends that"
        yield f"{one.name}: {_WHY[one.state]}{helps}."
    if one.state != "working" and one.text:
        yield f"{one.name}: {one.text}{_since(one)}{_again(one) if one.state == 'failing' else ''}"
    if one.owed and one.owed_first:
        first = one.owed_first[0]
        yield (
            f"{one.name}: {several(one.owed, 'event')} put aside, the first at position {first.position} "
            f"({first.code}); see `comfyledger webhook list {one.name}`."
        )


def _since(one: wire.WebhookInfo) -> str:
    return f" It has been so since {clock(one.failing_ms)}." if one.failing_ms else ""


def _again(one: wire.WebhookInfo) -> str:
    return f" The next try is {_due(one.next_ms)}." if one.next_ms else ""


def _due(at_ms: int) -> str:
    left_s = at_ms / 1000 - time.time()
    return f"in {duration(left_s)}" if left_s >= 1 else "due"


def _say_one(one: wire.WebhookInfo) -> None:
    say_table((one.name, ""), _facts(one))
    for line in problems(one):
        say(line, "yellow")
    if one.owed_first:
        say("")
        say_table(("POSITION", "TRIES", "NEXT TRY", "WHY", "STREAM"), map(_owed_row, one.owed_first))
        if one.owed > len(one.owed_first):
            say(f"and {one.owed - len(one.owed_first):,} more")


def _facts(one: wire.WebhookInfo) -> Iterator[tuple[str, str]]:
    yield "url", one.url
    yield "kinds", ", ".join(one.kinds)
    whose = "of batches whose request names it" if one.per_batch else "of all batches"
    yield "delivers", f"events {whose}"
    yield "origin", "the configuration" if one.origin == "configured" else "added while the daemon ran"
    yield "state", one.state
    yield (
        "position",
        f"{one.position:,}" + (f", {one.behind:,} behind the log" if one.behind else ", the end of the log"),
    )
    yield "last taken", _taken(one)


def _owed_row(owed: wire.OwedDelivery) -> tuple[str, ...]:
    behind = not owed.tries
    return (
        str(owed.position),
        str(owed.tries),
        "after the one before" if behind else _due(owed.next_ms),
        "-" if behind else owed.code,
        owed.stream,
    )


def _called(name: str, found: list[wire.WebhookInfo]) -> wire.WebhookInfo:
    for one in found:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in found) or "none"
    raise Refused("unknown_webhook", f"There is no webhook {name[:64]!r}.", hint=f"Known: {known}.")


@webhook.command()
@click.argument("name")
@json_option
@asks_daemon
async def test(client: Client, name: str, as_json: bool) -> int:
    """Send one signed request of the type webhook.test now. Exits 1 if it is not taken.

    What the webhook delivers does not change. It may be paused.
    """
    tested = await client.test_webhook(name)
    if as_json:
        say_json(tested)
    elif tested.taken:
        say(f"{name} took it within {tested.took_s:.2f} s.")
    else:
        say_aside(f"{tested.code}: {tested.text}")
    return DONE if tested.taken else REFUSED


@webhook.command()
@click.argument("name")
@click.option(
    "--since",
    required=True,
    help="The first event to deliver again: its position, or a time like 2026-11-22T03:00, or 2h for two hours ago.",
)
@click.option("--dry-run", is_flag=True, help="Only count; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@asks_daemon
async def replay(client: Client, name: str, since: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Deliver again what NAME has delivered since a position or a time.

    Each event has the webhook-id that it had, so a receiver that remembers ids takes none twice. `webhook pause` stops
    it on its way.
    """
    position, at_ms = _where(since)
    plan = await client.replay_webhook(name, since_position=position, since_ms=at_ms, dry_run=True)
    if not dry_run:
        if not yes and not as_json:
            click.confirm(f"To be delivered again to {name}: {_counted(plan)}. Do it?", abort=True, err=True)
        plan = await client.replay_webhook(name, since_position=position, since_ms=at_ms)
    if as_json:
        say_json(plan)
    elif dry_run:
        say(f"Would be delivered again to {name}: {_counted(plan)}.")
    else:
        say(f"On the way to {name} again: {_counted(plan)}. `comfyledger webhook pause {name}` stops that.")
    return DONE


def _where(since: str) -> tuple[int | None, int | None]:
    """A position, or a time in milliseconds since 1970."""
    if since.isascii() and since.isdigit():
        return int(since), None
    try:
        return None, moment(since, time.time_ns() // 1_000_000)
    except (ValueError, OverflowError, OSError) as error:
        hint = "write a position like 1200, a time like 2026-11-22T03:00, or 2h for two hours ago."
        raise click.BadParameter(f"{since!r} is neither a position nor a time; {hint}", param_hint="--since") from error


def _counted(plan: wire.WebhookReplayed) -> str:
    more = "more than " if plan.more else ""
    return f"{more}{several(plan.events, 'event')} from position {plan.position + 1} on"


@webhook.command()
@click.argument("name")
@json_option
@asks_daemon
async def pause(client: Client, name: str, as_json: bool) -> int:
    """Deliver nothing until NAME is resumed. What is under way ends."""
    _called(name, (await client.list_webhooks()).webhooks)
    changed = await client.pause(f"webhook:{name}")
    if as_json:
        say_json(changed)
    else:
        say(f"{name} delivers nothing. `comfyledger webhook resume {name}` has it go on where it was.")
    return DONE


@webhook.command()
@click.argument("name")
@json_option
@asks_daemon
async def resume(client: Client, name: str, as_json: bool) -> int:
    """Undo a pause, whatever its reason, and go on where NAME was."""
    _called(name, (await client.list_webhooks()).webhooks)
    changed = await client.resume(f"webhook:{name}")
    if as_json:
        say_json(changed)
    else:
        say(f"{name} delivers again, from where it was.")
    return DONE


@webhook.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@asks_daemon
async def remove(client: Client, name: str, yes: bool, as_json: bool) -> int:
    """Deliver nothing to NAME any more. One of the configuration is removed there.

    What waits is not delivered. If something does, this asks for confirmation.
    """
    known = [one for one in (await client.list_webhooks()).webhooks if one.name == name]
    for one in known:
        if (one.behind_s or one.owed) and not yes and not as_json:
            click.confirm(f"Events wait to be delivered to {name}, and would not be. Do it?", abort=True, err=True)
    gone = await client.remove_webhook(name)
    if as_json:
        say_json(gone)
        return DONE
    say(f"{name} is removed.")
    for one in known:
        say("To undo that, with a new secret:")
        say(f"  {_added_again(one)}", whole=True)
        say(f"  comfyledger webhook replay {name} --since {_first_owed(one)}", whole=True)
    return DONE


def _added_again(one: wire.WebhookInfo) -> str:
    return f"comfyledger webhook add {one.name} {shlex.quote(one.url)} --kinds {','.join(one.kinds)}"


def _first_owed(one: wire.WebhookInfo) -> int:
    return min([one.position, *(owed.position - 1 for owed in one.owed_first)]) + 1
