"""`config`: whether a configuration can be used, every setting with its origin, and what may be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comfyledger.cli.base import DONE, REFUSED, Group, json_option
from comfyledger.cli.configuration import config_of, running_config_option
from comfyledger.cli.shipped import shipped
from comfyledger.cli.ui.terminal import say, say_aside, say_json
from comfyledger.core.urls import shown_url
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.settings import Mistake, Read


@click.group(cls=Group)
def config() -> None:
    """Check the configuration, print it, or print an example."""


@config.command()
@running_config_option
@json_option
@click.pass_context
def check(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """List all mistakes of a configuration, or its main settings if there are none."""
    from comfyledger import logs, settings
    from comfyledger.startup.usable import character_problems, mistakes_of

    logs.configure(level="error", layout="auto")  # mistakes in the options of plugins are listed below
    read = settings.examine(config_of(ctx, config_path), ctx.obj.state_dir)
    mistakes = [*read.mistakes, *mistakes_of(read.settings, os.environ)]
    problems = () if mistakes else character_problems(read.settings)
    if as_json:
        listed = [{"path": one.path, "message": one.message, "hint": one.hint} for one in mistakes]
        say_json({**_main(read), "usable": not mistakes, "mistakes": listed, "character_problems": list(problems)})
    elif mistakes:
        _say_mistakes(read, mistakes)
    else:
        for key, value in _main(read).items():
            say(f"{key + ':':<11}{_shown(value)}")
        for problem in problems:
            say(f"A character cannot be used: {problem}")
        say("The configuration can be used.")
    ctx.exit(REFUSED if mistakes else DONE)


def _main(read: Read) -> dict[str, object]:
    found = read.settings
    return {
        "config": found.source or "none: the defaults",
        "state_dir": found.state_dir,
        "door": f"{found.door.host}:{found.door.port}",
        "comfyui": {name: shown_url(comfyui.url) for name, comfyui in found.comfyui.items()},
        "stores": {name: str(options["kind"]) for name, options in found.stores.items()},
        "workflows": sorted(found.workflows),
    }


def _say_mistakes(read: Read, mistakes: list[Mistake]) -> None:
    for one in mistakes:
        say_aside(f"{one.path or read.settings.source}: {one.message}")
        say_aside(f"  {one.hint}")
    say_aside(f"config_invalid: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}.")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({what})" for name, what in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


@config.command()
@running_config_option
@json_option
@click.pass_context
def show(ctx: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Print all settings as TOML with their origin; secrets are masked."""
    from comfyledger import settings
    from comfyledger.settings import showing

    read = settings.examine(config_of(ctx, config_path), ctx.obj.state_dir)
    read.raise_mistakes()
    if as_json:
        values = [
            {"key": ".".join(one.path), "value": one.value, "source": one.source} for one in showing.entries(read)
        ]
        say_json({"config": read.settings.source, "values": values})
    else:
        for line in showing.as_toml(read).splitlines():
            say(line, whole=True)


@config.command(name="schema")
def config_schema() -> None:
    """Print a JSON Schema of the configuration, for editors that check TOML files."""
    from comfyledger.settings import showing

    say_json(showing.json_schema())


@config.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write config.toml into this folder instead, and beside it the folders monitoring and examples.",
)
def example(out: Path | None) -> None:
    """Print config.toml, which shows every setting with its default.

    With --out it also writes the files for Prometheus and Grafana, and an example app. It replaces no file.
    """
    if out is None:
        for line in shipped("config.toml").read_text("utf-8").splitlines():
            say(line, whole=True)
        return
    texts = {out / path.relative_to(root): path for root, path in _examples()}
    if existing := [str(path) for path in texts if path.exists()]:
        raise Refused("invalid_field", f"{existing[0]} exists already.", hint="Name a new folder.")
    for path, source in texts.items():
        _copy(source, path)
        say(f"{path}")


def _examples() -> Iterator[tuple[Path, Path]]:
    """Each file that `config example` writes, after the folder that its new path is relative to."""
    config = shipped("config.toml")
    yield config.parent, config
    for folder in map(shipped, ("monitoring", "examples")):
        yield from ((folder.parent, path) for path in sorted(folder.glob("*")) if path.is_file())


def _copy(source: Path, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())
    except OSError as error:
        raise Refused("invalid_field", f"{path} cannot be written: {error.strerror}.", hint="Name a folder.") from error
