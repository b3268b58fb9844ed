"""An audit on all processors: the log cut into parts that can each be looked at alone, in processes of their own.

A process is told one part after the other on its standard input, a line of JSON each, opens the ledger read-only by
itself, and says on its standard output yes, no, or what it found. A `no` names nothing: who wants to know where has the
whole looked at from its beginning to its end. What no process says counts as a no, so that a check is never left out.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

import msgspec

from comfyledger.ledger.eventlog import Head, read_head
from comfyledger.maintenance.audit import compare
from comfyledger.maintenance.audit.chain import is_at, links_hold
from comfyledger.maintenance.audit.file import check_file
from comfyledger.maintenance.audit.findings import Kind, Progress, Tally, part, silent
from comfyledger.maintenance.audit.spool import check_spool
from comfyledger.maintenance.audit.streams import (
    Account,
    Range,
    counted,
    range_agrees,
    ranges,
    series_agree,
    templates_agree,
)
from comfyledger.maintenance.open_read_only import looking, one_moment

T = TypeVar("T")

EVENTS_MIN: Final = 50_000
"""A shorter log is looked at sooner than processes start."""
EVENTS_A_SEGMENT: Final = 50_000
NICENESS: Final = 10
"""Whoever renders on the same machine comes first."""


class Look(msgspec.Struct, frozen=True):
    """What is looked at: a ledger's chain up to a head, and its spool. `now_s` is the wall clock."""

    path: str
    head: Head
    spool: str
    now_s: float


class Seen(msgspec.Struct, frozen=True):
    """What is known: whether chain and tables are whole, and what was found beside them (None: nobody has said)."""

    chain: bool = False
    tables: bool = False
    beside: tuple[Kind, ...] | None = None


def seen(live: sqlite3.Connection, look: Look, progress: Progress) -> Seen:
    """All that processes can say. Raises sqlite3.Error if not even the parts of the log can be told."""
    with one_moment(live):
        head = read_head(live)
        counts, parts = counted(live, head), tuple(ranges(live))
    ledger = look.path
    links = [Links(ledger, *segment) for segment in segments(look.head.position)]
    streams = [Streams(ledger, one, head.position) for one in parts]
    beside, series, *rest = asked([Beside(ledger, look), Series(ledger), *streams, *links], progress)
    holds = all(_said(link, bool) for link in rest[len(streams) :]) and is_at(live, look.head)
    accounts = [_said(stream, Account) for stream in rest[: len(streams)]]
    agree = _sum(accounts) == counts and _said(series, bool) is True and templates_agree(live)
    return Seen(holds, agree, _said(beside, tuple[Kind, ...]))


def _said(answer: bytes | None, kind: type[T]) -> T | None:
    """None where a process said nothing that can be understood."""
    try:
        return msgspec.json.decode(answer, type=kind) if answer else None
    except msgspec.MsgspecError:
        return None


def segments(position: int) -> Iterator[tuple[int, int]]:
    """Parts of the chain: after which position, up to which."""
    for after in range(0, position, EVENTS_A_SEGMENT):
        yield after, min(position, after + EVENTS_A_SEGMENT)


def _sum(accounts: Iterable[Account | None]) -> Account | None:
    total = Account()
    for account in accounts:
        if account is None:
            return None
        total.add(account)
    return total


def look_beside(live: sqlite3.Connection, look: Look, tally: Tally, progress: Progress) -> None:
    """What is neither chain nor projection: the file itself, the texts, and the spool."""
    with part("the file", tally):
        check_file(live, tally, progress)
    with part("the texts", tally):
        compare.check_texts(live, tally, progress)
    with part("the rows of the images", tally):
        check_spool(live, Path(look.spool), look.now_s, tally, progress)


# ---- the processes


def asked(tasks: Sequence[Task], progress: Progress) -> list[bytes | None]:
    """The answers of as many processes as there are processors for this one; None for what none has answered.

    Whoever interrupts this waits for nothing: processes that are at work are ended.
    """
    answers: list[bytes | None] = [None] * len(tasks)
    waiting, said = deque(enumerate(tasks)), SimpleQueue[tuple[int, bytes] | None]()
    with _processes(len(os.sched_getaffinity(0))) as processes:
        for process in processes:
            Thread(target=_converse, args=(process, waiting, said), daemon=True).start()
        working, done, total = len(processes), 0, sum(task.events for task in tasks)
        while working:
            if (one := said.get()) is None:
                working -= 1
                continue
            place, answers[place] = one
            done += tasks[place].events
            progress("hash chain and tables", done, total)
    return answers


@contextmanager
def _processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """As many as can be started; all have ended afterwards."""
    processes: list[subprocess.Popen[bytes]] = []
    pipe, no = subprocess.PIPE, subprocess.DEVNULL
    try:
        with suppress(OSError):
            for _ in range(count):
                words = [sys.executable, "-P", "-m", __name__]
                processes.append(subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=no))  # noqa: S603
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _converse(
    process: subprocess.Popen[bytes], waiting: deque[tuple[int, Task]], said: SimpleQueue[tuple[int, bytes] | None]
) -> None:
    """Give a process one task after the other, until there is none or it has ended. None at the end."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (they are pipes)
    with suppress(IndexError, OSError, ValueError):
        while True:
            place, task = waiting.popleft()
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            if not (answer := process.stdout.readline()):
                break
            said.put((place, answer))
    said.put(None)


# ---- in a process


class Task(msgspec.Struct, frozen=True, tag=True):
    """A part of an audit that a process does alone."""

    path: str

    @property
    def events(self) -> int:
        """How much of it there is, for who watches; 0 where that is not known."""
        return 0

    def do(self, live: sqlite3.Connection) -> Any:
        """The answer, as JSON will have it."""
        raise TypeError(type(self).__name__)


class Links(Task, frozen=True, tag=True):
    """Whether links of the chain hold: after which position, up to which."""

    after: int
    upto: int

    @property
    def events(self) -> int:
        return self.upto - self.after

    def do(self, live: sqlite3.Connection) -> bool:
        return links_hold(live, self.after, self.upto)


class Streams(Task, frozen=True, tag=True):
    """What a range of streams accounts for, or None."""

    part: Range
    head: int

    @property
    def events(self) -> int:
        return self.part.events

    def do(self, live: sqlite3.Connection) -> Account | None:
        return range_agrees(live, self.part, self.head)


class Series(Task, frozen=True, tag=True):
    """Whether series and lanes are what the log says."""

    def do(self, live: sqlite3.Connection) -> bool:
        with tempfile.TemporaryDirectory(prefix="comfyledger-audit-") as folder:
            return series_agree(live, Path(folder))


class Beside(Task, frozen=True, tag=True):
    """What is found beside the log and its tables."""

    look: Look

    def do(self, live: sqlite3.Connection) -> tuple[Kind, ...]:
        tally = Tally()
        look_beside(live, self.look, tally, silent)
        return tally.kinds


def done(task: Task) -> bytes:
    with looking(Path(task.path)) as live:
        return msgspec.json.encode(task.do(live))


def _main() -> None:
    """Whoever renders on the same machine comes first. Ends with the one who asks."""
    os.nice(NICENESS)
    for asking in sys.stdin.buffer:
        answer = done(msgspec.json.decode(asking, type=Links | Streams | Series | Beside))
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
