"""`input`: files for workflows to load, added, listed and given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comfyledger import wire
from comfyledger.cli.adding import add_file
from comfyledger.cli.base import DONE, REFUSED, Group, asks_daemon, json_option
from comfyledger.cli.ui.terminal import clock, plain, say, say_aside, say_json, say_refusal, say_table
from comfyledger.client import Client
from comfyledger.errors import Refused

PAGE = 500
NO_USE = frozenset({"not_running", "timeout", "unauthorized", "forbidden", "storage_full"})
"""Refusals that every further file would get too."""


@click.group(cls=Group, name="input")
def inputs() -> None:
    """Add files for workflows to load, list them, or give them up."""


@inputs.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@json_option
@asks_daemon
async def add(client: Client, files: tuple[Path, ...], as_json: bool) -> int:
    """Send files to the daemon and print their names, for `submit --input NAME=sha256:...`.

    A file that is refused does not stop the others.
    """
    added: list[dict[str, Any]] = []
    for path in files:
        try:
            info = await add_file(client, path, as_json)
        except Refused as refusal:
            if refusal.code in NO_USE:
                raise
            added.append({"file": str(path), "error": wire.error_of(refusal)})
            if not as_json:
                say_aside(f"{path}:")
                say_refusal(refusal, as_json)
        else:
            added.append({"file": str(path), **plain(info)})
            if not as_json:
                say(f"{info.input}  {path}" + ("" if info.new else "  (known)"), whole=True)
    if as_json:
        say_json(added)
    return REFUSED if any("error" in one for one in added) else DONE


@inputs.command(name="list")
@json_option
@asks_daemon
async def list_(client: Client, as_json: bool) -> int:
    """List the input files that can be used, newest first."""
    found: list[wire.InputInfo] = []
    before, more = None, True
    while more:
        page = await client.list_inputs(before=before, limit=PAGE)
        found, before, more = found + page.inputs, page.next_cursor, page.more
    if as_json:
        say_json(found)
    elif found:
        say_table(("INPUT", "KIND", "SIZE", "BYTES", "ADDED", "CLIENTS"), map(_row, found))
    else:
        say("There is no input file.")
    return DONE


def _row(one: wire.InputInfo) -> tuple[str, ...]:
    size = f"{one.width}x{one.height}" if one.width else ""
    return one.input, one.extension, size, f"{one.size_bytes:,}", clock(one.added_at_ms), ", ".join(one.labels)


@inputs.command()
@click.argument("names", metavar="INPUT...", nargs=-1, required=True)
@click.option("--all-labels", is_flag=True, help="Also for all other clients that have it.")
@json_option
@asks_daemon
async def forget(client: Client, names: tuple[str, ...], all_labels: bool, as_json: bool) -> int:
    """Give up input files. They are erased once no other client has them and no open batch needs them."""
    gone = [await client.forget_input(name, all_labels=all_labels) for name in names]
    if as_json:
        say_json(gone)
        return DONE
    for one in gone:
        others = f"; {', '.join(one.labels)} still has it" if one.labels else ""
        say(f"{one.input} is given up{others}.", whole=True)
    return DONE
