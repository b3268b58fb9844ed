"""The folder of inputs against the rows: files that are missing, that should not exist, and with changed bytes.

A running daemon changes both meanwhile. So a suspected fault is checked again, row first, and only reported if it is
still there.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from comfyledger.core.inputs import InputRow
from comfyledger.core.keys import InputKey
from comfyledger.core.media import EXTENSION
from comfyledger.ledger.sqlite import projections
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.audit.spool import files_in, is_old

_PAGE: Final = 500
_KEPT: Final = re.compile(rf"([0-9a-f]{{64}})\.({EXTENSION})")
_ON_ITS_WAY: Final = re.compile(r"\.(?:[0-9a-f]{64}-)?[0-9]+\.(?:raw|pinned)|\.[0-9a-f]{64}\.strikes")
"""Files that are still being written or checked, and how often the daemon died meanwhile. It removes them itself."""
_INPUTS: Final = "SELECT sha256, row FROM inputs WHERE sha256 > ? ORDER BY sha256 LIMIT ?"


def check_inputs(
    connection: sqlite3.Connection, root: Path, now_s: float, tally: Tally, progress: Progress, box: str = ""
) -> None:
    """Check every file and every row. `now_s` is the wall clock. `box`: whose folder it is, in a fleet; other boxes may
    keep what it does not have. Raises OSError if the folder cannot be read.
    """
    total = connection.execute("SELECT count(*) FROM inputs").fetchone()[0]
    for number, row in enumerate(_rows(connection), 1):
        if _wrong(root, row, box):
            _add_if_still_wrong(connection, root, row.sha256, tally, box)
        progress("input files", number, total)
    for path in files_in(root):
        if not _ON_ITS_WAY.fullmatch(path.name) and not _is_known(connection, root, path) and is_old(path, now_s):
            sentence = f"The ledger does not know this file, or has forgotten it: {path.relative_to(root)}."
            tally.add("input_foreign", str(path), sentence)


def _rows(connection: sqlite3.Connection) -> Iterator[InputRow]:
    """Every input by sha256, in pages. The fold reports rows that cannot be read."""
    after = ""
    while page := connection.execute(_INPUTS, (after, _PAGE)).fetchall():
        yield from (projections.decode_input(raw) for _, raw in page)
        after = page[-1][0]


def _path_of(root: Path, row: InputRow) -> Path:
    return root / row.sha256[:2] / f"{row.sha256}.{row.extension}"


def _wrong(root: Path, row: InputRow, box: str) -> tuple[str, str] | None:
    """The kind of finding about an input's file, and a text about it; None if the file is right or may have gone."""
    if row.here != "kept":
        return None
    try:
        with _path_of(root, row).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return None if digest == row.sha256 else ("input_changed", "its bytes are not those that were added")
    except FileNotFoundError:
        return ("input_missing", "it is missing") if row.box == box else None
    except OSError as error:
        return "input_changed", f"it cannot be read ({error.strerror})"


def _add_if_still_wrong(connection: sqlite3.Connection, root: Path, sha256: str, tally: Tally, box: str) -> None:
    """Add a finding if the file is still wrong by the row as it is now."""
    row = _row(connection, sha256)
    if row is not None and (wrong := _wrong(root, row, box)):
        kind, how = wrong
        tally.add(kind, str(_path_of(root, row)), f"The file of the input sha256:{sha256}: {how}.")


def _row(connection: sqlite3.Connection, sha256: str) -> InputRow | None:
    return projections.load(connection, (InputKey(sha256),)).input(sha256)


def _is_known(connection: sqlite3.Connection, root: Path, path: Path) -> bool:
    """Whether it is the file of an input, which may be about to be removed."""
    kept = _KEPT.fullmatch(path.name)
    if kept is None or path.parent != root / kept[1][:2]:
        return False
    row = _row(connection, kept[1])
    return row is not None and row.extension == kept[2] and bool(row.here)
