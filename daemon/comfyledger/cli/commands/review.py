"""`review`: approves, rejects or rates images; what is rejected may be forgotten, after a person agreed."""

from __future__ import annotations

from collections.abc import Iterable

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, PART_OF_ID, asks_daemon, batches_fitting, find_batch, json_option
from comfyledger.cli.commands.forget import INPUTS, counted, summed
from comfyledger.cli.ui.terminal import say, say_json, several
from comfyledger.client import Client
from comfyledger.core.values import RATING_MAX


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--approve", "verdict", flag_value="approved", help="The images are good.")
@click.option("--reject", "verdict", flag_value="rejected", help="The images are not good.")
@click.option("--rating", type=click.IntRange(0, RATING_MAX), help="How good they are, from 1 to 5; 0 for no rating.")
@click.option("--clear", is_flag=True, help="Take verdict and rating back.")
@click.option("--forget", is_flag=True, help="With --reject: also erase their files and texts for good.")
@click.option("--stores", is_flag=True, help="With --forget: also delete our files from the stores.")
@click.option("--yes", is_flag=True, help="With --forget: do not ask for confirmation.")
@json_option
@asks_daemon
async def review(
    client: Client,
    images: tuple[str, ...],
    verdict: wire.VerdictAsked | None,
    rating: int | None,
    clear: bool,
    forget: bool,
    stores: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Approve, reject or rate images, or take that back.

    IMAGE is BATCH_ID/INDEX, or the whole name of an image, folder included. Either all images are reviewed or none.
    """
    _check(verdict, rating, clear=clear, forget=forget, stores=stores)
    if clear:
        verdict, rating = "none", 0
    named = await _with_whole_ids(client, images)
    if forget and not yes and not as_json:
        plan = await _planned(client, named, stores=stores)
        click.confirm(f"{counted(plan)} {INPUTS} This cannot be undone. Reject and forget them?", abort=True, err=True)
    done = await client.review(named, verdict=verdict, rating=rating, forget=forget, stores=stores)
    if as_json:
        say_json(done)
    else:
        _say(done)
    return DONE


def _check(verdict: str | None, rating: int | None, *, clear: bool, forget: bool, stores: bool) -> None:
    """Raises click.UsageError."""
    if clear and (verdict is not None or rating is not None):
        raise click.UsageError("--clear takes verdict and rating back; give it alone.")
    if not clear and verdict is None and rating is None:
        raise click.UsageError("Give --approve, --reject, --rating or --clear.")
    if forget and verdict != "rejected":
        raise click.UsageError("--forget needs --reject.")
    if stores and not forget:
        raise click.UsageError("--stores needs --forget.")


async def _with_whole_ids(client: Client, images: Iterable[str]) -> list[str]:
    """The images, those that are named by a part of a batch id with the whole id. Raises Refused(unknown_batch)."""
    named = [image.rpartition("/") for image in images]
    parts = {batch for batch, _, index in named if index.isdigit() and PART_OF_ID.fullmatch(batch)}
    ids = {
        part: await find_batch(client, part)
        for part in parts
        if part == "last" or await batches_fitting(client, part)  # else it is a folder
    }
    return [f"{ids.get(batch, batch)}{slash}{index}" for batch, slash, index in named]


async def _planned(client: Client, images: Iterable[str], *, stores: bool) -> wire.Forgotten:
    """What would be forgotten. Raises Refused(unknown_image)."""
    indexes: dict[str, list[int]] = {}
    for name in images:
        image = await client.get_image(name)
        indexes.setdefault(image.batch_id, []).append(image.index)
    plan = wire.Forgotten(0, 0, dry_run=True)
    for batch_id, of_batch in indexes.items():
        plan = summed(plan, await client.forget(batch_id, sorted(set(of_batch)), stores=stores, dry_run=True))
    return plan


def _say(done: wire.Reviewed) -> None:
    same = len(done.images) - done.changed
    say(f"{several(done.changed, 'image')} reviewed." + (f" Reviewed so already: {same:,}." if same else ""))
    if done.forgotten is not None:
        say(f"Forgotten: {counted(done.forgotten)} Texts erased: {done.forgotten.texts:,}.")
