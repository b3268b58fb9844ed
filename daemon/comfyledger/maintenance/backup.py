"""A copy of the ledger while its daemon runs: a single moment, verified, and then renamed to its final name.

The copy is read within one transaction in small steps, so the daemon keeps writing and the copy never restarts. The
write-ahead log cannot be checkpointed meanwhile, so the time is limited. A copy needs no other file. It contains the
texts of the ledger as they were: what is forgotten later survives in it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.durable import sync_folder
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.file_lock import Hold, made
from comfyledger.ledger.log_reader import LogUnreadable
from comfyledger.ledger.sqlite.log_table import LogTable, one_moment, read_head
from comfyledger.maintenance.audit import chain
from comfyledger.maintenance.audit.file import check_file
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.open_read_only import Identity, identity_of, open_read_only

STEP_PAGES: Final = 256
COPY_S: Final = 900.0
"""How long the write-ahead log may stay without a checkpoint."""
STALE_S: Final = 86_400.0
"""A temporary file of this age was left by a killed backup."""
SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""Of a database's file and the files that SQLite keeps next to it."""

_NAME: Final = "comfyledger-{ledger_id}-{at}-{position}.db"
_OWN: Final = r"comfyledger-{ledger_id}-(\d{{8}}T\d{{6}}Z)-(\d+)\.db"
_AUDIT: Final = "See `comfyledger audit`."


class Copied(msgspec.Struct, frozen=True):
    """A finished backup: its file, its ledger and its last position. `removed`: the older backups that were deleted."""

    file: str
    ledger_id: str
    epoch: str
    position: int
    hash: str
    size_bytes: int
    removed: tuple[str, ...] = ()


def backup(path: Path, target: Path, now_s: float, progress: Progress, *, force: bool = False) -> Copied:
    """Copy the ledger at `path` to a file, or into a folder under a name with date and position.

    Raises Refused for a file that exists (unless `force`), LedgerUnusable for a ledger that is not whole or a copy that
    took too long, OSError. An error leaves no new file.
    """
    with ExitStack() as ending:
        with open_read_only(path) as live, one_moment(live):
            target = _place(path, target, identity_of(live), read_head(live), now_s, force)
            unfinished = target.with_name(f".{target.name}.{os.getpid()}.new")
            ending.callback(remove, unfinished)
            copied = ending.enter_context(closing(made(unfinished)))
            copy(live, unfinished, progress)
        return _put(copied, target, progress, force)


def _place(path: Path, target: Path, identity: Identity, head: Head, now_s: float, force: bool) -> Path:
    """The file to write. Raises Refused if it must not be written."""
    if target.is_dir():
        at = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        target = target / _NAME.format(ledger_id=identity.ledger_id, at=at, position=head.position)
    own = {path.resolve().with_name(path.resolve().name + end) for end in (*SUFFIXES, ".lock", ".mark")}
    if target.resolve() in own:
        raise Refused("invalid_field", f"{target} is the ledger itself.", hint="Name another file.")
    _check_free(target, force)
    return target


def _check_free(target: Path, force: bool) -> None:
    if target.exists() and not target.is_file():
        text = f"{target} exists and is not a file."
        raise Refused("invalid_field", text, hint="Name another file; --force does not replace this.")
    if target.exists() and not force:
        raise Refused("invalid_field", f"{target} exists already.", hint="Name another file, or give --force.")


def copy(source: sqlite3.Connection, target: Path, progress: Progress) -> None:
    """Copy a database in small steps into a single file. Raises LedgerUnusable, sqlite3.Error."""
    until_s = time.monotonic() + COPY_S

    def step(_status: int, remaining: int, total: int) -> None:
        progress("pages copied", total - remaining, total)
        if time.monotonic() > until_s:
            raise LedgerUnusable(f"The copy took longer than {COPY_S:g} s.", hint="Choose a faster disk for it.")

    with closing(sqlite3.connect(target, isolation_level=None)) as copied:
        copied.execute("PRAGMA synchronous=OFF")  # It is synced as a whole after it is verified.
        source.backup(copied, pages=STEP_PAGES, progress=step)
        copied.execute("PRAGMA journal_mode=DELETE")


def verified(path: Path, progress: Progress) -> tuple[Identity, Head]:
    """Which ledger a file contains, up to which position. Raises LedgerUnusable if it is not whole."""
    tally = Tally()
    with open_read_only(path) as connection:
        try:
            check_file(connection, tally, progress)
            log = LogTable(connection)
            head = chain.fixed_head(log, tally)
            chain.check_chain(log, head, tally, progress)
            identity = identity_of(connection)
        except (sqlite3.Error, LogUnreadable) as error:
            raise LedgerUnusable(f"{path} is not whole: {error}.", hint=_AUDIT) from error
    if tally:
        first = tally.kinds[0].examples[0]
        raise LedgerUnusable(f"{path} is not whole: {first.where}: {first.sentence}", hint=_AUDIT)
    return identity, head


def _put(copied: Hold, target: Path, progress: Progress, force: bool) -> Copied:
    identity, head = verified(copied.path, progress)
    copied.sync()
    _check_free(target, force)
    copied.path.replace(target)
    sync_folder(target.parent)
    size_bytes = target.stat().st_size
    return Copied(str(target), identity.ledger_id, identity.epoch, head.position, head.hash.hex(), size_bytes)


def prune(copied: Copied, keep: int, now_s: float) -> Copied:
    """Remove all but the newest `keep` backups of this ledger with names made here. Raises OSError.

    The backup just made stays, even if the clock was ahead before.
    """
    made = Path(copied.file)
    own = re.compile(_OWN.format(ledger_id=re.escape(copied.ledger_id)))
    found = [(match[1], int(match[2]), path) for path in made.parent.iterdir() if (match := own.fullmatch(path.name))]
    older = [path for *_, path in sorted(found, reverse=True) if path != made]
    gone = older[keep - 1 :]
    for path in gone:
        path.unlink()
    for path in made.parent.glob(f".comfyledger-{copied.ledger_id}-*.new"):
        if now_s - path.stat().st_mtime > STALE_S:
            path.unlink()
    return msgspec.structs.replace(copied, removed=tuple(map(str, gone)))


def remove(path: Path) -> None:
    """Remove a database file with the files that SQLite keeps next to it."""
    for end in SUFFIXES:
        path.with_name(path.name + end).unlink(missing_ok=True)
