"""`submit`: requests a batch, or one for each row of a file."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from comfyledger import wire
from comfyledger.cli.adding import with_files_added
from comfyledger.cli.base import DONE, REFUSED, asks_daemon, json_option
from comfyledger.cli.rows.row_file import RowFile, opened
from comfyledger.cli.rows.row_report import AGAIN, LINE_EVERY_ROWS, RowReport
from comfyledger.cli.rows.row_request import NEEDED, RequestIds, near
from comfyledger.cli.rows.send_rows import send_rows
from comfyledger.cli.typed_values import (
    images_file,
    input_pair,
    input_values,
    json_object,
    seed_or_change,
    workflow_or_graph,
)
from comfyledger.cli.ui.bars import meter
from comfyledger.cli.ui.progress_view import follow_all, screen
from comfyledger.cli.ui.terminal import plain, say, say_aside, say_json, say_table
from comfyledger.client import Client
from comfyledger.errors import Refused

_UNDECIDED: Final = frozenset({"not_running", "timeout", "protocol_version", "internal"})
"""The connection or the answer was lost, so the daemon may have made the batch."""


def _swept(each: Iterable[tuple[str, list[wire.InputValue]]]) -> dict[str, list[wire.InputValue]]:
    """The values of an input that is named again are more of its values."""
    found: dict[str, list[wire.InputValue]] = {}
    for name, values in each:
        found.setdefault(name, []).extend(values)
    return found


def _rows_in(path: str, is_csv: bool) -> RowFile:
    try:
        rows = RowFile(opened(path), is_csv)
        click.get_current_context().call_on_close(rows.close)
        rows.total = rows.count()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error}") from error
    return rows


def _csv(_: click.Context, __: click.Parameter, path: str | None) -> RowFile | None:
    return None if path is None else _rows_in(path, is_csv=True)


def _jsonl(_: click.Context, __: click.Parameter, path: str | None) -> RowFile | None:
    return None if path is None else _rows_in(path, is_csv=False)


def _understood(work: Callable[..., None]) -> Callable[..., None]:
    """Look at the options together, before anybody is asked. Raises UsageError."""

    @functools.wraps(work)
    def call(csv: RowFile | None, jsonl: RowFile | None, **options: Any) -> None:
        if csv is not None and jsonl is not None:
            raise click.UsageError("Give either --csv or --jsonl.")
        rows = csv if csv is not None else jsonl
        if rows is None:
            _check_alone(options)
        else:
            _check_of_rows(options, rows)
        work(rows=rows, **options)

    return call


def _check_alone(options: dict[str, Any]) -> None:
    if options["like"] is None and options["character"] is None:
        raise click.UsageError("Give USERNAME and CHARACTER, or --like NAME.")
    if options["run"]:
        raise click.UsageError("--run names a submission of a file; give it with --csv or --jsonl.")


def _check_of_rows(options: dict[str, Any], rows: RowFile) -> None:
    if options["watched"]:
        raise click.UsageError("--watch shows one batch. See `comfyledger status`, and `comfyledger watch BATCH`.")
    if options["request_id"] is not None:
        raise click.UsageError("Each row has a request id of its own. --run NAME makes others.")
    if options["images"] is not None:
        raise click.UsageError("Each row is a batch of equal images; --images does not go with it.")
    if options["like"] is not None:
        raise click.UsageError("--like asks for one batch; it does not go with a file of rows.")
    columns = rows.columns()
    for name in NEEDED:
        if columns is not None and name not in columns and options[name] is None:
            hint = near(name, columns)
            raise click.UsageError(f"The file has no column {name}, and {name.upper()} is not given.{hint}")


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
    help="A JSON scalar, text, an input file (sha256:...), an earlier image (image:NAME), or @FILE; may be repeated."
    " Text in FILE is the value; a picture or any other file is added as an input file.",
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
    " seed of the image plus one.",
)
@click.option("--images-per-prompt", type=int, help="How many images each run makes. Default: 1.")
@click.option("--priority", type=click.Choice(wire.PRIORITIES), default="normal", show_default=True)
@click.option("--backend", metavar="NAME", help="The only ComfyUI that may render it. Default: every one that can.")
@click.option("--need", "needs", metavar="TAG", multiple=True, help="A tag that a ComfyUI must have; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="A tag of the batch; may be repeated.")
@click.option("--metadata", type=json_object, metavar="JSON", help="A JSON object that is kept with the batch.")
@click.option(
    "--webhook",
    metavar="NAME|URL",
    help="Where events of this batch are delivered: a configured webhook, or an address below that of one with"
    " per_batch.",
)
@click.option(
    "--csv",
    callback=_csv,
    metavar="FILE",
    help="A batch for each row of a CSV file, - for standard input. Columns are username, character, quantity, premade,"
    " seed, workflow, priority, tags, output, images_per_prompt; all others are inputs. Options are defaults.",
)
@click.option("--jsonl", callback=_jsonl, metavar="FILE", help="The same, with a JSON object in each line.")
@click.option("--run", default="", metavar="NAME", help="Submit the rows of a file once more, under another name.")
@click.option("--request-id", help="The same request under the same id makes no second batch. Default: a new id.")
@click.option("--dry-run", is_flag=True, help="Check everything, and give no numbers.")
@click.option("--watch", "watched", is_flag=True, help="Show the batch until it is settled.")
@json_option
@_understood
@asks_daemon
async def submit(
    client: Client,
    rows: RowFile | None,
    run: str,
    request_id: str | None,
    watched: bool,
    as_json: bool,
    inputs: tuple[Any, ...],
    each: tuple[Any, ...],
    outputs: tuple[str, ...],
    needs: tuple[str, ...],
    **asked: Any,
) -> int:
    """Ask for images of CHARACTER for USERNAME."""
    if asked["like"] is None and asked["quantity"] is None and asked["images"] is None:
        asked["quantity"] = 1
    asked["premade"] = asked["premade"] or None
    asked |= {
        "inputs": await with_files_added(client, dict(inputs), as_json),
        "inputs_each": _swept(each),
        "outputs": outputs or None,
        "needs": needs or None,
    }
    if rows is not None:
        return await submit_rows(client, rows, RequestIds(run), asked, as_json)
    with _request_named(request_id) as named:
        batch = await _submitted(client, {"request_id": named, **asked})
    if as_json:
        say_json({"request_id": named, **plain(batch)})
    else:
        _say_batch(batch)
    if batch.dry_run or not watched:
        return DONE
    with screen(as_json) as shown_on:
        return await follow_all(client, [batch.batch_id], shown_on)


async def _submitted(client: Client, asked: dict[str, Any]) -> wire.BatchAccepted:
    """By the whole name that --like gives, else by what `explain` finds for it."""
    try:
        return await client.submit(**asked)
    except Refused as refusal:
        name = asked["like"]
        if refusal.code != "unknown_image" or name is None or "/" in name:
            raise
        image = (await client.explain(name)).image
        if image is None:
            raise
        return await client.submit(**{**asked, "like": image.image_id})


async def submit_rows(client: Client, rows: RowFile, ids: RequestIds, defaults: dict[str, Any], as_json: bool) -> int:
    """Send the rows of a file and say what became of them. Returns the exit code."""
    with meter(as_json, LINE_EVERY_ROWS) as shown:
        report = RowReport(shown, rows.total, as_json)
        try:
            await send_rows(client, rows, defaults, ids, report)
        except (Refused, asyncio.CancelledError):
            shown.say(AGAIN)
            raise
        finally:
            report.say_end()
    return REFUSED if report.failed else DONE


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
