"""`explain`: the whole story of an image, a batch or a number without an image, and what goes on from here."""

from __future__ import annotations

import re
from typing import Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, ID_SIGNS, PART_SIGNS_MIN, asks_daemon, find_batch, json_option
from comfyledger.cli.ui.terminal import clock, say, say_json, say_table
from comfyledger.cli.ui.timeline import timeline, took
from comfyledger.client import Client
from comfyledger.errors import Refused

_PART: Final = re.compile(rf"last|[0-9A-Za-z]{{{PART_SIGNS_MIN},{ID_SIGNS - 1}}}")
"""What may be a batch id in part: tried when nothing is called so."""
_PASSED: Final = {
    "held": "it was passed over: a store held higher numbers already when it was asked, so it may be taken there",
    "raised": "it was passed over: the series was raised above it, since it may have been given before",
    "unknown": "it was passed over, and no event says why: run an audit",
}
_ENDED: Final = {
    "failed": "There is no picture of this number: it could not be rendered. The number stays used.",
    "cancelled": "There is no picture of this number: it was cancelled. The number stays used.",
    "forgetting": "There is no picture of this number: it is being forgotten on purpose. The number stays used.",
    "forgotten": "There is no picture of this number: it was forgotten on purpose. The number stays used.",
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
        say_story(found)
    return DONE


async def _find(client: Client, what: str, user: str | None, character: str | None) -> wire.Explanation:
    try:
        return await client.explain(what, username=user, character=character)
    except Refused as refusal:
        if refusal.code != "unknown_image" or not _PART.fullmatch(what):
            raise
        return await client.explain(await find_batch(client, what))


def say_story(told: wire.Explanation) -> None:
    """A story on the screen: what it is about, the timeline, what is owed."""
    for line in heading(told):
        say(line, "bold" if line == heading(told)[0] else "")
    steps = timeline(told.events, whole=told.subject == "batch")
    if steps:
        say_table(("WHEN", "AFTER", "WHAT"), ((clock(step.at_ms), step.after, step.words) for step in steps), "  ")
    if told.left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in told.left_out.items())
        say(f"  Left out: {counts}. See `comfyledger log --batch {_batch_id(told)}`.")
    for line in ending(told):
        say(line)


def heading(told: wire.Explanation) -> list[str]:
    """What the story is about, in a few lines; of a number without an image, why there is none."""
    match told.subject:
        case "image" if told.image is not None and told.batch is not None:
            return [told.image.public_id, _image_line(told.image, told.batch), *_image_facts(told, told.image)]
        case "batch" if told.batch is not None:
            return [f"batch {told.batch.batch_id}", _batch_line(told.batch)]
        case "gap":
            return [f"number {told.number} of {told.series}", f"There is no image of it: {_PASSED[told.code]}."]
        case _:
            asked = f"The next one is {told.next}." if told.next else "The series has given no number so far."
            return [f"number {told.number} of {told.series}", f"It was never given. {asked}"]


def _image_line(image: wire.ImageInfo, batch: wire.BatchInfo) -> str:
    whose = f"{batch.username} · {batch.character}, asked for by {batch.label} as {batch.request_id}"
    return f"{image.state}: image {image.index} of {batch.quantity} of batch {batch.batch_id}, {whose}"


def _image_facts(told: wire.Explanation, image: wire.ImageInfo) -> list[str]:
    urls = [f"{upload.store}: {upload.url}" for upload in image.uploads if upload.url]
    ended, time = _ENDED.get(image.state), took(told.events)
    return [*([ended] if ended else []), *urls, *([f"It took {time}."] if time else [])]


def _batch_line(batch: wire.BatchInfo) -> str:
    counts = {state: getattr(batch, state) for state in _STATES}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return (
        f"{batch.status}: {batch.username} · {batch.character}, asked for by {batch.label}: {said} of {batch.quantity}"
    )


def ending(told: wire.Explanation) -> list[str]:
    """What is owed now, why it waits, and the command that goes on."""
    if not told.owed:
        return [] if told.subject in {"gap", "never"} else ["Nothing is owed."]
    lines = []
    for one in told.owed:
        which = f"images {', '.join(map(str, one.images[:12]))}{' …' if len(one.images) > 12 else ''}: "
        since = f" (since {clock(one.since_ms)})" if one.since_ms else ""
        lines.append(f"{_OWED[one.what]}: {which if told.subject == 'batch' and one.images else ''}{one.text}{since}")
        lines += [f"  go on with: {one.command}"] if one.command else []
    return lines


_STATES: Final = ("pending", "kept", "stored", "parked", "failed", "cancelled", "forgotten")

_OWED: Final = {
    "number": "owed: a number",
    "render": "owed: to be rendered",
    "fetch": "owed: to be fetched",
    "upload": "owed: to be stored",
    "delete": "owed: to be deleted",
    "decide": "a person has to decide",
}


def _batch_id(told: wire.Explanation) -> str:
    return told.batch.batch_id if told.batch is not None else ""
