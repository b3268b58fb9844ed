"""The command line as a whole: its global options, its commands, and what its exit codes mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comfyledger import __version__
from comfyledger.cli.base import EXIT_CODES, Group, Reach, json_option
from comfyledger.cli.commands.audit import audit
from comfyledger.cli.commands.backup import backup, restore
from comfyledger.cli.commands.batches import batches, cancel, images, pause, resume, retry
from comfyledger.cli.commands.config import config
from comfyledger.cli.commands.demo import demo
from comfyledger.cli.commands.doctor import doctor
from comfyledger.cli.commands.explain import explain
from comfyledger.cli.commands.export import export
from comfyledger.cli.commands.forget import forget
from comfyledger.cli.commands.import_store import take_over
from comfyledger.cli.commands.log import log
from comfyledger.cli.commands.recover import recover
from comfyledger.cli.commands.replay import replay
from comfyledger.cli.commands.run import run, schema, sim
from comfyledger.cli.commands.status import status
from comfyledger.cli.commands.submit import submit
from comfyledger.cli.commands.systemd import systemd
from comfyledger.cli.commands.tokens import token
from comfyledger.cli.commands.watch import watch

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())
SECTIONS = {
    "Batches and images": (submit, watch, status, batches, images, cancel, retry, pause, resume),
    "What happened": (log, explain, export),
    "Stores": (take_over, recover, forget),
    "The ledger": (audit, replay, backup, restore),
    "The daemon": (run, config, token, doctor, systemd, schema),
    "To try it out": (demo, sim),
}


class Commands(Group):
    """The whole command line."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.sections = {title: tuple(str(one.name) for one in commands) for title, commands in SECTIONS.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [str(one.name) for commands in SECTIONS.values() for one in commands]


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The daemon's state folder, in which its socket and token are. Default: $COMFYLEDGER_STATE_DIR, else "
    "~/.local/state/comfyledger.",
)
@click.option(
    "--url",
    help="The daemon's address, if it is not the one of the state folder: http://HOST:PORT or unix:/PATH. The token "
    "is sent there.",
)
@json_option
@click.pass_context
def cli(ctx: click.Context, state_dir: Path | None, url: str | None, as_json: bool) -> None:
    """The ledger of a ComfyUI box: numbers given once, images that arrive, a log that explains each of them."""
    ctx.obj = Reach(state_dir, url)


for command in (one for commands in SECTIONS.values() for one in commands):
    cli.add_command(command)
