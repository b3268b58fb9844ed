"""`explain`: the history of an image, a batch or a number without an image, and what happens next."""

from __future__ import annotations

from typing import Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, PART_OF_ID, asks_daemon, batches_fitting, find_batch, json_option
from comfyledger.cli.ui.terminal import clock, say, say_json, say_table
from comfyledger.cli.ui.timeline import timeline, took
from comfyledger.client import Client
from comfyledger.core.values import RATING_MAX
from comfyledger.errors import Refused

_PASSED: Final = {
    "held": "it was skipped: a store already had higher numbers when it was asked, so this one may be in use there",
    "raised": "it was skipped: the series was raised above it, since it may have been given before",
    "unknown": "it was skipped, and no event says why: run `comfyledger audit`",
}
_ENDED: Final = {
    "failed": "There is no image of this number: it could not be rendered. The number stays used.",
    "cancelled": "There is no image of this number: it was cancelled. The number stays used.",
    "forgetting": "There is no image of this number: it is being forgotten, as requested. The number stays used.",
    "forgotten": "There is no image of this number: it was forgotten, as requested. The number stays used.",
}


@click.command()
@click.argument("what")
@click.option("--user", help="The user, if WHAT is a number.")
@click.option("--character", help="The character, if WHAT is a number.")
@json_option
@asks_daemon
async def explain(client: Client, what: str, user: str | None, character: str | None, as_json: bool) -> int:
    """Show the history of an image, what is still owed, and why it waits.

    WHAT is the name of an image (with its folder or without), a batch id, BATCH_ID/INDEX, ComfyUI's prompt id, or a
    number together with --user and --character.
    """
    if (user is None) != (character is None):
        raise click.UsageError("--user and --character go together.")
    found = await _find(client, what, user, character)
    if as_json:
        say_json(found)
    else:
        say_explanation(found)
    return DONE


async def _find(client: Client, what: str, user: str | None, character: str | None) -> wire.Explanation:
    try:
        return await client.explain(what, username=user, character=character)
    except Refused as refusal:
        if refusal.code != "unknown_image" or not PART_OF_ID.fullmatch(what):
            raise
        if what != "last" and not await batches_fitting(client, what):
            raise
        return await client.explain(await find_batch(client, what))


def say_explanation(found: wire.Explanation) -> None:
    """Print what is explained, its timeline, and what is owed."""
    for line in heading(found):
        say(line, "bold" if line == heading(found)[0] else "")
    steps = timeline(found.events, whole=found.subject == "batch")
    if steps:
        say_table(("WHEN", "AFTER", "WHAT"), ((clock(step.at_ms), step.after, step.words) for step in steps), "  ")
    if found.left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in found.left_out.items())
        say(f"  Left out: {counts}. See `comfyledger log --batch {_batch_id(found)}`.")
    for line in (*descent(found), *ending(found)):
        say(line)


def heading(found: wire.Explanation) -> list[str]:
    """What is explained, in a few lines. For a number without an image: why there is none."""
    match found.subject:
        case "image" if found.image is not None and found.batch is not None:
            return [found.image.public_id, _image_line(found.image, found.batch), *_image_facts(found, found.image)]
        case "batch" if found.batch is not None:
            return [f"batch {found.batch.batch_id}", _batch_line(found.batch), *filter(None, (_origin(found),))]
        case "gap":
            return [f"number {found.number} of {found.series}", f"There is no image of it: {_PASSED[found.code]}."]
        case _:
            asked = f"The next one is {found.next}." if found.next else "The series has given no number yet."
            return [f"number {found.number} of {found.series}", f"It was never given. {asked}"]


def _image_line(image: wire.ImageInfo, batch: wire.BatchInfo) -> str:
    whose = f"{batch.username} · {batch.character}, asked for by {batch.label} as {batch.request_id}"
    return f"{image.state}: image {image.index} of {batch.quantity} of batch {batch.batch_id}, {whose}"


def _image_facts(found: wire.Explanation, image: wire.ImageInfo) -> list[str]:
    urls = [f"{upload.store}: {upload.url}" for upload in image.uploads if upload.url]
    ended, time = _ENDED.get(image.state), took(found.events)
    return [
        *filter(None, (ended, _review(image), _recipe(image), _origin(found))),
        *urls,
        *([f"It took {time}."] if time else []),
    ]


def _review(image: wire.ImageInfo) -> str:
    """What a person thinks of it; empty if nobody said."""
    rated = f"rated {image.rating} of {RATING_MAX}" if image.rating else ""
    said = ", ".join(filter(None, (image.verdict, rated)))
    return f"{said.capitalize()}." if said else ""


def _recipe(image: wire.ImageInfo) -> str:
    """The essentials of its recipe; empty if it has none any more."""
    if image.seed is None or image.state in {"forgetting", "forgotten"}:
        return ""
    others = [str(index) for index in image.run if index != image.index]
    beside = f", in one run with {'images' if len(others) > 1 else 'image'} {', '.join(others)}" if others else ""
    what = f"workflow {image.workflow}" if image.workflow else "a graph of the request"
    return f"Recipe: {what}, seed {image.seed}{beside}. See `comfyledger recipe {image.image_id}`."


def _origin(found: wire.Explanation) -> str:
    """From which image it descends; empty if from none."""
    return f"Made like {found.batch.like}." if found.batch is not None and found.batch.like else ""


def _batch_line(batch: wire.BatchInfo) -> str:
    counts = {state: getattr(batch, state) for state in _STATES}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return (
        f"{batch.status}: {batch.username} · {batch.character}, asked for by {batch.label}: {said} of {batch.quantity}"
    )


def descent(found: wire.Explanation) -> list[str]:
    """The files that it was made from, the batches that were made like it, and those that load it."""
    loads = [f"Made from {_file(one)}." for one in found.loads]
    like = [f"Batch {batch_id} was made like it." for batch_id in found.made_like]
    loading = [f"Batch {batch_id} loads it." for batch_id in found.loaded_by]
    return [
        *loads,
        *(["It was made from other files too."] if found.loads_more else []),
        *like,
        *(["There are others that were made like it."] if found.made_like_more else []),
        *loading,
        *(["There are others that load it."] if found.loaded_by_more else []),
    ]


def _file(one: wire.RecipeFile) -> str:
    return f"image {one.image}, as {one.input}" if one.image else f"input sha256:{one.sha256}, as {one.input}"


def ending(found: wire.Explanation) -> list[str]:
    """What is owed now, why it waits, and the command that helps."""
    if not found.owed:
        return [] if found.subject in {"gap", "never"} else ["Nothing is owed."]
    lines = []
    for one in found.owed:
        which = f"images {', '.join(map(str, one.images[:12]))}{' …' if len(one.images) > 12 else ''}: "
        since = f" (since {clock(one.since_ms)})" if one.since_ms else ""
        lines.append(f"{_OWED[one.what]}: {which if found.subject == 'batch' and one.images else ''}{one.text}{since}")
        lines += [f"  continue with: {one.command}"] if one.command else []
    return lines


_STATES: Final = ("pending", "kept", "stored", "parked", "failed", "cancelled", "forgotten")

_OWED: Final = {
    "number": "owed: a number",
    "render": "owed: to be rendered",
    "fetch": "owed: to be fetched",
    "upload": "owed: to be stored",
    "delete": "owed: to be deleted",
    "deliver": "owed: to be delivered",
    "decide": "a person has to decide",
}


def _batch_id(found: wire.Explanation) -> str:
    return found.batch.batch_id if found.batch is not None else ""
