"""`schema`: the wire, for other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

import comfyledger
from comfyledger.cli.ui.terminal import say_json
from comfyledger.wire.schema.asyncapi import asyncapi
from comfyledger.wire.schema.json_schema import json_schema
from comfyledger.wire.schema.openapi import openapi

_DOCUMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "json-schema": json_schema,
    "openapi": lambda: openapi(comfyledger.__version__),
    "asyncapi": lambda: asyncapi(comfyledger.__version__),
}


@click.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(_DOCUMENTS)),
    default="json-schema",
    show_default=True,
    help="json-schema: the messages of the websocket. openapi: HTTP /v1 (3.1). asyncapi: the websocket (3.0).",
)
def schema(kind: str) -> None:
    """Print the JSON Schema of all messages, or other documents that tools read."""
    say_json(_DOCUMENTS[kind]())
