"""The facts that the doctor gathers about input files: which the ledger knows, and what is still to be removed where.

Nothing is judged here. The ledger and the folder are only read, while a daemon may run.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.core.inputs import InputRow
from comfyledger.core.media import EXTENSION
from comfyledger.core.scheduling.effects import effects_of_input
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.sqlite import projections
from comfyledger.maintenance.doctor.judge import InputsSeen
from comfyledger.maintenance.open_read_only import open_read_only

YOUNG_S: Final = 60.0
"""The daemon may be about to record a younger file."""
_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_KEPT: Final = re.compile(rf"([0-9a-f]{{64}})\.{EXTENSION}")


def inputs(ledger: Path, folder: Path, now_s: float) -> InputsSeen | None:
    """What the ledger says of inputs, compared with their folder; None if it says nothing. Raises OSError.

    `now_s`: the wall clock, to which the age of files is compared.

    Why a ledger cannot be read is a check of its own. One of an older release has no inputs until the daemon starts.
    """
    lying, sizes, removals = set[str](), dict[str, int](), Counter[str]()
    is_readable = True
    try:
        lying.update(_lying(folder, now_s - YOUNG_S))
    except PermissionError:
        is_readable = False
    try:
        for row in _rows(ledger):
            removals.update(effect.backend for effect in effects_of_input(row))
            if row.here:
                sizes[row.sha256] = row.size_bytes
    except (sqlite3.Error, LedgerUnusable, msgspec.MsgspecError):
        return None
    return InputsSeen(len(sizes), sum(sizes.values()), len(lying - sizes.keys()), dict(removals), is_readable)


def _rows(ledger: Path) -> Iterator[InputRow]:
    if ledger.exists():
        with open_read_only(ledger) as connection:
            for (raw,) in connection.execute("SELECT row FROM inputs"):
                yield projections.decode_input(raw)


def _lying(folder: Path, latest: float) -> Iterator[str]:
    """The digests by which files lie in the folder, of those that came before `latest`."""
    for shard in _names(folder):
        if _SHARD.fullmatch(shard):
            kept = (_KEPT.fullmatch(name) for name in _names(folder / shard))
            yield from (one[1] for one in kept if one and _is_older(folder / shard / one[0], latest))


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def _is_older(path: Path, latest: float) -> bool:
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime <= latest
    return False
