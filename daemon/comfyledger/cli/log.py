"""`log`: the events, as lines for people or as JSON lines.

What is past is read from an unfiltered subscription up to the position that the daemon named at the hello, and chosen
from here: only so it is known when the end is reached. What is to come is chosen by the daemon.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, NamedTuple

import click
import msgspec

from comfyledger import wire
from comfyledger.cli.calling import DONE, asks_daemon, find_batch, json_option, list_batches
from comfyledger.cli.terminal import clock, say, say_json, short
from comfyledger.client import Client

LAST: Final = 50
TEXT_SIGNS_MAX: Final = 200
"""Of a text beside an event; `--json` gives all of it."""
_LONG: Final = frozenset(
    ("batch_id", "template", "request_digest", "sha256", "md5", "words", "metadata", "inputs", "prompt_id", "user_key")
)
"""Fields that people look up with `--json`."""


class Wanted(NamedTuple):
    """Which events: a batch id, a user with the ids of their batches, kinds. What is empty lets all pass."""

    batch_id: str | None
    username: str | None
    streams: frozenset[str]
    kinds: tuple[str, ...]

    def takes(self, event: wire.LoggedEvent) -> bool:
        return (
            (self.batch_id is None or event.stream == self.batch_id)
            and (self.username is None or event.stream in self.streams)
            and (not self.kinds or event.kind in self.kinds)
        )

    @property
    def all(self) -> bool:
        return self.batch_id is None and self.username is None and not self.kinds


@click.command()
@click.option("--after", type=click.IntRange(0), help="Begin after this position.")
@click.option("--batch", help="Only the events of this batch.")
@click.option("--user", help="Only the events of this user's batches.")
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; repeat it.")
@click.option("--follow", "-f", is_flag=True, help="Stay and show what happens from now on.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"The first so many after --after, else the last so many. Default: {LAST} if nothing else is asked for.",
)
@json_option
@asks_daemon
async def log(
    client: Client,
    after: int | None,
    batch: str | None,
    user: str | None,
    kinds: tuple[str, ...],
    follow: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show what happened, event by event."""
    show = _say_event_json if as_json else _say_event
    wanted = await _wanted(client, batch, user, kinds)
    if limit is None and after is None and wanted.all:
        limit = LAST
    head = client.welcome
    shown = await _show_past(client, head, wanted, after, limit, show)
    rest = None if after is None or limit is None else limit - shown
    if follow and rest != 0:
        await _show_live(client, head, wanted, rest, show)
    return DONE


async def _wanted(client: Client, batch: str | None, user: str | None, kinds: tuple[str, ...]) -> Wanted:
    batch_id = await find_batch(client, batch) if batch else None
    streams = [found.batch_id for found in await list_batches(client, username=user)] if user else []
    return Wanted(batch_id, user, frozenset(streams), kinds)


Show = Callable[[wire.LoggedEvent], None]


async def _show_past(
    client: Client, head: wire.Welcome, wanted: Wanted, after: int | None, limit: int | None, show: Show
) -> int:
    """How many were shown. Without `after` the end is known only when it is reached, so the last ones are kept."""
    past = read_past(client, head, await _start(client, head, wanted, after, limit))
    shown = 0
    last: deque[wire.LoggedEvent] = deque(maxlen=limit)
    async with contextlib.aclosing(past):
        async for event in past:
            if wanted.takes(event) and (limit is None or after is not None):
                show(event)
                shown += 1
            elif wanted.takes(event):
                last.append(event)
            if limit is not None and shown == limit:
                break
    for event in last:
        show(event)
    return shown + len(last)


async def _start(client: Client, head: wire.Welcome, wanted: Wanted, after: int | None, limit: int | None) -> int:
    """The position after which something may be wanted."""
    if after is not None:
        return after
    if wanted.batch_id is not None:
        return (await client.get_batch(wanted.batch_id)).position - 1
    return max(0, head.position - limit) if wanted.all and limit is not None else 0


async def read_past(client: Client, head: wire.Welcome, after: int) -> AsyncGenerator[wire.LoggedEvent, None]:
    """Every event after a position, up to the end of the log as a welcome told it."""
    if after == head.position:
        return
    pushed = client.subscribe(after=after, epoch=head.epoch)
    async with contextlib.aclosing(pushed):
        async for event in pushed:
            if isinstance(event, wire.LoggedEvent):
                yield event
                if event.position >= head.position:
                    return


async def _show_live(client: Client, head: wire.Welcome, wanted: Wanted, limit: int | None, show: Show) -> None:
    pushed = client.subscribe(
        after=head.position,
        epoch=head.epoch,
        batch_id=wanted.batch_id,
        username=wanted.username,
        kinds=wanted.kinds or None,
    )
    shown = 0
    async with contextlib.aclosing(pushed):
        async for event in pushed:
            if isinstance(event, wire.LoggedEvent):
                show(event)
                shown += 1
            if shown == limit:
                return


def _say_event_json(event: wire.LoggedEvent) -> None:
    say_json(event)


def _say_event(event: wire.LoggedEvent) -> None:
    say(event_line(event))


def event_line(event: wire.LoggedEvent) -> str:
    """An event on one line: position, time, stream, kind, what it says."""
    data: dict[str, Any] = msgspec.json.decode(event.data)
    stream = short(event.stream) if data.get("batch_id") == event.stream else event.stream
    words = " | ".join(text[:TEXT_SIGNS_MAX] for text in event.texts.values())
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
