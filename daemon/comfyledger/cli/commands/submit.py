"""`submit`: requests a batch."""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, json_option
from comfyledger.cli.ui.progress_view import follow_all, screen
from comfyledger.cli.ui.terminal import plain, say, say_aside, say_json, say_table
from comfyledger.client import Client, read_workflow
from comfyledger.errors import Refused

_UNDECIDED: Final = frozenset({"not_running", "timeout", "protocol_version", "internal"})
"""The connection or the answer was lost, so the daemon may have made the batch."""


def input_pair(given: str) -> tuple[str, wire.Scalar]:
    """Parse NAME=VALUE. VALUE is a JSON scalar, `@FILE` for the text of a file, or else text."""
    name, found, text = given.partition("=")
    if not found or not name:
        raise click.BadParameter(f"{given!r} is not NAME=VALUE.")
    return name, _read(text[1:]).removesuffix("\n") if text.startswith("@") else scalar(text)


def input_values(given: str) -> tuple[str, list[wire.Scalar]]:
    """Parse NAME=V1,V2: each as in `input_pair`. Texts with commas come as a JSON list."""
    name, found, text = given.partition("=")
    if not found or not name:
        raise click.BadParameter(f"{given!r} is not NAME=V1,V2.")
    if not text.startswith("["):
        return name, [scalar(one) for one in text.split(",")]
    values: list[wire.Scalar] = _json(text, list, "list")
    return name, values


def _swept(each: Iterable[tuple[str, list[wire.Scalar]]]) -> dict[str, list[wire.Scalar]]:
    """The values of an input that is named again are more of its values."""
    found: dict[str, list[wire.Scalar]] = {}
    for name, values in each:
        found.setdefault(name, []).extend(values)
    return found


def workflow_or_graph(given: str) -> str | dict[str, Any]:
    """The name of a configured workflow, or the workflow in a file: a path, or a name that ends as such files do."""
    if "/" not in given and not given.lower().endswith((".json", ".png", ".webp")):
        return given
    try:
        return read_workflow(given)
    except Refused as refusal:
        raise click.BadParameter(f"{given!r}: {refusal.message} {refusal.hint}") from refusal


def seed_or_change(given: str) -> int | str:
    """A number, `random`, or `+` and a number."""
    if given == "random" or re.fullmatch(r"\+[0-9]{1,16}", given):
        return given
    try:
        return int(given)
    except ValueError as error:
        raise click.BadParameter(f"{given!r} is not a number, `random` or `+1`.") from error


def images_file(path: str) -> list[Any]:
    images: list[Any] = _json(_read(path), list, "list")
    return images


def json_object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = _json(text, dict, "object")
    return found


def _read(path: str) -> str:
    """The text of a file; `-` is standard input."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
        return text.removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error}") from error


def _json(text: str, kind: type, called: str) -> Any:
    try:
        found = json.loads(text, object_pairs_hook=_without_double)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"This is not JSON: {error}") from error
    if not isinstance(found, kind):
        raise click.BadParameter(f"This is not a JSON {called}.")
    return found


def _without_double(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError if a key is there twice: nobody can tell which value was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        double = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {double[:100]!r} is there twice in one object")
    return found


def scalar(text: str) -> wire.Scalar:
    """A number, true, false, null or a quoted string, as in JSON; any other text stays text."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool | None) else text


