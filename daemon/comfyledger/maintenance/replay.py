"""The state at a position, in a file of its own with the tables of a ledger and the events up to there.

Every reader of a ledger can read it. A daemon refuses it, because it has no epoch. The texts are not copied: a text
that is forgotten later must not survive there.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.log_table import LogTable, read_head
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.audit.fold import Scratch
from comfyledger.maintenance.open_read_only import identity_of, open_read_only


def replay(path: Path, upto: int, out: Path, progress: Progress) -> None:
    """Fold the log of the ledger at `path` up to a position into a new file.

    Raises Refused for a position that the log does not have and for a file that exists, LedgerUnusable for a log that
    cannot be folded, OSError. After an error there is no file `out`.
    """
    if out.exists():
        raise Refused("invalid_field", f"{out} exists already.", hint="Name a file that does not exist.")
    with open_read_only(path) as live:
        head = read_head(live).position
        if not 0 <= upto <= head:
            raise Refused("unknown_position", f"The log has no position {upto}.", hint=f"It ends at {head}.")
        unfinished = out.with_name(f".{out.name}.new")
        unfinished.unlink(missing_ok=True)
        try:
            _fold(live, upto, unfinished, progress)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)


def _fold(live: sqlite3.Connection, upto: int, out: Path, progress: Progress) -> None:
    out.touch(mode=0o600, exist_ok=False)
    tally = Tally()
    scratch = Scratch(out, with_events=True)
    try:
        whole = scratch.fold(LogTable(live), upto, tally, progress)
        schema.set_meta(scratch.connection, "ledger_id", identity_of(live).ledger_id)
        schema.set_meta(scratch.connection, "replayed_to", str(upto))
    finally:
        scratch.close()
    if not whole or scratch.position != upto:
        texts = " ".join(finding.sentence for kind in tally.kinds for finding in kind.examples)
        text = texts or f"The log ends at {scratch.position}."
        raise LedgerUnusable(text, hint="See `comfyledger audit`.")


def position_at(path: Path, at_ms: int) -> int:
    """The last position written no later than a time (milliseconds since 1970, UTC); 0 before the first event.

    Raises LedgerUnusable.
    """
    with open_read_only(path) as live:
        sql = "SELECT position FROM events WHERE at <= ? ORDER BY position DESC LIMIT 1"
        row = live.execute(sql, (at_ms,)).fetchone()
    return row[0] if row else 0
