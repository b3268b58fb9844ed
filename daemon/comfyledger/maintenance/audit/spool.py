"""The spool against the rows: what must be there and is not, what is there and must not be, and whose bytes changed.

Beside a daemon both go on changing. So what seems wrong is looked at once more, row first: only what is wrong twice is
said. A stored image has no file once retention has taken it; an image without stores keeps its file for ever.
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
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import FILES_MAX, WAITING_FIRST, waiting_index
from comfyledger.ledger.sqlite import projections
from comfyledger.maintenance.audit.findings import Progress, Tally

YOUNG_S: Final = 60.0
"""A file that is younger may be one that the daemon is about to record."""
_PAGE: Final = 500
_KEPT: Final = re.compile(r"([1-9][0-9]{0,14})\.(png|jpg|webp)")
_TEMPORARY: Final = re.compile(r"\.[1-9][0-9]*-a[0-9]+-[0-9]+\.(?:raw|pinned)")
"""The name of a kept file, and of one that is still being written; the daemon removes the latter when it starts."""
_OWNER: Final = frozenset({".ledger", ".ledger.new"})
"""In which `workers/spool/folder_lock.py` says whose the spool is."""
_IMAGES: Final = "SELECT row FROM images WHERE (batch_id, image) > (?, ?) ORDER BY batch_id, image LIMIT ?"


def check_spool(connection: sqlite3.Connection, root: Path, now_s: float, tally: Tally, progress: Progress) -> None:
    """Every file and every row. Raises OSError if the spool cannot be read; `now_s` is the wall clock."""
    total = connection.execute("SELECT count(*) FROM images").fetchone()[0]
    folders = {entry.name for entry in _entries(root)}
    for number, row in enumerate(rows_of_images(connection), 1):
        if row.sha256 and (row.batch_id in folders or _must_stay(row)) and _wrong(root, row):
            _tell(connection, root, row, tally)
        progress("files of the spool", number, total)
    for path in _files(root):
        if not _TEMPORARY.fullmatch(path.name) and not _is_known(connection, root, path) and _is_old(path, now_s):
            sentence = f"The ledger knows no such file, or has forgotten it: {path.relative_to(root)}."
            tally.add("spool_foreign", str(path), sentence)


def rows_of_images(connection: sqlite3.Connection) -> Iterator[ImageRow]:
    """Every image in the order of batch and index, in pages. A row that cannot be read is told by the fold."""
    place: tuple[str, int] = ("", 0)
    while page := connection.execute(_IMAGES, (*place, _PAGE)).fetchall():
        for (raw,) in page:
            row = projections.decode_image(raw)
            place = (row.batch_id, row.index)
            yield row


def _path_of(root: Path, row: ImageRow) -> Path:
    return root / row.batch_id / f"{row.index}.{row.extension}"


def _wrong(root: Path, row: ImageRow) -> tuple[str, str] | None:
    """The kind of what is wrong with an image's file, and how it is."""
    path = _path_of(root, row)
    try:
        size_bytes = path.stat().st_size
        if size_bytes != row.size_bytes:
            return "spool_changed", f"it has {size_bytes} bytes, should have {row.size_bytes}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return None if digest == row.sha256 else ("spool_changed", "its bytes are not those that were kept")
    except FileNotFoundError:
        return ("spool_missing", "it is not there") if _must_stay(row) else None


def _must_stay(row: ImageRow) -> bool:
    return row.state in {"kept", "parked"} or (row.state == "stored" and not row.uploads)


def _tell(connection: sqlite3.Connection, root: Path, before: ImageRow, tally: Tally) -> None:
    """Say what is wrong if it still is, by the row as it is now."""
    row = _row(connection, before.batch_id, before.index)
    if row is not None and (wrong := _wrong(root, row)):
        kind, how = wrong
        tally.add(kind, str(_path_of(root, row)), f"The file of {row.file} ({row.state}): {how}.")


def _row(connection: sqlite3.Connection, batch_id: str, index: int) -> ImageRow | None:
    return projections.load(connection, (ImageKey(batch_id, index),)).image(batch_id, index)


def _files(root: Path) -> Iterator[Path]:
    """All that is in the spool but folders; none is followed out of it."""
    for entry in _entries(root):
        if entry.is_dir(follow_symlinks=False):
            yield from (Path(inner.path) for inner in _entries(Path(entry.path)))
        elif entry.name not in _OWNER:
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
    row = _row(connection, path.parent.name, int(kept[1]))
    return row is not None and row.extension == kept[2] and not row.is_forgotten


def _waits(connection: sqlite3.Connection, batch_id: str, index: int) -> bool:
    """Whether it is a file of a prompt that gave more files than images, of which a person must choose."""
    prompt = (index - WAITING_FIRST) // FILES_MAX
    row = projections.load(connection, (PromptKey(batch_id, prompt),)).prompt(batch_id, prompt)
    return row is not None and any(waiting_index(prompt, file.image) == index for file in row.waiting)


def _is_old(path: Path, now_s: float) -> bool:
    """Not so if it has gone meanwhile."""
    with suppress(FileNotFoundError):
        return now_s - path.lstat().st_mtime >= YOUNG_S
    return False
