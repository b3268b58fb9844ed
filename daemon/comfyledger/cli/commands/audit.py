"""`audit`: compares what the ledger says with what is there. Prints a table of findings, or JSON."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comfyledger.cli.base import DONE, FOUND, json_option, refusing
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import say, say_json, say_table

if TYPE_CHECKING:
    from comfyledger.maintenance.audit.findings import Kind, Progress, Tally
    from comfyledger.maintenance.audit.run import Audited
    from comfyledger.settings import Settings

EXAMPLES_SHOWN = 3
"""Examples of each kind; `--json` has up to a hundred."""


@click.command()
@running_config_option
@click.option("--stores", is_flag=True, help="Also compare with what the stores hold.")
@click.option("--deep", is_flag=True, help="With --stores: ask the store about each file whose list entry has no md5.")
@click.option(
    "--anchor",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Compare the log with the hash in this file, then write its current hash there. Keep it on another machine.",
)
@json_option
@click.pass_context
def audit(
    ctx: click.Context, config_path: Path | None, stores: bool, deep: bool, anchor: Path | None, as_json: bool
) -> None:
    """Compare log, tables, texts, spool, inputs and stores with each other. Changes nothing; the daemon may run.

    The result is saved in the state folder, for the web page.
    """
    from comfyledger.maintenance import saved_checks
    from comfyledger.maintenance.audit.findings import Tally
    from comfyledger.maintenance.audit.parallel import Folders
    from comfyledger.maintenance.audit.run import audit as compare

    found = settings_of(ctx, config_path)
    folders = Folders(str(found.spool_path), str(found.inputs_path), str(found.thumbnails_path), found.box_name)
    tally, began_s = Tally(), time.monotonic()
    with refusing(), bars() as progress:
        audited = compare(found.ledger_path, folders, anchor, time.time(), tally, progress)
        if stores:
            with redirect_stdout(sys.stderr):  # Log lines of plugins must not be among the JSON.
                asyncio.run(_audit_stores(found, deep, tally, progress))
    if as_json:
        say_json(_report(audited, tally))
    else:
        _say_report(audited, tally)
    command = f"comfyledger audit{' --stores' if stores else ''}{' --deep' if deep else ''}"
    result = saved_checks.of_audit(command, tally.kinds, time.time_ns() // 1_000_000, time.monotonic() - began_s)
    saved_checks.save(found.state_path, result)
    ctx.exit(FOUND if tally else DONE)


async def _audit_stores(found: Settings, deep: bool, tally: Tally, progress: Progress) -> None:
    from comfyledger.maintenance.audit.run import audit_stores
    from comfyledger.plugins import open_stores, store_kinds

    opened = open_stores(store_kinds(), found.stores, found.state_path)
    try:
        await audit_stores(found.ledger_path, opened, time.time_ns() // 1_000_000, deep, tally, progress)
    finally:
        for one in opened.values():
            if one.waiting is not None:
                await one.close()


def _report(audited: Audited, tally: Tally) -> dict[str, Any]:
    return {
        "whole": not tally,
        "ledger_id": audited.identity.ledger_id,
        "epoch": audited.identity.epoch,
        "position": audited.head.position,
        "hash": audited.head.hash.hex(),
        "anchor": audited.anchor,
        "findings": tally.kinds,
        "foreign": audited.foreign,
    }


def _say_report(audited: Audited, tally: Tally) -> None:
    say(f"ledger {audited.identity.ledger_id}, epoch {audited.identity.epoch}, position {audited.head.position}")
    if audited.anchor:
        say(f"The anchor {_ANCHOR[audited.anchor]}.")
    if audited.foreign:
        say(f"Other programs have added tables or indexes to the file, which is harmless: {audited.foreign_in_words}.")
    if not tally:
        say("Everything is whole.", "green")
        return
    say_kinds(tally.kinds)


_ANCHOR = {
    "written": "was written",
    "holds": "matches, and now has this position",
    "differs": "was not changed, since the log is not whole",
}


def say_kinds(kinds: tuple[Kind, ...]) -> None:
    """Print a table of the kinds of findings, and the first examples of each."""
    say_table(("FOUND", "TIMES", "FIX WITH"), ((kind.kind, str(kind.count), kind.mend) for kind in kinds))
    for kind in kinds:
        say(f"{kind.kind}:", "bold")
        for example in kind.examples[:EXAMPLES_SHOWN]:
            say(f"  {example.where}: {example.sentence}")
        if kind.count > EXAMPLES_SHOWN:
            say(f"  and {kind.count - EXAMPLES_SHOWN} more")
