"""`submit`: ask for a batch from the command line."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import IO, Any

import click

from comfyledger import wire
from comfyledger.cli.calling import DONE, asks_daemon, json_option
from comfyledger.cli.screens import follow_all, screen
from comfyledger.cli.terminal import plain, say, say_aside, say_json, say_table
from comfyledger.client import Client


class InputParameter(click.ParamType[tuple[str, wire.Scalar]]):
    """NAME=VALUE. A JSON scalar stands for itself, `@FILE` for the text of a file, anything else is text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, wire.Scalar]:
        name, found, text = str(value).partition("=")
        if not found or not name:
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        if not text.startswith("@"):
            return name, scalar(text)
        try:
            return name, Path(text[1:]).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{text[1:]!r} cannot be read: {error}", param, ctx)


class JsonParameter(click.ParamType[Any]):
    """JSON of one kind, from the command line itself, or from a file (`-` is standard input)."""

    def __init__(self, kind: type, name: str, from_file: bool) -> None:
        self.kind = kind
        self.name = name
        self.from_file = from_file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = _file_text(value, param, ctx) if self.from_file else value
        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:
            self.fail(f"This is not JSON: {error}", param, ctx)
        if not isinstance(read, self.kind):
            self.fail("This is not a JSON list." if self.kind is list else "This is not a JSON object.", param, ctx)
        return read


class WorkflowParameter(click.ParamType[str | dict[str, Any]]):
    """The name of a configured workflow, or a file that ends in .json."""

    name = "name|file.json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | dict[str, Any]:
        if not str(value).endswith(".json"):
            return str(value)
        graph: dict[str, Any] = JsonParameter(dict, "graph", True).convert(value, param, ctx)
        return graph


def _file_text(path: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
    file: IO[str] = click.File(encoding="utf-8").convert(path, param, ctx)
    with file:
        return file.read()


def scalar(text: str) -> wire.Scalar:
    """A number, true, false, null or a quoted string as JSON has them; any other text is itself."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool | None) else text


@click.command()
@click.argument("username")
@click.argument("character")
@click.option("--quantity", "-n", type=int, help="How many images. Default: 1.")
@click.option("--premade", is_flag=True, help="The character exists already: another folder.")
@click.option("--workflow", type=WorkflowParameter(), help="A configured one, or a graph in ComfyUI's API format.")
@click.option("--input", "inputs", type=InputParameter(), multiple=True, help="JSON scalar, text or @FILE; repeat it.")
@click.option(
    "--images",
    type=JsonParameter(list, "file", True),
    help='Instead of --quantity: a JSON list of {"inputs", "seed"}, one for each image.',
)
@click.option("--seed", type=int, help="Of the first prompt; the others count on from it.")
@click.option("--images-per-prompt", type=int, default=1, show_default=True, help="ComfyUI's batch size.")
@click.option("--priority", type=click.Choice(wire.PRIORITIES), default="normal", show_default=True)
@click.option("--tag", "tags", multiple=True, help="Repeat it.")
@click.option("--metadata", type=JsonParameter(dict, "json", False), help="A JSON object that stays with the batch.")
@click.option("--request-id", help="Repeating it with the same request makes no second batch. Default: made up.")
@click.option("--dry-run", is_flag=True, help="Check everything, give no numbers.")
@click.option("--watch", "watched", is_flag=True, help="Stay and show the batch until it is settled.")
@json_option
@asks_daemon
async def submit(
    client: Client, request_id: str | None, watched: bool, as_json: bool, inputs: tuple[Any, ...], **asked: Any
) -> int:
    """Ask for images of CHARACTER for USERNAME."""
    if request_id is None:
        request_id = f"cli-{uuid.uuid4()}"
        say_aside(f"request_id: {request_id}")
    if asked["quantity"] is None and asked["images"] is None:
        asked["quantity"] = 1
    batch = await client.submit(request_id=request_id, inputs=dict(inputs), **asked)
    if as_json:
        say_json({"request_id": request_id, **plain(batch)})
    else:
        _say_batch(batch)
    if batch.dry_run or not watched:
        return DONE
    with screen(as_json) as shown_on:
        return await follow_all(client, [batch.batch_id], shown_on)


def _say_batch(batch: wire.BatchAccepted) -> None:
    for found in batch.found:
        say(found)
    if batch.dry_run:
        say(f"This would be a batch of {batch.quantity}; no number was given.")
        return
    say(f"batch {batch.batch_id}" + (" (asked for before)" if batch.repeated else ""))
    say_table(("NUMBER", "NAME"), ((str(image.number), image.public_id) for image in batch.images))
