"""`backup`: a copy of the ledger, made beside its daemon."""

from __future__ import annotations

import time
from pathlib import Path

import click

from comfyledger.cli.base import json_option, refusing
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import say, say_json


@click.command()
@running_config_option
@click.argument("target", type=click.Path(), metavar="FILE|FOLDER/")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--keep",
    type=click.IntRange(1),
    help="With FOLDER: keep only this many of the newest backups that this command made there.",
)
@json_option
def backup(config_path: Path | None, target: str, force: bool, keep: int | None, as_json: bool) -> None:
    """Copy the ledger into FILE, or into FOLDER under a name with date and position. The daemon may run.

    The copy gets its name only after a check. It holds the texts that are in the ledger now, but not the spool and
    the stores.
    """
    from comfyledger.durable import sync_folder
    from comfyledger.maintenance import backup as copying

    place = Path(target)
    if target.endswith("/"):
        place.mkdir(mode=0o700, exist_ok=True)
        sync_folder(place.absolute().parent)  # the new folder must survive a power loss, as the file in it does
    if keep is not None and not place.is_dir():
        raise click.UsageError("--keep needs a folder.")
    ledger = settings_of(click.get_current_context(), config_path).ledger_path
    with refusing(), bars() as progress:
        copied = copying.backup(ledger, place, time.time(), progress, force=force)
        if keep is not None:
            copied = copying.prune(copied, keep, time.time())
    if as_json:
        say_json(copied)
        return
    say(f"{copied.file}: {copied.size_bytes:,} bytes")
    say(f"ledger {copied.ledger_id}, epoch {copied.epoch}, position {copied.position}")
    say(f"hash {copied.hash}")
    for path in copied.removed:
        say(f"removed {path}")
