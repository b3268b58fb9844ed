"""The file of a ledger: its schema, its meta values, and SQLite's own check of pages and indexes."""

from __future__ import annotations

import sqlite3
from typing import Final

from comfyledger.ledger.sqlite import schema, schema_objects
from comfyledger.maintenance.audit.findings import Progress, Tally

_LAST_EPOCH: Final = "SELECT data ->> '$.epoch' FROM events WHERE stream = 'ledger' ORDER BY position DESC LIMIT 1"


def check_file(live: sqlite3.Connection, tally: Tally, progress: Progress) -> None:
    """Compare the schema object by object, check the meta values, and run SQLite's own check."""
    trouble = schema_objects.trouble_of(schema.examine(live))
    if trouble is not None:
        text = f"The file is not as comfyledger left it. {trouble}"
        tally.add("schema_changed", "sqlite_schema", text)
    for key in ("ledger_id", "epoch", "secret"):
        if not schema.get_meta(live, key):
            tally.add("file_damaged", f"meta {key}", f"The ledger has lost its {key}.")
    restored = live.execute(_LAST_EPOCH).fetchone()
    if restored is not None and restored[0] != schema.get_meta(live, "epoch"):
        tally.add("file_damaged", "meta epoch", f"The epoch is not {restored[0]}, which the last restore began.")
    progress("pages and indexes", 0, 0)
    for (problem,) in live.execute("PRAGMA integrity_check(100)"):
        if problem != "ok":
            tally.add("file_damaged", "pages and indexes", str(problem))
