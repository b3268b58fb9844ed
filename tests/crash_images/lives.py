"""A program of its own: a batch is forgotten, the ledger backed up, its tables made anew, and a backup takes its place.

Its folder is recorded. What each ledger holds is noted where it is acknowledged, and which backups are there. Before a
backup and before the restore the one who writes is killed, so that a write-ahead log is left. The last argument takes a
durable step out.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from comfyledger.core.commands import Forget
from comfyledger.core.decide.decide import Message
from comfyledger.ledger.file_lock import Hold
from comfyledger.ledger.sqlite import blobs, replace
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import backup as backup_module
from comfyledger.maintenance.audit.compare import TABLES
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import Copied, backup, prune
from comfyledger.maintenance.rebuild import rebuild
from comfyledger.maintenance.restore import Wanted, restore
from support.ledger_builders import NOW_MS, check_tables, raw, submission, take

LIVE = "state/ledger.db"
ELSEWHERE = "other/machine/ledger.db"
"""Two new folders: the restore makes them, and a power loss must not take them back."""
BACKUPS = "backups"
WORDS = "a lantern in the fog"
"""Typed by somebody who wants them forgotten."""
EPOCHS = {LIVE: "01SECONDEPOCH", ELSEWHERE: "01THIRDEPOCH"}

State = list[Any]


def note(**words: object) -> None:
    ctypes.CDLL(None).recorder_note(json.dumps(words).encode())


def state_of(connection: sqlite3.Connection) -> State:
    """What a ledger is: its epoch, the end of its log, and all that its tables and texts say."""
    (epoch,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    (position,) = connection.execute("SELECT max(position) FROM events").fetchone()
    (last,) = connection.execute("SELECT hash FROM events WHERE position = ?", (position,)).fetchone()
    digest = hashlib.blake2b(digest_size=12)
    for table in (*TABLES, "blobs"):
        digest.update(repr(sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)).encode())
    return [epoch, position, last.hex(), digest.hexdigest()]


def say(root: Path, ledger: str, connection: sqlite3.Connection) -> None:
    note(ledger=ledger, state=state_of(connection))


def live(root: Path, *messages: Message) -> None:
    ledger = Ledger.open(root / LIVE)
    take(ledger, *messages)
    say(root, LIVE, ledger._connection)
    ledger.close()


def forgotten(root: Path, batch_id: str) -> None:
    """As the daemon does it: the command, and then the write-ahead log is emptied."""
    ledger = Ledger.open(root / LIVE)
    take(ledger, Forget("app", batch_id))
    say(root, LIVE, ledger._connection)
    assert ledger.scrub()
    note(gone=LIVE)
    ledger.close()


def killed(root: Path, *messages: Message) -> None:
    """In a process that ends as one does that is killed: what it wrote is in the write-ahead log."""
    child = os.fork()
    if child == 0:
        ledger = Ledger.open(root / LIVE)
        take(ledger, *messages)
        say(root, LIVE, ledger._connection)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (root / f"{LIVE}-wal").stat().st_size > 0


def older(root: Path) -> None:
    """As a release left it that knew no mark."""
    (root / f"{LIVE}.mark").unlink()


def looked_at(root: Path, ledger: str, *, whole: bool = True) -> None:
    if whole:
        check_tables(root / ledger)
    connection = raw(root / ledger)
    say(root, ledger, connection)
    connection.close()


def back_up(root: Path, day: int) -> Copied:
    copied = backup(root / LIVE, root / BACKUPS, day * 86_400.0, silent)
    note(backups=[Path(copied.file).name])
    return copied


def break_a_table(root: Path) -> None:
    stranger = raw(root / LIVE)
    stranger.execute("DELETE FROM images WHERE image = 1")
    say(root, LIVE, stranger)
    stranger.close()


def put_back(root: Path, file: Path, ledger: str) -> None:
    wanted = Wanted(
        file, root / ledger, root / "spool", None, EPOCHS[ledger], NOW_MS, by="cli", margin=10, replace=True
    )
    restored = asyncio.run(restore(wanted, silent))
    note(restored=ledger, aside=Path(restored.aside).name)
    looked_at(root, ledger)


def without(step: str) -> None:
    """Take a durable step out, as a careless change would."""
    if step:
        module, kind = step.split()
        if module == "forget":
            blobs.erase = lambda connection, digests: None
            return
        if kind == "file":
            Hold.sync = lambda self: None  # type: ignore[method-assign]
            return
        place: Any = {"backup": backup_module, "restore": replace}[module]
        place.sync_folder = lambda folder: None


def main(root: Path, step: str = "") -> None:
    without(step)
    (root / BACKUPS).mkdir()
    typed = submission("r1", prompt=WORDS)
    live(root, typed, submission("r2", user="Mia"))
    forgotten(root, typed.batch_id)
    first = back_up(root, 1)
    killed(root, submission("r3", quantity=2))
    second = back_up(root, 2)
    prune(second, 1, NOW_MS)
    older(root)
    killed(root, submission("r6"))
    assert not Path(first.file).exists()
    break_a_table(root)
    rebuild(root / LIVE, silent)
    looked_at(root, LIVE)
    killed(root, submission("r4", quantity=4), submission("r5", user="Ann"))
    put_back(root, Path(second.file), LIVE)
    live(root, submission("r4", quantity=4))
    put_back(root, Path(second.file), ELSEWHERE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