@click.command()
@click.argument("username", required=False)
@click.argument("character", required=False)
@click.option(
    "--like",
    metavar="NAME",
    help="Use the recipe of this image again. What is omitted is as in the recipe, USERNAME and CHARACTER too.",
)
@click.option("--quantity", "-n", type=int, help="How many images. Default: 1; with --like as many as the run made.")
@click.option("--premade", is_flag=True, help="The character exists already: files go to another folder.")
@click.option(
    "--workflow",
    type=workflow_or_graph,
    metavar="NAME|FILE",
    help="A configured workflow, or a file: .json in either format of ComfyUI, or a .png or .webp from ComfyUI. What"
    " has a slash in it is a file.",
)
@click.option(
    "--output",
    "outputs",
    metavar="NODE",
    multiple=True,
    help="The id of a node whose files become images; may be repeated. Default: what the workflow has.",
)
@click.option(
    "--input",
    "inputs",
    type=input_pair,
    metavar="NAME=VALUE",
    multiple=True,
    help="A JSON scalar, text or @FILE; may be repeated.",
)
@click.option(
    "--each",
    type=input_values,
    metavar="NAME=V1,V2",
    multiple=True,
    help="Several values of an input, or a JSON list of them; may be repeated. One image for each combination.",
)
@click.option(
    "--images",
    type=images_file,
    metavar="FILE",
    help='Instead of --quantity: a JSON list of {"inputs", "seed"}, one for each image.',
)
@click.option(
    "--character-defaults/--no-character-defaults",
    default=None,
    help="Whether workflow, inputs and template of the configured character are used. Default: what the daemon is"
    " configured to do.",
)
@click.option(
    "--seed",
    type=seed_or_change,
    metavar="SEED",
    help="The seed of the first prompt; each further prompt adds one. `random` makes one up; with --like, +1 is the"
    " seed of the image and one more.",
)
@click.option("--images-per-prompt", type=int, help="How many images each run makes. Default: 1.")
@click.option("--priority", type=click.Choice(wire.PRIORITIES), default="normal", show_default=True)
@click.option("--tag", "tags", multiple=True, help="A tag of the batch; may be repeated.")
@click.option("--metadata", type=json_object, metavar="JSON", help="A JSON object that is kept with the batch.")
@click.option("--request-id", help="The same request under the same id makes no second batch. Default: a new id.")
@click.option("--dry-run", is_flag=True, help="Check everything, and give no numbers.")
@click.option("--watch", "watched", is_flag=True, help="Show the batch until it is settled.")
@json_option
@asks_daemon
async def submit(
    client: Client,
    request_id: str | None,
    watched: bool,
    as_json: bool,
    inputs: tuple[Any, ...],
    each: tuple[Any, ...],
    outputs: tuple[str, ...],
    **asked: Any,
) -> int:
    """Ask for images of CHARACTER for USERNAME."""
    if asked["like"] is None:
        if asked["character"] is None:
            raise click.UsageError("Give USERNAME and CHARACTER, or --like NAME.")
        if asked["quantity"] is None and asked["images"] is None:
            asked["quantity"] = 1
    asked["premade"] = asked["premade"] or None
    with _request_named(request_id) as named:
        batch = await client.submit(
            request_id=named, inputs=dict(inputs), inputs_each=_swept(each), outputs=outputs or None, **asked
        )
    if as_json:
        say_json({"request_id": named, **plain(batch)})
    else:
        _say_batch(batch)
    if batch.dry_run or not watched:
        return DONE
    with screen(as_json) as shown_on:
        return await follow_all(client, [batch.batch_id], shown_on)


@contextmanager
def _request_named(given: str | None) -> Iterator[str]:
    """The id of the request. A made-up one is printed once it may have made a batch: at any end but a clear refusal."""
    request_id = given or f"cli-{uuid.uuid4()}"
    may_count = True
    try:
        yield request_id
    except Refused as refusal:
        may_count = refusal.code in _UNDECIDED
        raise
    finally:
        if may_count and given is None:
            say_aside(f"request_id: {request_id}")


def _say_batch(batch: wire.BatchAccepted) -> None:
    for found in batch.found:
        say(found)
    if batch.dry_run:
        say(f"This would be a batch of {batch.quantity}; no number was given.")
        return
    say(f"batch {batch.batch_id}" + (" (requested before)" if batch.repeated else ""))
    say_table(("NUMBER", "NAME"), ((str(image.number), image.public_id) for image in batch.images))
