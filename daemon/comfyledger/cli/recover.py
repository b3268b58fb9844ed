"""`recover`: give a store up that is gone for good."""

from __future__ import annotations

import click

from comfyledger.cli.calling import DONE, asks_daemon, json_option
from comfyledger.cli.terminal import say, say_json
from comfyledger.client import Client


@click.command()
@click.option("--drop-store", metavar="NAME", required=True, help="Give up what is owed to this store.")
@click.option("--dry-run", is_flag=True, help="Say what would be given up, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether this is meant.")
@json_option
@asks_daemon
async def recover(client: Client, drop_store: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Give up what a store does not have yet. What it has stays there, and other stores get all of theirs."""
    plan = await client.recover(drop_store=drop_store, dry_run=True)
    if not dry_run:
        if not yes and not as_json:
            count = f"{plan.images} images of {plan.batches} batches"
            click.confirm(f"{count} will not go to {drop_store}. Give them up?", abort=True, err=True)
        plan = await client.recover(drop_store=drop_store)
    if as_json:
        say_json(plan)
    else:
        done = "would be given up" if dry_run else "given up"
        say(f"{plan.images} images of {plan.batches} batches {done} for the store {drop_store}.")
    return DONE
