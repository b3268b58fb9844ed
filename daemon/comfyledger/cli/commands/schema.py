"""`schema`: the wire, for other programs."""

from __future__ import annotations

import click

from comfyledger.cli.ui.terminal import say_json
from comfyledger.wire.schema.json_schema import json_schema

DOCUMENTS = {"json-schema": json_schema}


@click.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(DOCUMENTS)),
    default="json-schema",
    show_default=True,
    help="json-schema: the websocket's messages.",
)
def schema(kind: str) -> None:
    """Print the JSON Schema of all messages, or other documents that tools read."""
    say_json(DOCUMENTS[kind]())
