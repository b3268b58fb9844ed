"""`log`: the events, as lines for people or as JSON lines.

Past events are read in pages that the daemon finds by index; the last ones are read backwards. New events come from a
subscription that begins where the pages ended, so that no event is missing between them and none comes twice.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Any, Final

import click
import msgspec
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, find_batch, json_option
from comfyledger.cli.ui.terminal import clock, say, say_json, short
from comfyledger.client import Client

LAST: Final = 50
PAGE: Final = 500
TEXT_CHARS_MAX: Final = 200
"""Characters of a text beside an event; `--json` has all of it."""
_LONG: Final = frozenset(
    ("batch_id", "template", "request_digest", "sha256", "md5", "words", "metadata", "inputs", "prompt_id", "user_key")
)
"""Fields that only `--json` shows."""
_RELATIVE: Final = re.compile(r"(\d+)(s|min|m|h|d|w)")
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

Show = Callable[[wire.LoggedEvent], None]


def moment(text: str, now_ms: int) -> int:
    """A typed time in milliseconds since 1970: ISO, in this machine's time zone, or `2h` for two hours ago.

    Raises ValueError.
    """
    relative = _RELATIVE.fullmatch(text.strip())
    if relative is not None:
        return now_ms - int(relative[1]) * _UNITS_MS[relative[2]]
    return int(datetime.fromisoformat(text.strip()).timestamp() * 1000)


def typed_moment(_: click.Context, __: click.Parameter, typed: str | None) -> int | None:
    try:
        return None if typed is None else moment(typed, time.time_ns() // 1_000_000)
    except (ValueError, OverflowError, OSError) as error:
        hint = "write 2026-11-22T03:00, or 90s, 30m, 2h, 7d for a time ago."
        raise click.BadParameter(f"{typed!r} is not a time; {hint}") from error


@click.command()
@click.option("--after", type=click.IntRange(0), help="Begin after this position.")
@click.option("--to", type=click.IntRange(0), help="End with this position.")
@click.option("--since", callback=typed_moment, help="Not before this time: 2026-11-22T03:00, or 2h for two hours ago.")
@click.option("--until", callback=typed_moment, help="Not after this time.")
@click.option("--batch", help="Only the events of this batch.")
@click.option("--user", help="Only the events of this user's batches.")
@click.option("--character", help="Only those of this character of --user.")
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; may be repeated.")
@click.option("--follow", "-f", is_flag=True, help="Then show new events as they come.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"How many: the first after --after or --since, else the last. Default: {LAST}, or all that is selected.",
)
@json_option
@asks_daemon
async def log(
    client: Client,
    after: int | None,
    to: int | None,
    since: int | None,
    until: int | None,
    batch: str | None,
    user: str | None,
    character: str | None,
    kinds: tuple[str, ...],
    follow: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show the events of the log."""
    if follow and (to is not None or until is not None):
        raise click.UsageError("--follow has no end; omit --to and --until.")
    if character is not None and user is None:
        raise click.UsageError("--character needs --user.")
    head = client.welcome
    wanted = wire.ReadLog(
        after=after or 0,
        upto=head.position if to is None else min(to, head.position),
        epoch=head.epoch,
        batch_id=await find_batch(client, batch) if batch else None,
        username=user,
        character=character,
        kinds=list(kinds) or None,
        since_ms=since,
        until_ms=until,
    )
    if limit is None and wanted == wire.ReadLog(upto=wanted.upto, epoch=head.epoch) and after is None and to is None:
        limit = LAST
    show = say_json if as_json else _say_event
    first = after is not None or since is not None
    shown = await _show_past(client, wanted, limit, first, show)
    rest = limit - shown if limit is not None and first else None
    if follow and rest != 0:
        await _show_live(client, wanted, head.position, rest, show)
    return DONE


