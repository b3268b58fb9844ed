"""`forget`: erases texts and files of an image, a batch or a user; the numbers stay used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, find_batch, json_option
from comfyledger.cli.commands.batches import image_option
from comfyledger.cli.ui.bars import live_line
from comfyledger.cli.ui.terminal import say, say_json, several
from comfyledger.client import Client

INPUTS: Final = "Input files that nothing else was made from go as well."


@click.command()
@click.argument("what", required=False)
@click.option("--user", help="Everything that this user requested, instead of WHAT.")
@image_option
@click.option("--stores", is_flag=True, help="Also delete our files from the stores.")
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@asks_daemon
async def forget(
    client: Client,
    what: str | None,
    user: str | None,
    indexes: tuple[int, ...],
    stores: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Erase prompts, inputs, graphs, error texts and files for good. Numbers and names stay used. Input files that
    nothing else was made from are erased too.

    WHAT is a batch, an image as BATCH_ID/INDEX, or the whole name of an image, folder included. Without --stores the
    files in the stores stay. Earlier backups still hold the erased texts.
    """
    if (what is None) == (user is None) or (user is not None and indexes):
        raise click.UsageError("Give a batch or an image, or --user NAME alone.")
    asked = await _asked(client, what, user, indexes, stores)
    plan = await _forget(client, asked, dry_run=True, as_json=as_json)
    if dry_run:
        return _say(plan, as_json)
    if not yes and not as_json:
        click.confirm(f"{counted(plan)} {INPUTS} This cannot be undone. Forget them?", abort=True, err=True)
    return _say(await _forget(client, asked, dry_run=False, as_json=as_json), as_json)


async def _asked(
    client: Client, what: str | None, user: str | None, indexes: tuple[int, ...], stores: bool
) -> wire.Forget:
    if what is None:
        return wire.Forget(username=user, stores=stores)
    if "/" in what:
        image = await client.get_image(what)
        return wire.Forget(image.batch_id, [image.index], stores=stores)
    return wire.Forget(await find_batch(client, what), list(indexes), stores=stores)


async def _forget(client: Client, asked: wire.Forget, *, dry_run: bool, as_json: bool) -> wire.Forgotten:
    """Forget page by page. Returns the sum of all pages."""
    done = wire.Forgotten(0, 0, dry_run=dry_run)
    with live_line(as_json) as bars:
        bar = bars.add_task("", total=None)
        async for page in _pages(client, asked, dry_run):
            done = summed(done, page)
            bars.update(bar, description=f"{several(done.images, 'image')} of {several(done.batches, 'batch')}")
    return done


async def _pages(client: Client, asked: wire.Forget, dry_run: bool) -> AsyncIterator[wire.Forgotten]:
    before: str | None = None
    while before != "":
        page = await client.forget(
            asked.batch_id,
            asked.images,
            username=asked.username,
            before=before,
            stores=asked.stores,
            dry_run=dry_run,
        )
        yield page
        before = page.before


def summed(done: wire.Forgotten, page: wire.Forgotten) -> wire.Forgotten:
    left = {store: done.left.get(store, 0) + page.left.get(store, 0) for store in {**done.left, **page.left}}
    return wire.Forgotten(
        done.batches + page.batches,
        done.images + page.images,
        done.texts + page.texts,
        done.deletions + page.deletions,
        left,
        dry_run=done.dry_run,
        inputs=done.inputs + page.inputs,
    )


def counted(found: wire.Forgotten) -> str:
    left = ", ".join(f"{count:,} in {store}" for store, count in sorted(found.left.items()))
    counts = f"{several(found.images, 'image')} of {several(found.batches, 'batch')}"
    asked = f"stores are asked to delete {several(found.deletions, 'file')}"
    return f"{counts}; {asked}" + (f", and keep {left}." if left else ".")


def _say(found: wire.Forgotten, as_json: bool) -> int:
    if as_json:
        say_json(found)
    elif found.dry_run:
        say(f"Would be forgotten: {counted(found)} {INPUTS}")
    else:
        inputs = f" Input files forgotten: {found.inputs:,}." if found.inputs else ""
        say(f"Forgotten: {counted(found)} Texts erased: {found.texts:,}.{inputs}")
    return DONE
