"""Commands that need no running daemon: `run` it, print the wire, run a stand-in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from comfyledger.cli.ui.terminal import say_json
from comfyledger.wire import schemas

if TYPE_CHECKING:
    from comfyledger.settings import Settings


F = TypeVar("F", bound=Callable[..., Any])


def _config_option(default: str) -> Callable[[F], F]:
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"A TOML file; `comfyledger config example` prints one. {default}",
    )


config_option = _config_option("Without one the defaults hold.")
running_config_option = _config_option("Default: that of the running daemon, else the defaults hold.")


def config_of(ctx: click.Context, config_path: Path | None) -> Path | None:
    """The file that was named; else that of the daemon that runs on the state folder, if it has one."""
    from comfyledger.client.finding import find_config, find_state_dir

    return config_path or find_config(ctx.obj.state_dir or find_state_dir(os.environ))


def settings_of(ctx: click.Context, config_path: Path | None) -> Settings:
    """The configuration as `config_of` finds it, else the defaults. Raises Refused(config_invalid).

    From here on the credentials of a running service are at hand, if this user may read them.
    """
    from comfyledger import settings
    from comfyledger.cli import credentials

    found = settings.load(config_of(ctx, config_path), ctx.obj.state_dir)
    credentials.lend(found.door_path, os.environ)
    return found


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
