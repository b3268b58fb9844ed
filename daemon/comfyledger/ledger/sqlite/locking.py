"""The locks of a ledger's file: ours, which keeps a second daemon out, and those of other programs.

Ours is a lock of the file's inode (`ledger/file_lock.py`) and lasts as long as the ledger is open. Other programs take
SQLite's locks. Such a lock is no fault of the ledger: nothing was written, and the same call succeeds once the lock is
gone. It is waited for, always within a limit, and the program is named if the kernel knows it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import structlog

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.file_lock import Hold, Taken, lock, locked_file
from comfyledger.ledger.log_reader import LogUnreadable

BESIDE: Final = ("", "-wal", "-shm")
"""The suffixes of a ledger's files while it is open. A write-ahead log belongs to a path, not to an inode."""
ASIDE: Final = ".replaced-"
"""Separates the name of a ledger that a restore moved aside from the time of the move."""

OPEN_WAIT_S: Final = 120.0
"""How long the daemon waits at its start: a `VACUUM` or a large import of another program may take that long."""
COMMAND_WAIT_S: Final = 10.0
"""How long a command waits that a person has typed."""
RETRY_S: Final = 0.2
HINT: Final = "Wait until it is done, or end it; then repeat the command."

LOCKS: Final = Path("/proc/locks")
_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_FILES: Final = ("-shm", "")
"""Which files have SQLite's locks: the index of the write-ahead log, or the ledger itself without such a log."""

T = TypeVar("T")

log = structlog.get_logger("comfyledger.ledger")


# ---- our lock


def hold(path: Path, *, create: bool = True) -> Hold:
    """Become the one writer of the ledger at a path. If there is no file, make one, for its owner only.

    Raises LedgerUnusable if another process or this one holds the ledger, or if the file has several names; OSError.
    The lock files keep out daemons of older releases, which know no other lock.
    """
    with ExitStack() as undoing:
        try:
            lock_files = tuple(_lock_file(name, undoing) for name in {path.absolute(), path.resolve()})
            fd = locked_file(path.resolve(), create)
        except Taken as error:
            raise _refused(path) from error
        undoing.pop_all()
    path = path.resolve()
    held = Hold(path, fd, lock_files)
    try:
        _check_names(path)
    except BaseException:
        held.close()
        raise
    return held


def _lock_file(path: Path, undoing: ExitStack) -> int:
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    undoing.callback(os.close, fd)
    lock(fd)
    return fd


def _refused(path: Path) -> LedgerUnusable:
    return LedgerUnusable(
        f"Another daemon holds the ledger {path}.", hint="See `comfyledger status`, or choose another [ledger] path."
    )


# ---- several names of one file


def _check_names(path: Path) -> None:
    """Raises LedgerUnusable. Each name of a file has its own write-ahead log; two of these would destroy the ledger."""
    if path.exists() and path.stat().st_nlink > 1:
        forget_second_names(path)
    for name in several_names(path):
        raise LedgerUnusable(
            f"The file {name} has a second name (a hard link), through which another program could write to it.",
            hint=f"`find DIR -samefile {name}` finds it. Remove it, or copy {name} and move the copy into its place.",
        )


def several_names(path: Path) -> Iterator[Path]:
    """The files of a ledger that have more than one name (a hard link)."""
    for end in BESIDE:
        name = path.with_name(path.name + end)
        with suppress(FileNotFoundError):
            if name.stat().st_nlink > 1:
                yield name


def forget_second_names(path: Path) -> None:
    """Undo what a restore left that was killed right before its end: a second name of the ledger, and a moved log.

    To be called under the lock. Raises OSError.
    """
    log = path.with_name(path.name + "-wal")
    for name in path.parent.glob(f"{path.name}{ASIDE}*"):
        if name.samefile(path):
            moved = name.with_name(name.name + "-wal")
            if moved.exists() and not log.exists():
                moved.replace(log)
            name.unlink()


# ---- locks of other programs


def is_lock(error: BaseException | None) -> bool:
    """Whether an error of SQLite means that somebody else holds a lock (SQLITE_BUSY, _LOCKED, _PROTOCOL)."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _CODES


def holder_of(path: Path) -> str:
    """Who holds a lock of a ledger, as far as the kernel knows: `another program (sqlite3, process 4242)`."""
    for end in _FILES:
        found = _holders(path.with_name(path.name + end))
        if found:
            return f"another program ({', '.join(f'{_name(pid)}, process {pid}' for pid in found)})"
    return "another program"


def _holders(path: Path) -> list[int]:
    """The ids of the processes with a lock for writing; if there is none, of those with any lock."""
    try:
        held = locks_on(path.stat(), "POSIX")
    except OSError:
        return []
    others = [(access, pid) for access, pid in held if pid not in {os.getpid(), 0, -1}]
    writing = [pid for access, pid in others if access == "WRITE"]
    return sorted({*(writing or [pid for _, pid in others])})


def locks_on(file: os.stat_result, kind: str) -> list[tuple[str, int]]:
    """The locks of a kind (POSIX, FLOCK) that the kernel lists for a file: access (READ, WRITE) and process id.

    Empty if the kernel lists the file under another device, as with some file systems.
    """
    try:
        text = LOCKS.read_text()
    except OSError:
        return []
    return locks_in(text, kind, os.major(file.st_dev), os.minor(file.st_dev), file.st_ino)


def locks_in(text: str, kind: str, major: int, minor: int, inode: int) -> list[tuple[str, int]]:
    """As `locks_on`, from the text of /proc/locks."""
    place = f"{major:02x}:{minor:02x}:{inode}"
    lines = (line.split() for line in text.splitlines())
    return [
        (one[3], int(one[4]))
        for one in lines
        if len(one) == 8 and one[1] == kind and one[5] == place and one[4].removeprefix("-").isdecimal()
    ]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "unknown"


def patiently(path: Path, work: Callable[[], T], wait_s: float) -> T:
    """Call `work`, again and again while a lock stops it. Raises LedgerUnusable after `wait_s` seconds."""
    until_s, is_told = time.monotonic() + wait_s, False
    while True:
        try:
            return work()
        except sqlite3.Error as error:
            if not is_lock(error):
                raise
            if time.monotonic() >= until_s:
                raise unusable(path) from error
            if not is_told:
                log.warning("ledger.locked", by=holder_of(path), wait_s=wait_s)
            is_told = True
        time.sleep(RETRY_S)


def unusable(path: Path) -> LedgerUnusable:
    """The error for a lock that lasts too long. It names the program that holds it."""
    who = holder_of(path)
    return LedgerUnusable(f"{who[0].upper()}{who[1:]} holds a lock of {path}.", hint=HINT)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raises LedgerUnusable, which names the program, if the block fails because of a lock."""
    try:
        yield
    except (sqlite3.Error, LogUnreadable) as error:
        if is_lock(error.__cause__ if isinstance(error, LogUnreadable) else error):
            raise unusable(path) from error
        raise
