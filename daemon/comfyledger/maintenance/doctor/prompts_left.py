"""What the doctor reads about ComfyUIs in the ledger: how many prompts are at each, which were added. No verdict.

The ledger is only read, while a daemon may run.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Final

from comfyledger.errors import LedgerUnusable
from comfyledger.maintenance.open_read_only import open_read_only

_OPEN: Final = (
    "SELECT json_extract(row, '$.backend') FROM prompts WHERE state NOT IN ('done', 'queued', 'strays')"
    " UNION ALL SELECT json_extract(stray.value, '$.backend') FROM prompts, json_each(row, '$.strays') AS stray"
    " WHERE state <> 'done'"
)

_ADDED: Final = "SELECT name FROM backends WHERE present ORDER BY name"


def prompts_at(ledger: Path) -> dict[str, int]:
    """By backend, prompts that are there or whose files are, and those that were left behind there; none if the ledger
    cannot be read, which is a check of its own. Raises OSError.
    """
    if not ledger.exists():
        return {}
    try:
        with open_read_only(ledger) as connection:
            return dict(Counter(backend for (backend,) in connection.execute(_OPEN) if backend))
    except (sqlite3.Error, LedgerUnusable):
        return {}


def added_to(ledger: Path) -> list[str]:
    """The names of the ComfyUIs that clients have added; none if the ledger cannot be read, or is of an older version.
    Raises OSError."""
    if not ledger.exists():
        return []
    try:
        with open_read_only(ledger) as connection:
            return [name for (name,) in connection.execute(_ADDED)]
    except (sqlite3.Error, LedgerUnusable):
        return []
