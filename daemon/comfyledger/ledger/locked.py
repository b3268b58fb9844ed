"""A lock of the ledger that another program holds: which errors of SQLite mean one, who holds it, and waiting for it.

Such a lock is never a fault of the ledger: nothing was written, and the same call goes well once it is gone. It is
waited for, everywhere within a bound, and the program is named where the kernel tells.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import structlog

from comfyledger.errors import LedgerUnusable, Refused

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


class Lock:
    """Whether another program's lock blocks writing, and since when. Its begin and end are logged."""

    def __init__(self, holder: Callable[[], str]) -> None:
        """`holder` says who holds it, like `another program (sqlite3, process 4242)`."""
        self._holder = holder
        self._since_ms: int | None = None
        self._by = ""

    def met(self, now_ms: int) -> None:
        """An attempt failed because of the lock."""
        self._by = self._holder()
        if self._since_ms is None:
            self._since_ms = now_ms
            log.warning("ledger.locked", by=self._by)

    def gone(self, now_ms: int) -> None:
        """An attempt succeeded."""
        if self._since_ms is not None:
            log.warning("ledger.unlocked", by=self._by, lasted_s=round((now_ms - self._since_ms) / 1000, 1))
        self._since_ms = None

    def lasts_s(self, now_ms: int) -> float:
        """0 where there is none."""
        return 0.0 if self._since_ms is None else max(0.001, (now_ms - self._since_ms) / 1000)

    @property
    def is_met(self) -> bool:
        return self._since_ms is not None

    @property
    def text(self) -> str:
        """Empty where there is none."""
        return f"{self._by[:1].upper()}{self._by[1:]} holds the ledger's lock." if self.is_met else ""

    def refusal(self) -> Refused:
        hint = "End that program, or repeat the request with the same request_id once it is done."
        return Refused("busy", self.text, hint=hint, retry_after_s=1.0)


def is_lock(error: BaseException) -> bool:
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
    except sqlite3.Error as error:
        if is_lock(error):
            raise unusable(path) from error
        raise
