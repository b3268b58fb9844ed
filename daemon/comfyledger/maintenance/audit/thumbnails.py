"""The cache of thumbnails against the rows: a thumbnail of an image that is forgotten or unknown should not exist.

Nothing else of the cache is checked: whatever is damaged or missing in it is made again.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Final

from comfyledger.maintenance.audit.findings import Tally
from comfyledger.maintenance.audit.spool import files_in, is_old, row_of_image

_KEPT: Final = re.compile(r"([1-9][0-9]{0,14})-(?:small|large)\.webp")


def check_thumbnails(connection: sqlite3.Connection, root: Path, now_s: float, tally: Tally) -> None:
    """Check every file. `now_s` is the wall clock. Raises OSError if the folder cannot be read."""
    for path in files_in(root):
        if not _is_known(connection, root, path) and is_old(path, now_s):
            sentence = f"The ledger does not know the image of this thumbnail, or has forgotten it: {path.name}."
            tally.add("thumbnail_foreign", str(path), sentence)


def _is_known(connection: sqlite3.Connection, root: Path, path: Path) -> bool:
    kept = _KEPT.fullmatch(path.name)
    if kept is None or path.parent.parent != root:
        return False
    row = row_of_image(connection, path.parent.name, int(kept[1]))
    return row is not None and bool(row.sha256) and not row.is_forgotten
