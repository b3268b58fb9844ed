"""Commands that need no running daemon: `run` it, print the wire, run a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from comfyledger.cli.terminal import say_json
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
