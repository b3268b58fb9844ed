"""`batches`, `images`, `cancel`, `retry`, `priority`, `pause`, `resume`: list batches and images, and control them."""

from __future__ import annotations

from typing import Any, get_args

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, Lists, asks_daemon, find_batch, json_option
from comfyledger.cli.commands.log import typed_moment
from comfyledger.cli.offline_ledger import reads_ledger
from comfyledger.cli.ui.terminal import clock, say, say_json, say_table, short
from comfyledger.client import Client
from comfyledger.core.media import Medium
from comfyledger.core.values import RATING_MAX, VerdictAsked

STATES = ("pending", "kept", "stored", "parked", "failed", "cancelled", "forgetting", "forgotten")

limit_option = click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many.")
image_option = click.option(
    "--image",
    "indexes",
    type=click.IntRange(1),
    multiple=True,
    help="Only this image of the batch, counted from 1; may be repeated.",
)


@click.command()
@click.option("--user", help="Only those of this user.")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not settled.")
@click.option("--before", help="Continue after this batch of an earlier list.")
@limit_option
@json_option
@reads_ledger
async def batches(
    client: Lists, user: str | None, open_only: bool, before: str | None, limit: int, as_json: bool
) -> int:
    """List batches, newest first."""
    before = await find_batch(client, before) if before else None
    found = await client.list_batches(username=user, open_only=open_only, before=before, limit=limit)
    if as_json:
        say_json(found)
        return DONE
    say_batches(found.batches)
    if found.more:
        say(f"More: --before {found.batches[-1].batch_id}")
    return DONE


def say_batches(found: list[wire.BatchInfo], indent: str = "") -> None:
    rows = (
        (
            batch.batch_id,
            batch.status,
            f"{batch.stored}/{batch.quantity}",
            clock(batch.requested_at_ms)[5:16],
            f"{batch.username} · {batch.character}",
        )
        for batch in found
    )
    say_table(("BATCH", "STATUS", "STORED", "ASKED", "FOR"), rows, indent)
    held = [(batch.batch_id, batch.held_text) for batch in found if batch.held_text]
    if held:
        say_table(("HELD", "WHY"), held, indent)


@click.command()
@click.option("--batch", help="Only those of this batch.")
@click.option("--user", help="Only those of this user.")
@click.option("--character", help="Only those of this character.")
@click.option("--workflow", help="Only those of this configured workflow.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--code", help="Only those that failed, were parked or were cancelled with this code.")
@click.option(
    "--verdict", type=click.Choice(get_args(VerdictAsked)), help="Only those with this verdict, or without one."
)
@click.option("--rating", "rating_min", type=click.IntRange(1, RATING_MAX), help="Only those rated so high or higher.")
@click.option("--medium", type=click.Choice(get_args(Medium)), help="Only those that are expected to be of this kind.")
@click.option("--since", callback=typed_moment, help="Asked for not before this time: 2026-11-22T03:00, or 7d.")
@click.option("--until", callback=typed_moment, help="Asked for not after this time.")
@click.option("--before", help="Continue after this image of an earlier list, given as BATCH_ID/INDEX.")
@limit_option
@json_option
@reads_ledger
async def images(
    client: Lists,
    batch: str | None,
    user: str | None,
    since: int | None,
    until: int | None,
    before: str | None,
    limit: int,
    as_json: bool,
    **others: Any,
) -> int:
    """List images with their state, and where they are or why they are not stored."""
    batch = await find_batch(client, batch) if batch else None
    filters: Any = {**others, "batch_id": batch, "username": user, "since_ms": since, "until_ms": until}
    found = await client.list_images(before=before, limit=limit, **filters)
    if as_json:
        say_json(found)
        return DONE
    rows = ((short(image.batch_id), str(image.index), image.state, image.name, place(image)) for image in found.images)
    say_table(("BATCH", "INDEX", "STATE", "NAME", "WHERE OR WHY"), rows)
    if found.more:
        say(f"More: --before {found.images[-1].image_id}")
    return DONE


def place(image: wire.ImageInfo) -> str:
    """Where an image is, or why it is not stored."""
    if image.code or image.text:
        return f"{image.code}: {image.text}" if image.text else image.code
    return next((upload.url for upload in image.uploads if upload.url), "")


@click.command()
@click.argument("batch")
@image_option
@json_option
@asks_daemon
async def cancel(client: Client, batch: str, indexes: tuple[int, ...], as_json: bool) -> int:
    """Cancel what is not rendered yet, of a batch or of some of its images. Their numbers stay used."""
    return _say_changed("cancelled", await client.cancel(await find_batch(client, batch), indexes), as_json)


@click.command()
@click.argument("batch")
@image_option
@click.option(
    "--take",
    type=click.Choice(("first", "last", "all")),
    help="Which files to use if a run gave more files than images; all: the others get new numbers.",
)
@json_option
@asks_daemon
async def retry(client: Client, batch: str, indexes: tuple[int, ...], take: wire.Take | None, as_json: bool) -> int:
    """Retry what failed, was parked or is held, under the same numbers."""
    changed = await client.retry(await find_batch(client, batch), indexes, take=take)
    return _say_changed("retried", changed, as_json)


@click.command()
@click.argument("batch")
@click.argument("priority", type=click.Choice(wire.PRIORITIES))
@json_option
@asks_daemon
async def priority(client: Client, batch: str, priority: wire.Priority, as_json: bool) -> int:
    """Make a batch more or less urgent. What is at ComfyUI already stays there."""
    batch_id = await find_batch(client, batch)
    changed = await client.set_priority(batch_id, priority)
    return _say_done(f"The priority of batch {batch_id} is {priority}.", changed, as_json)


@click.command()
@click.argument("scope", default="everything")
@json_option
@asks_daemon
async def pause(client: Client, scope: str, as_json: bool) -> int:
    """Start no new work in SCOPE. SCOPE: everything, backend:NAME, store:NAME, user:NAME or batch:ID."""
    changed = await client.pause(await _whole(client, scope))
    return _say_done(f"Paused: {scope}.", changed, as_json)


@click.command()
@click.argument("scope", default="everything")
@json_option
@asks_daemon
async def resume(client: Client, scope: str, as_json: bool) -> int:
    """Undo a pause, or let a held batch continue. SCOPE is that of `pause`. A store or ComfyUI that does not work is
    tried now.
    """
    changed = await client.resume(await _whole(client, scope))
    said = f"{scope} does not work and is tried now. It goes on if it works." if changed.tried else f"Resumed: {scope}."
    return _say_done(said, changed, as_json)


async def _whole(client: Client, scope: str) -> str:
    kind, _, name = scope.partition(":")
    return f"batch:{await find_batch(client, name)}" if kind == "batch" else scope


def _say_changed(done: str, changed: wire.ChangedCount, as_json: bool) -> int:
    left = ", ".join(f"{count} {state}" for state, count in changed.left.items())
    sentence = f"{changed.images} {'image' if changed.images == 1 else 'images'} {done}."
    return _say_done(f"{sentence} Not changed: {left}." if left else sentence, changed, as_json)


def _say_done(sentence: str, changed: wire.ChangedCount, as_json: bool) -> int:
    if as_json:
        say_json({"images": changed.images, "left": changed.left})
    else:
        say(sentence)
    return DONE
