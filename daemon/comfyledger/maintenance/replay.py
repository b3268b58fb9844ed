"""The state as it was at some position, in a file of its own with the tables of a ledger and the events up to there.

It can be read by whatever reads a ledger, and cannot be run as one: it has no epoch, so a daemon refuses it. The texts
beside the log are not copied: a text that is forgotten later must not live on there.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.eventlog import read_head
from comfyledger.ledger.sqlite import schema
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.audit.fold import Scratch
from comfyledger.maintenance.open_read_only import identity_of, looking


def replay(path: Path, upto: int, out: Path, progress: Progress) -> None:
    """Fold the log of the ledger at `path` up to a position into a new file.

    Raises Refused for a position that the log does not have and for a file that exists already, LedgerUnusable for a
    log that cannot be folded, OSError. Nothing is left under the name then.
    """
    if out.exists():
        raise Refused("invalid_field", f"{out} exists already.", hint="Name a file that does not.")
    with looking(path) as live:
        head = read_head(live).position
        if not 0 <= upto <= head:
            raise Refused("unknown_position", f"The log has no position {upto}.", hint=f"It ends at {head}.")
        beside = out.with_name(f".{out.name}.new")
        beside.unlink(missing_ok=True)
        try:
            _fold(live, upto, beside, progress)
            beside.replace(out)
        finally:
            beside.unlink(missing_ok=True)


def _fold(live: sqlite3.Connection, upto: int, out: Path, progress: Progress) -> None:
    out.touch(mode=0o600, exist_ok=False)
    tally = Tally()
    scratch = Scratch(out, with_events=True)
    try:
        whole = scratch.fold(live, upto, tally, progress)
        schema.set_meta(scratch.connection, "ledger_id", identity_of(live).ledger_id)
        schema.set_meta(scratch.connection, "replayed_to", str(upto))
    finally:
        scratch.close()
    if not whole or scratch.position != upto:
        said = " ".join(finding.sentence for kind in tally.kinds for finding in kind.examples)
        text = said or f"The log ends at {scratch.position}."
        raise LedgerUnusable(text, hint="See `comfyledger audit`.")


def position_at(path: Path, at_ms: int) -> int:
    """The last position that was written no later than a time (milliseconds since 1970, UTC); 0 before the first.

    Raises LedgerUnusable.
    """
    with looking(path) as live:
        sql = "SELECT position FROM events WHERE at <= ? ORDER BY position DESC LIMIT 1"
        row = live.execute(sql, (at_ms,)).fetchone()
    return row[0] if row else 0
