"""`recipe`: what made an image, and the graph that was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from rich.text import Text

from comfyledger import wire
from comfyledger.cli.base import DONE, REFUSED, asks_daemon, json_option
from comfyledger.cli.ui.terminal import clean, clock, console, say, say_aside, say_json, show
from comfyledger.client import Client
from comfyledger.errors import Refused


@click.command()
@click.argument("name")
@click.option("--graph", "with_graph", is_flag=True, help="Print the graph that was sent, ready for ComfyUI.")
@json_option
@asks_daemon
async def recipe(client: Client, name: str, with_graph: bool, as_json: bool) -> int:
    """Show what made an image: workflow, inputs, seed, run, ComfyUI and times.

    NAME is the name of an image (with its folder or without) or BATCH_ID/INDEX. --graph prints the graph in ComfyUI's
    API format, exactly as it was sent for the stored file; secrets in it are masked. With --json both are one object.
    """
    found = await _find(client, name, with_graph)
    if as_json:
        say_json(found)
        return DONE
    if not with_graph:
        say(found.public_id, "bold", whole=True)
        rows = list(facts(found))
        widest = max(len(title) for title, _ in rows)
        for title, words in rows:
            show(console(), Text(clean(f"  {title:<{widest}}  {words}")), widest + 2)
        return DONE
    return _say_graph(found)


async def _find(client: Client, name: str, with_graph: bool) -> wire.Recipe:
    """By the whole name, else by what `explain` finds for it."""
    try:
        return await client.recipe(name, graph=with_graph)
    except Refused as refusal:
        if refusal.code != "unknown_image" or "/" in name:
            raise
        image = (await client.explain(name)).image
        if image is None:
            raise
        return await client.recipe(image.image_id, graph=with_graph)


def _say_graph(found: wire.Recipe) -> int:
    if found.graph is None:
        for gap in found.missing:
            say_aside(f"{gap.code}: {gap.text}")
        return REFUSED
    click.echo(json.dumps(found.graph, indent=2))
    if found.masked:
        say_aside(f"Secrets are masked as ***: {', '.join(found.masked)}.")
    names = [file.file for file in found.files if file.file]
    if names:
        say_aside(f"ComfyUI must have in its input folder: {_listed(names)}.")
    for gap in found.missing:
        if gap.what in {"left_out", "files"}:
            say_aside(gap.text)
    return DONE


def facts(found: wire.Recipe) -> Iterator[tuple[str, str]]:
    """The recipe for people, as titles with their words."""
    yield "state", f"{found.state}, image {found.index} of batch {found.batch_id}"
    yield "for", f"{found.username} · {found.character}"
    yield "workflow", found.workflow or "a graph of the request"
    for name, value in (found.inputs or {}).items():
        yield name, _words(value)
    yield from ((file.input, _file_words(file)) for file in found.files)
    for name, value in found.defaults.items():
        yield name, f"{_words(value)} (as in the workflow)"
    yield "seed", f"{found.seed}{f' at {_listed(found.seeds)}' if found.seeds else ', which the workflow does not use'}"
    others = [image.name for image in found.images if image.index != found.index]
    yield from [("same run", _listed(others))] if others else []
    yield "backend", f"{found.backend}{f', ComfyUI {found.version}' if found.version else ''}"
    if found.attempt:
        yield "run", f"attempt {found.attempt} of prompt {found.prompt}, {found.prompt_id}"
        yield "files", _listed([output.prefix for output in found.outputs if output.is_run])
    yield from [("not sent", f"nodes {_listed(found.left_out)}")] if found.left_out else []
    yield from _times(found)
    yield from [("sha256", found.sha256)] if found.sha256 else []
    yield from (("missing", gap.text) for gap in found.missing)


def _file_words(file: wire.RecipeFile) -> str:
    what = f"image {file.image}" if file.image else f"input sha256:{file.sha256}"
    if not file.sha256:
        return f"{what}, not used yet"
    bytes_of_image = f", sha256:{file.sha256}" if file.image else ""
    return f"{what}{bytes_of_image}, {file.extension}, {file.size_bytes:,} bytes"


def _times(found: wire.Recipe) -> Iterator[tuple[str, str]]:
    steps = {
        "requested": found.requested_at_ms,
        "submitted": found.submitted_at_ms,
        "finished": found.finished_at_ms,
        "kept": found.kept_at_ms,
    }
    yield from ((step, clock(at_ms)) for step, at_ms in steps.items() if at_ms)
    yield from (("stored", f"{clock(at_ms)} in {store}") for store, at_ms in found.stored_at_ms.items())


def _listed(words: list[str]) -> str:
    return ", ".join(words)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
