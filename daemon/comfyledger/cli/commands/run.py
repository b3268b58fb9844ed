"""`run`: the daemon itself."""

from __future__ import annotations

from pathlib import Path

import click

from comfyledger.cli.configuration import config_option


@click.command()
@config_option
@click.pass_context
def run(ctx: click.Context, config_path: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C."""
    from comfyledger import app, settings

    ctx.exit(app.run(settings.load(config_path, ctx.obj.state_dir)))
