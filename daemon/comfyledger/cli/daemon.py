"""Commands that need no running daemon: `run` it, check its configuration, print the wire, run a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from comfyledger.cli.calling import json_option
from comfyledger.cli.terminal import say, say_json
from comfyledger.errors import Refused
from comfyledger.wire import schemas

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file; config.toml shows every key. Without one the defaults hold.",
)


@click.command()
@config_option
@click.pass_context
def run(ctx: click.Context, config_path: Path | None) -> None:
    """Run the daemon until it is told to stop (SIGTERM, or Ctrl-C)."""
    from comfyledger import app, settings

    ctx.exit(app.run(settings.load(config_path, ctx.obj.state_dir)))


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Say whether a configuration can be used, and the main things that it says."""
    from comfyledger import logs, settings
    from comfyledger.plugins import open_stores, store_kinds

    logs.configure(level="error", layout="auto")  # what a plugin says of itself is said below
    found = settings.load(config_path, ctx.obj.state_dir)
    for store in open_stores(store_kinds(), found.stores, found.state_path).values():
        if store.waiting is None:
            raise Refused("config_invalid", f"The store {store.name} cannot be used: {store.problem}")
    main = {
        "config": found.source or "none: the defaults",
        "state_dir": found.state_dir,
        "door": f"{found.door.host}:{found.door.port}",
        "comfyui": {name: comfyui.url for name, comfyui in found.comfyui.items()},
        "stores": {name: str(options["kind"]) for name, options in found.stores.items()},
        "workflows": sorted(found.workflows),
    }
    if as_json:
        say_json(main)
        return
    for key, value in main.items():
        say(f"{key + ':':<11}{_shown(value)}")
    say("The configuration can be used.")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({what})" for name, what in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


@click.command()
def schema() -> None:
    """Print the JSON Schema of every message of the websocket."""
    say_json(schemas())


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    options_metavar="comfyui|cloudinary [OPTIONS]",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="")
def sim(words: tuple[str, ...]) -> None:
    """Run a stand-in for ComfyUI or Cloudinary: `comfyledger sim comfyui --help` says how."""
    from comfyledger.sim.__main__ import main

    sys.exit(main(words))