async def _show_past(client: Client, wanted: wire.ReadLog, limit: int | None, first: bool, show: Show) -> int:
    """Show the first events, or the last ones. Returns how many were shown."""
    if limit is not None and not first:
        return await _show_last(client, wanted, limit, show)
    shown = 0
    async with contextlib.aclosing(read_pages(client, wanted, limit)) as past:
        async for event in past:
            show(event)
            shown += 1
    return shown


async def _show_last(client: Client, wanted: wire.ReadLog, limit: int, show: Show) -> int:
    """Read backwards from the end, and show in the order of the log."""
    async with contextlib.aclosing(read_pages(client, replace(wanted, reverse=True), limit)) as past:
        last = [event async for event in past]
    for event in reversed(last):
        show(event)
    return len(last)


async def read_pages(client: Client, wanted: wire.ReadLog, limit: int | None) -> AsyncGenerator[wire.LoggedEvent, None]:
    """Past events, page by page, at most `limit`."""
    left = limit
    while left is None or left > 0:
        page = await client.read_log(replace(wanted, limit=PAGE if left is None else min(left, PAGE)))
        for past in page.events:
            yield wire.LoggedEvent(
                "", page.epoch, past.position, past.kind, past.at_ms, past.stream, past.raw, past.texts
            )
        left = None if left is None else left - len(page.events)
        if not page.more:
            return
        wanted = replace(wanted, upto=page.position - 1) if wanted.reverse else replace(wanted, after=page.position)


def read_past(client: Client, head: wire.Welcome, after: int) -> AsyncGenerator[wire.LoggedEvent, None]:
    """Every event after a position, up to the end of the log that `head` names."""
    return read_pages(client, wire.ReadLog(after=after, upto=head.position, epoch=head.epoch), None)


async def _show_live(client: Client, wanted: wire.ReadLog, after: int, limit: int | None, show: Show) -> None:
    shown = 0
    async with contextlib.aclosing(_live(client, wanted, after)) as live:
        async for event in live:
            show(event)
            shown += 1
            if shown == limit:
                return


async def _live(client: Client, wanted: wire.ReadLog, after: int) -> AsyncGenerator[wire.LoggedEvent, None]:
    """New events after a position. A subscription selects no character, so each event is read again."""
    pushed = client.subscribe(
        after=after, epoch=wanted.epoch, batch_id=wanted.batch_id, username=wanted.username, kinds=wanted.kinds
    )
    async with contextlib.aclosing(pushed):
        async for event in pushed:
            if not isinstance(event, wire.LoggedEvent):
                continue
            if wanted.character is None:
                yield event
                continue
            one = replace(wanted, after=event.position - 1, upto=event.position)
            async with contextlib.aclosing(read_pages(client, one, 1)) as found:
                async for chosen in found:
                    yield chosen


def _say_event(event: wire.LoggedEvent) -> None:
    say(event_line(event))


def event_line(event: wire.LoggedEvent) -> str:
    """An event on one line: position, time, kind, stream, fields and texts."""
    data: dict[str, Any] = msgspec.json.decode(event.raw)
    stream = short(event.stream) if data.get("batch_id") == event.stream else event.stream
    words = " | ".join(text[:TEXT_CHARS_MAX] for text in event.texts.values())
    parts = (f"{event.position:>6}", clock(event.at_ms), f"{event.kind:<16}", stream, _said(event.kind, data), words)
    return "  ".join(filter(None, parts))


def _said(kind: str, data: dict[str, Any]) -> str:
    if kind == "batch_requested":
        names = [str(image.get("file")) for image in data.get("images", [])]
        span = f"{names[0]} … {names[-1]}" if len(names) > 1 else "".join(names)
        return f"{data.get('username')} · {data.get('character')}: {len(names)} × {data.get('workflow')}, {span}"
    left_out = _LONG | {"name"} if "url" in data else _LONG
    return " ".join(f"{key}={_brief(value)}" for key, value in data.items() if key not in left_out)


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_brief, value)) if len(value) <= 8 else f"[{len(value)}]"
    if isinstance(value, dict):
        return ":".join(_brief(item) for item in value.values())
    return str(value)
