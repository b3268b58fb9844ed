"""`characters`: the characters that have defaults, and what backends lack for them."""

from __future__ import annotations

import click

from comfyledger import wire
from comfyledger.cli.base import DONE, asks_daemon, json_option
from comfyledger.cli.ui.terminal import say, say_json, say_table
from comfyledger.client import Client

PAGE = 500


@click.command()
@json_option
@asks_daemon
async def characters(client: Client, as_json: bool) -> int:
    """List the characters that have defaults, and what ComfyUI lacks for them."""
    found: list[wire.CharacterInfo] = []
    before, more = None, True
    while more:
        page = await client.list_characters(before=before, limit=PAGE)
        found, before, more = found + page.characters, page.next_cursor, page.more
    if as_json:
        say_json(found)
    elif found:
        say_table(("NAME", "WORKFLOW", "STATE", "CALLED"), map(_row, found))
        for one in found:
            for backend, texts in one.missing.items():
                for text in texts:
                    say(f"{one.name}: {backend} lacks something. {text}")
    else:
        say("No character is configured.")
    return DONE


def _row(one: wire.CharacterInfo) -> tuple[str, str, str, str]:
    state = "incomplete" if one.missing else "not checked" if one.unchecked else "complete"
    return one.name, one.own.workflow, state, one.display_name
