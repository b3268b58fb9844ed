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
from comfyledger.ledger.ports import LogUnreadable

BESIDE: Final = ("", "-wal", "-shm")
"""A ledger and what SQLite keeps beside it while it is open. The write-ahead log belongs to a path, not to an inode."""
ASIDE: Final = ".replaced-"
"""Separates the name of a ledger that a restore moved aside from the time of the move."""

OPEN_WAIT_S: Final = 120.0
"""For the daemon at its start: as long as a `VACUUM` or an import of some size takes."""
COMMAND_WAIT_S: Final = 10.0
"""For a command that a person has typed."""
RETRY_S: Final = 0.2
HINT: Final = "Wait until it is done, or end it; then repeat the command."

LOCKS: Final = Path("/proc/locks")
_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_FILES: Final = ("-shm", "")
"""Where SQLite's locks lie: on the index of the write-ahead log, and on the file where there is none."""

T = TypeVar("T")

log = structlog.get_logger("comfyledger.ledger")


# ---- our lock


def hold(path: Path, *, create: bool = True) -> Hold:
    """Become the one writer of the ledger at a path; a file is made for its owner only if there is none.

    Raises LedgerUnusable for a ledger that another process, or this one, holds already, and for one with several names;
    OSError. The lock files are for daemons of older releases, which know no other lock and take it beside the path as
    it was given.
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
    """Each name of a ledger has a write-ahead log of its own: two of them destroy it."""
    if path.exists() and path.stat().st_nlink > 1:
        forget_second_names(path)
    for name in several_names(path):
        raise LedgerUnusable(
            f"The file {name} has a second name (a hard link), through which another program could write to it.",
            hint=f"`find DIR -samefile {name}` finds it. Remove it, or copy {name} and move the copy into its place.",
        )


def several_names(path: Path) -> Iterator[Path]:
    """Those files of a ledger that have more than one name."""
    for end in BESIDE:
        name = path.with_name(path.name + end)
        with suppress(FileNotFoundError):
            if name.stat().st_nlink > 1:
                yield name


def forget_second_names(path: Path) -> None:
    """A restore that was killed right before its end has left the ledger, which is still in use, a second name.

    The log that it had moved aside comes back. To be called under the lock. Raises OSError.
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
    """Whether an error means that somebody else holds a lock: SQLITE_BUSY, _LOCKED, _PROTOCOL, in all variants."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _CODES


def holder_of(path: Path) -> str:
    """Like "another program (sqlite3, process 4242)": who keeps others from writing, as far as the kernel tells."""
    for end in _FILES:
        found = _holders(path.with_name(path.name + end))
        if found:
            return f"another program ({', '.join(f'{_name(pid)}, process {pid}' for pid in found)})"
    return "another program"


def _holders(path: Path) -> list[int]:
    """Processes with a lock for writing; if there is none, those with any lock."""
    try:
        held = locks_on(path.stat(), "POSIX")
    except OSError:
        return []
    others = [(access, pid) for access, pid in held if pid not in {os.getpid(), 0, -1}]
    writing = [pid for access, pid in others if access == "WRITE"]
    return sorted({*(writing or [pid for _, pid in others])})


def locks_on(file: os.stat_result, kind: str) -> list[tuple[str, int]]:
    """The locks of a kind (POSIX, FLOCK) that the kernel lists for a file: access and process id.

    Some file systems have another device there: then none is found.
    """
    try:
        text = LOCKS.read_text()
    except OSError:
        return []
    return locks_in(text, kind, os.major(file.st_dev), os.minor(file.st_dev), file.st_ino)


def locks_in(text: str, kind: str, major: int, minor: int, inode: int) -> list[tuple[str, int]]:
    """The same of the text of /proc/locks."""
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
    """What `work` returns, done again as long as a lock stops it. Raises LedgerUnusable once `wait_s` have passed."""
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
    who = holder_of(path)
    return LedgerUnusable(f"{who[0].upper()}{who[1:]} holds a lock of {path}.", hint=HINT)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raises LedgerUnusable, which names the program, for a lock that was waited for in vain."""
    try:
        yield
    except (sqlite3.Error, LogUnreadable) as error:
        if is_lock(error.__cause__ if isinstance(error, LogUnreadable) else error):
            raise unusable(path) from error
        raise
