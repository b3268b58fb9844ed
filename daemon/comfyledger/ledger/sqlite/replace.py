"""Puts a ledger in the place of another: a scratch copy gets its new epoch, and the last step renames it into place.

A kill at any step leaves the old ledger or the new one, whole. The old one gets another name and is never removed. The
numbers that the new one begins with come with the command; `maintenance/restore.py` finds them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from comfyledger.core.commands import (
    AddBackend,
    AddWebhook,
    Forget,
    ForgetInput,
    PauseWebhook,
    RemoveBackend,
    RemoveWebhook,
    RestoreLedger,
    ResumeWebhook,
)
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import InputSending
from comfyledger.durable import sync_folder
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.commit_group import Terms, decide_group
from comfyledger.ledger.file_lock import Hold
from comfyledger.ledger.sqlite import mark, replica, schema
from comfyledger.ledger.sqlite.locking import ASIDE, hold
from comfyledger.ledger.sqlite.mark import Mark, Marking
from comfyledger.ledger.sqlite.opening import check_place, connect, folders_above
from comfyledger.ledger.sqlite.reader import read_only
from comfyledger.ledger.sqlite.writer import Ledger

READERS_WAIT_S: Final = 5.0
_HEADER: Final = b"SQLite format 3\0"
_OfWebhooks = AddWebhook | RemoveWebhook | PauseWebhook | ResumeWebhook
Again = Forget | ForgetInput | InputSending | AddBackend | RemoveBackend | _OfWebhooks
"""What happened after the backup and is recorded once more."""
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@contextmanager
def held(path: Path) -> Iterator[Hold]:
    """Lock the ledger at `path` as its daemon would, also if there is none yet. Raises LedgerUnusable, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_place(path)
    with closing(hold(path, create=False)) as holding:
        yield holding


def has_tables(path: Path) -> bool:
    """Whether a file has tables. A ledger has none if it lost its log before they were written to the file."""
    if not path.exists():
        return False
    with closing(read_only(path)) as connection:
        return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])


def bear(scratch: Hold, before: Mark) -> None:
    """Make an empty ledger that continues one of which only the mark is left. Raises as `write`."""
    with closing(connect(scratch)) as connection:
        schema.set_meta(connection, "ledger_id", before.ledger_id)
        schema.set_meta(connection, "epoch", before.epoch)


def write(scratch: Hold, command: RestoreLedger, again: Iterable[Again], now_ms: int, replaced: Mark | None) -> Mark:
    """Write the new epoch and the numbers that were seen into a copy that no other process knows, and what is so again.

    `replaced`: the mark that lies where the copy will be. Returns the end of the copy, for its mark. Raises
    LedgerUnusable, sqlite3.Error, OSError.
    """
    with closing(sqlite3.connect(scratch.path, isolation_level=None)) as connection:
        replica.end(connection)
    ledger = Ledger(connect(scratch))
    try:
        for one in (command, *again):
            (outcome,), _ = decide_group(ledger, [one], Terms(now_ms, Policy(), None))
            if outcome.error is not None and (one is command or not isinstance(outcome.error, Refused)):
                raise outcome.error  # A broken log may name images that there are not.
        end = Mark(ledger.head, ledger.ledger_id, command.epoch)
    finally:
        ledger.close()
    with closing(sqlite3.connect(scratch.path, isolation_level=None)) as connection:
        schema.set_meta(connection, "epoch", command.epoch)
        if replaced is not None:
            schema.set_meta(connection, mark.REPLACED, replaced.epoch)
    return end


def put_in_place(scratch: Hold, held: Hold, at: str, end: Mark) -> Path | None:
    """Rename the scratch copy over the ledger that is held. Returns the new name of the old one, if there was one.

    `at`: the time, for that name. `end`: the end of the new ledger, for its mark. Raises LedgerUnusable while somebody
    reads the old ledger, FileExistsError if that name is in use, OSError.
    """
    scratch.sync()
    path = held.path
    aside = path.with_name(f"{path.name}{ASIDE}{at}")
    if held.fd is not None:
        _end_log(held)
        os.link(path, aside)
    _move_log(path, aside)
    sync_folder(path.parent)
    scratch.path.replace(path)
    for folder in folders_above(path):
        sync_folder(folder)
    with closing(Marking(path, end.ledger_id, end.epoch)) as marking:
        marking.note(end.head)
    return aside if aside.exists() else None


def _end_log(held: Hold) -> None:
    """Move everything in the write-ahead log into the file, so that the file is complete. A damaged file may refuse.

    Beside a file that is no database SQLite would remove the log, so it is not opened then. Raises LedgerUnusable.
    """
    path = held.path
    if held.fd is None or os.pread(held.fd, len(_HEADER), 0) != _HEADER:
        return
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=READERS_WAIT_S)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.DatabaseError as error:
        busy = (error.sqlite_errorcode & 0xFF) in _BUSY
    if busy:
        raise LedgerUnusable(f"Another program reads {path}.", hint="Close it; then restore again.")


def _move_log(path: Path, aside: Path) -> None:
    """A log that is left belongs to the file that was moved aside; the new ledger must not get it."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and not log.stat().st_size:
        log.unlink()
    elif log.exists():
        log.replace(aside.with_name(aside.name + "-wal"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
