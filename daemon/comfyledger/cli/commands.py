"""The command line as a whole: its global options, its commands, and what its exit codes mean."""

from __future__ import annotations

from pathlib import Path

import click

from comfyledger import __version__
from comfyledger.cli.audit import audit
from comfyledger.cli.backup import backup, restore
from comfyledger.cli.batches import batches, cancel, images, pause, resume, retry
from comfyledger.cli.calling import EXIT_CODES, Group, Reach
from comfyledger.cli.config import config
from comfyledger.cli.daemon import run, schema, sim
from comfyledger.cli.demo import demo
from comfyledger.cli.doctor import doctor
from comfyledger.cli.explain import explain
from comfyledger.cli.export import export
from comfyledger.cli.forget import forget
from comfyledger.cli.imports import take_over
from comfyledger.cli.log import log
from comfyledger.cli.recover import recover
from comfyledger.cli.replay import replay
from comfyledger.cli.status import status
from comfyledger.cli.submit import submit
from comfyledger.cli.systemd import systemd
from comfyledger.cli.token import token
from comfyledger.cli.watch import watch

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The daemon's state folder, in which its address and token are. Default: $COMFYLEDGER_STATE_DIR, else "
    "~/.local/state/comfyledger.",
)
@click.option("--url", help="The daemon's address. Default: what it left in its state folder.")
@click.pass_context
def cli(ctx: click.Context, state_dir: Path | None, url: str | None) -> None:
    """The ledger of a ComfyUI box: numbers given once, images that arrive, a log that explains each of them."""
    ctx.obj = Reach(state_dir, url)


for command in (
    *(run, submit, watch, status, batches, images, cancel, retry, recover, forget, pause, resume, take_over, log),
    *(explain, audit, replay, backup, restore, export, schema, config, token, doctor, systemd, sim, demo),
):
    cli.add_command(command)
