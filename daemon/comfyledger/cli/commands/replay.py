"""`replay`: a past state in a file of its own, or all tables computed from the log, to compare or to keep."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import click

from comfyledger.cli.base import DONE, FOUND, json_option, refusing
from comfyledger.cli.commands.audit import say_kinds
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import say, say_json


@click.command()
@running_config_option
@click.option("--to", "to", help="A position of the log, or a time like 2026-01-31T14:00 (of this machine's clock).")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="With --to: the new file. Default: a temporary one."
)
@click.option("--check", is_flag=True, help="Compute every table from the log and compare it with the live one.")
@click.option("--rebuild", is_flag=True, help="Replace every table by what the log says; no daemon may run.")
@json_option
@click.pass_context
def replay(
    ctx: click.Context,
    config_path: Path | None,
    to: str | None,
    out: Path | None,
    check: bool,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Compute the tables again from the log, to look at, compare or replace them.

    Only --rebuild changes the ledger; without it the daemon may run.
    """

    if [check, rebuild, to is not None].count(True) != 1:
        raise click.UsageError("Give one of --to, --check and --rebuild.")
    ledger = settings_of(ctx, config_path).ledger_path
    if check:
        ctx.exit(_check(ledger, as_json))
    elif to is None:
        _rebuild(ledger, as_json)
    else:
        _replay(ledger, to, out, as_json)


def _check(ledger: Path, as_json: bool) -> int:
    from comfyledger.maintenance.audit.findings import Tally
    from comfyledger.maintenance.audit.run import check_projections
    from comfyledger.maintenance.open_read_only import open_read_only

    tally = Tally()
    with refusing(), bars() as progress, open_read_only(ledger) as live:
        position = check_projections(live, tally, progress)
    if as_json:
        say_json({"whole": not tally, "position": position, "findings": tally.kinds})
    elif tally:
        say_kinds(tally.kinds)
    else:
        say(f"Every table agrees with the log, up to position {position}.", "green")
    return FOUND if tally else DONE


def _rebuild(ledger: Path, as_json: bool) -> None:
    from comfyledger.maintenance.rebuild import rebuild

    with refusing(), bars() as progress:
        position = rebuild(ledger, progress)
    if as_json:
        say_json({"position": position})
    else:
        say(f"Every table was computed again from the log, up to position {position}.", "green")


def _replay(ledger: Path, to: str, out: Path | None, as_json: bool) -> None:
    from comfyledger.maintenance.replay import position_at, replay

    with refusing(), bars() as progress:
        position = int(to) if to.isdecimal() else position_at(ledger, _time(to))
        place = out or Path(tempfile.mkdtemp(prefix="comfyledger-replay-")) / f"at-{position}.db"
        replay(ledger, position, place, progress)
    if as_json:
        say_json({"position": position, "file": str(place)})
    else:
        say(f"The state at position {position} is in {place}")


def _time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither a position nor a time.", param_hint="--to") from error
