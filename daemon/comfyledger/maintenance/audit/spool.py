"""The spool against the rows: files that are missing, files that should not exist, and files with changed bytes.

A running daemon changes both meanwhile. So a suspected fault is checked again, row first, and only reported if it is
still there. A stored image has no file once retention has deleted it; an image without stores keeps its file for ever.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from comfyledger.core.keys import ImageKey, PromptKey
from comfyledger.core.media import EXTENSION
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import FILES_MAX, WAITING_FIRST, waiting_index
from comfyledger.ledger.sqlite import projections
from comfyledger.maintenance.audit.findings import Progress, Tally

YOUNG_S: Final = 60.0
"""The daemon may be about to record a younger file."""
_PAGE: Final = 500
_KEPT: Final = re.compile(rf"([1-9][0-9]{{0,14}})\.({EXTENSION})")
_TEMPORARY: Final = re.compile(r"\.[1-9][0-9]*-a[0-9]+-[0-9]+\.(?:raw|pinned)")
"""The names of kept files, and of files that are still being written. The daemon removes the latter at its start."""
OWNER: Final = frozenset({".ledger", ".ledger.new"})
"""Files of `workers/spool/folder_lock.py`: they name the ledger that a folder belongs to."""
_IMAGES: Final = "SELECT row FROM images WHERE (batch_id, image) > (?, ?) ORDER BY batch_id, image LIMIT ?"


def check_spool(
    connection: sqlite3.Connection, root: Path, now_s: float, tally: Tally, progress: Progress, box: str = ""
) -> None:
    """Check every file and every row. `now_s` is the wall clock. `box`: whose spool it is, in a fleet.

    Raises OSError if the spool cannot be read.
    """
    total = connection.execute("SELECT count(*) FROM images").fetchone()[0]
    folders = {entry.name for entry in _entries(root)}
    for number, row in enumerate(rows_of_images(connection), 1):
        is_here = row.sha256 and not row.is_elsewhere(box)
        if is_here and (row.batch_id in folders or _must_stay(row)) and _wrong(root, row):
            _add_if_still_wrong(connection, root, row, tally, box)
        progress("files of the spool", number, total)
    for path in files_in(root):
        if not _TEMPORARY.fullmatch(path.name) and not _is_known(connection, root, path) and is_old(path, now_s):
            sentence = f"The ledger does not know this file, or has forgotten it: {path.relative_to(root)}."
            tally.add("spool_foreign", str(path), sentence)


def rows_of_images(connection: sqlite3.Connection) -> Iterator[ImageRow]:
    """Every image in the order of batch and index, in pages. The fold reports rows that cannot be read."""
    place: tuple[str, int] = ("", 0)
    while page := connection.execute(_IMAGES, (*place, _PAGE)).fetchall():
        for (raw,) in page:
            row = projections.decode_image(raw)
            place = (row.batch_id, row.index)
            yield row


def _path_of(root: Path, row: ImageRow) -> Path:
    return root / row.batch_id / f"{row.index}.{row.extension}"


def _wrong(root: Path, row: ImageRow) -> tuple[str, str] | None:
    """The kind of finding about an image's file, and a text about it; None if the file is right."""
    path = _path_of(root, row)
    try:
        size_bytes = path.stat().st_size
        if size_bytes != row.size_bytes:
            return "spool_changed", f"it has {size_bytes} bytes instead of {row.size_bytes}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return None if digest == row.sha256 else ("spool_changed", "its bytes are not those that were kept")
    except FileNotFoundError:
        return ("spool_missing", "it is missing") if _must_stay(row) else None
    except OSError as error:
        return "spool_changed", f"it cannot be read ({error.strerror})"


def _must_stay(row: ImageRow) -> bool:
    return row.state in {"kept", "parked"} or (row.state == "stored" and not row.uploads)


def _add_if_still_wrong(connection: sqlite3.Connection, root: Path, before: ImageRow, tally: Tally, box: str) -> None:
    """Add a finding if the file is still wrong by the row as it is now."""
    row = row_of_image(connection, before.batch_id, before.index)
    if row is not None and not row.is_elsewhere(box) and (wrong := _wrong(root, row)):
        kind, how = wrong
        tally.add(kind, str(_path_of(root, row)), f"The file of {row.file} ({row.state}): {how}.")


def row_of_image(connection: sqlite3.Connection, batch_id: str, index: int) -> ImageRow | None:
    return projections.load(connection, (ImageKey(batch_id, index),)).image(batch_id, index)


def files_in(root: Path) -> Iterator[Path]:
    """Every file in a folder like the spool, and in the folders in it. Links to folders are not followed."""
    for entry in _entries(root):
        if entry.is_dir(follow_symlinks=False):
            yield from (Path(inner.path) for inner in _entries(Path(entry.path)))
        elif entry.name not in OWNER:
            yield Path(entry.path)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from entries


def _is_known(connection: sqlite3.Connection, root: Path, path: Path) -> bool:
    kept = _KEPT.fullmatch(path.name)
    if kept is None or path.parent.parent != root:
        return False
    if int(kept[1]) >= WAITING_FIRST:
        return _waits(connection, path.parent.name, int(kept[1]))
    row = row_of_image(connection, path.parent.name, int(kept[1]))
    return row is not None and row.extension == kept[2] and not row.is_forgotten


def _waits(connection: sqlite3.Connection, batch_id: str, index: int) -> bool:
    """Whether it is a file of a prompt that made more files than images, from which a person must choose."""
    prompt = (index - WAITING_FIRST) // FILES_MAX
    row = projections.load(connection, (PromptKey(batch_id, prompt),)).prompt(batch_id, prompt)
    return row is not None and any(waiting_index(prompt, file.image) == index for file in row.waiting)


def is_old(path: Path, now_s: float) -> bool:
    """Whether the daemon is not about to record a file; False if it has gone meanwhile."""
    with suppress(FileNotFoundError):
        return now_s - path.lstat().st_mtime >= YOUNG_S
    return False
