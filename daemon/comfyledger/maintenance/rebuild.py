"""All tables of a ledger made again from its log: in a scratch file, then switched in one transaction.

No daemon may run. It mends tables that do not agree with the log, and tables, indexes and triggers that are missing or
changed. A later version with other tables uses it too. The log, the texts and the meta values are not changed.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite import replace, schema
from comfyledger.ledger.sqlite.locking import COMMAND_WAIT_S, naming, patiently
from comfyledger.ledger.sqlite.log_table import LogTable
from comfyledger.ledger.sqlite.opening import connect
from comfyledger.maintenance.audit import chain
from comfyledger.maintenance.audit.compare import TABLES
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.audit.fold import Scratch
from comfyledger.maintenance.open_read_only import open_read_only


def rebuild(path: Path, progress: Progress) -> int:
    """Returns the position up to which the tables now agree with the log.

    Raises LedgerUnusable for a ledger that a daemon holds, whose log is not whole, or that cannot be opened; OSError,
    sqlite3.Error. Then nothing has changed. The scratch file is in the ledger's folder and is as large as the tables.
    """
    if not path.is_file():
        raise LedgerUnusable(f"There is no ledger {path}.", hint="Choose another --config or --state-dir.")
    with replace.held(path) as held, tempfile.TemporaryDirectory(prefix=".rebuilding-", dir=path.parent) as folder:
        scratch = Path(folder) / "tables.db"
        position = _fold(path, scratch, progress)
        open_it = partial(connect, held, remaking=True)
        with closing(patiently(path, open_it, COMMAND_WAIT_S)) as connection, naming(path):
            _switch(connection, scratch, progress)
    return position


def _fold(path: Path, out: Path, progress: Progress) -> int:
    """Make the tables from the log, if its chain holds to its end."""
    tally = Tally()
    with open_read_only(path) as live:
        log = LogTable(live)
        head = chain.fixed_head(log, tally)
        if chain.check_chain(log, head, tally, progress):
            scratch = Scratch(out)
            try:
                scratch.fold(log, head.position, tally, progress)
            finally:
                scratch.close()
    if tally:
        first = tally.kinds[0].examples[0]
        raise LedgerUnusable(f"The log is not whole: {first.where}: {first.sentence}", hint="See `comfyledger audit`.")
    return head.position


def _switch(connection: sqlite3.Connection, scratch: Path, progress: Progress) -> None:
    """Replace all rows, and missing or changed tables too, in one transaction.

    Foreign keys of other programs' tables are not enforced meanwhile: every row that they can refer to comes back.
    """
    connection.execute("ATTACH ? AS made", (str(scratch),))
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("BEGIN IMMEDIATE")
    schema.remake(connection)
    for done, table in enumerate(TABLES, 1):
        connection.execute(f"DELETE FROM main.{table}")  # noqa: S608
        connection.execute(f"INSERT INTO main.{table} SELECT * FROM made.{table}")  # noqa: S608
        progress("tables", done, len(TABLES))
    connection.execute("COMMIT")
