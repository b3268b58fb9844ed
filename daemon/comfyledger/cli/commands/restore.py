"""`restore`: brings a ledger back from a backup, or from its remains, while no daemon runs."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comfyledger.cli.base import LABEL, json_option, refusing
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import say, say_json, several

if TYPE_CHECKING:
    from comfyledger.maintenance.audit.findings import Progress
    from comfyledger.maintenance.restore import Restored, Wanted
    from comfyledger.settings import Settings

MARGIN_MAX = 10**9


@click.command()
@running_config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Instead of FILE: continue in a new epoch with the remains of a ledger that has lost its end.",
)
@click.option("--replace", is_flag=True, help="Move an existing ledger aside; it is never removed.")
@click.option(
    "--margin",
    type=click.IntRange(0, MARGIN_MAX),
    help="How many numbers each series leaves out above the highest one that was found. Default: 1000.",
)
@click.option("--without-stores", is_flag=True, help="Do not ask the stores which numbers they hold.")
@json_option
@click.pass_context
def restore(
    ctx: click.Context,
    config_path: Path | None,
    file: Path | None,
    accept_loss: bool,
    replace: bool,
    margin: int | None,
    without_stores: bool,
    as_json: bool,
) -> None:
    """Restore the ledger from a backup FILE, or with --accept-loss from its remains. No daemon may run.

    Every series continues above the highest number that the old ledger and the stores show, plus a margin. What was
    accepted after the backup is lost. Apps that follow the log get the error epoch_changed.
    """
    from ulid import ULID

    from comfyledger.maintenance.restore import MARGIN, Wanted

    if (file is None) != accept_loss:
        raise click.UsageError("Give a backup FILE, or --accept-loss alone.")
    found = settings_of(ctx, config_path)
    wanted = Wanted(
        file=file,
        path=found.ledger_path,
        spool=found.spool_path,
        stores=None,
        epoch=str(ULID()),
        now_ms=time.time_ns() // 1_000_000,
        by=LABEL,
        margin=MARGIN if margin is None else margin,
        replace=replace,
    )
    with refusing(), bars() as progress, redirect_stdout(sys.stderr):  # Log lines of plugins are not output.
        restored = asyncio.run(_restore(found, wanted, not without_stores, progress))
    if as_json:
        say_json(restored)
    else:
        _say(restored)


async def _restore(found: Settings, wanted: Wanted, ask: bool, progress: Progress) -> Restored:
    import msgspec

    from comfyledger.maintenance.restore import restore as do_restore
    from comfyledger.plugins import open_stores, store_kinds

    if not ask:
        return await do_restore(wanted, progress)
    opened = open_stores(store_kinds(), found.stores, found.state_path)
    try:
        return await do_restore(msgspec.structs.replace(wanted, stores=opened), progress)
    finally:
        for one in opened.values():
            if one.waiting is not None:
                await one.close()


def _say(restored: Restored) -> None:
    say(f"The ledger {restored.ledger_id} is restored as it was at position {restored.position_before}.", "green")
    say(f"Its epoch is now {restored.epoch}, its log ends at position {restored.position}.")
    say(f"{restored.series} series raised by {restored.margin} above the highest number that was found.")
    for one in restored.evidence:
        say(f"  {one.store} showed numbers up to {one.highest}")
    if not restored.stores_asked:
        say("The stores were not asked.", "yellow")
    if restored.first > 1:
        say(
            f"A series that is unknown here begins with {restored.first}, since it may have been used after the backup."
        )
    _say_lost(restored)
    if restored.aside:
        say(f"The old ledger is now {restored.aside}")


def _say_lost(restored: Restored) -> None:
    lost = restored.lost
    if lost is None:
        say("What was accepted after the backup is lost; it is unknown how much that was.", "yellow")
    elif lost.events:
        counts = f"{several(lost.batches, 'batch')} with {several(lost.images, 'image')}"
        text = f"Lost with what happened after the backup: {counts}"
        say(f"{text} ({several(lost.events, 'event')}).", "yellow")
    if restored.forgotten:
        say(f"What was forgotten after the backup is forgotten again ({restored.forgotten} times).")
    for problem in restored.problems:
        say(f"The old ledger is broken: {problem}", "yellow")
    if restored.strangers:
        say(
            f"The spool keeps {several(restored.strangers, 'file')} of lost batches.",
            "yellow",
        )
