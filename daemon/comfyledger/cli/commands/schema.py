"""`schema`: the wire, for other programs."""

from __future__ import annotations

import click

from comfyledger.cli.ui.terminal import say_json
from comfyledger.wire import schemas


@click.command()
def schema() -> None:
    """Print the JSON Schema of every message of the websocket."""
    say_json(schemas())
