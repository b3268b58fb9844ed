"""The fact that the doctor gathers about prompts at ComfyUIs: how many of the ledger's are at each. No verdict.

The ledger is only read, while a daemon may run.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Final

from comfyledger.errors import LedgerUnusable
from comfyledger.maintenance.open_read_only import open_read_only

_OPEN: Final = "SELECT json_extract(row, '$.backend') FROM prompts WHERE state NOT IN ('done', 'queued')"


def prompts_at(ledger: Path) -> dict[str, int]:
    """By backend, prompts that are there or whose files are; none if the ledger cannot be read, which is a check of
    its own. Raises OSError."""
    if not ledger.exists():
        return {}
    try:
        with open_read_only(ledger) as connection:
            return dict(Counter(backend for (backend,) in connection.execute(_OPEN) if backend))
    except (sqlite3.Error, LedgerUnusable):
        return {}
