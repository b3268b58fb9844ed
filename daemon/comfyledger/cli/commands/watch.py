"""`watch`: shows batches live until each is settled."""

from __future__ import annotations

import click

from comfyledger.cli.base import DONE, asks_daemon, find_batch, json_option, list_batches
from comfyledger.cli.commands.status import say_waiting
from comfyledger.cli.ui.progress_view import follow_all, screen
from comfyledger.cli.ui.terminal import say_aside
from comfyledger.client import Client


@click.command()
@click.argument("batch", nargs=-1)
@json_option
@asks_daemon
async def watch(client: Client, batch: tuple[str, ...], as_json: bool) -> int:
    """Show batches live until each is settled; without BATCH, all open ones.

    Exits 0 if every image is stored, else 3.
    """
    batch_ids = [await find_batch(client, given) for given in batch]
    if not batch:
        batch_ids = [found.batch_id for found in await list_batches(client, open_only=True)]
    if not batch_ids:
        say_waiting(await client.server_info())
        say_aside("No batch is open.")
        return DONE
    with screen(as_json) as shown_on:
        return await follow_all(client, list(dict.fromkeys(batch_ids)), shown_on)
