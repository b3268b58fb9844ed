"""An audit on all processors: the log is cut into parts, which processes of their own check independently.

A process reads one task after the other from its standard input, a line of JSON each. It opens the ledger read-only
itself and writes its answer to standard output: pass, fail, or what it found. A failure names no position; the caller
then checks everything from beginning to end. A task without an answer counts as failed, so no check is left out.
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

from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.sqlite.log_table import LogTable, one_moment, read_head
from comfyledger.maintenance.audit import compare
from comfyledger.maintenance.audit.chain import is_at, links_hold
from comfyledger.maintenance.audit.file import check_file
from comfyledger.maintenance.audit.findings import Kind, Progress, Tally, part, silent
from comfyledger.maintenance.audit.folded import Account
from comfyledger.maintenance.audit.inputs import check_inputs
from comfyledger.maintenance.audit.spool import check_spool
from comfyledger.maintenance.audit.streams import (
    Range,
    counted,
    range_agrees,
    ranges,
    series_agree,
    templates_agree,
)
from comfyledger.maintenance.audit.thumbnails import check_thumbnails
from comfyledger.maintenance.open_read_only import open_read_only

T = TypeVar("T")

EVENTS_MIN: Final = 50_000
"""A shorter log is checked sooner than processes start."""
EVENTS_A_SEGMENT: Final = 50_000
NICENESS: Final = 10
"""So that rendering on the same machine goes first."""


class Folders(msgspec.Struct, frozen=True):
    """The folders of the files that a ledger has rows about. `box`: whose they are, in a fleet."""

    spool: str
    inputs: str
    thumbnails: str
    box: str = ""


class Scope(msgspec.Struct, frozen=True):
    """What is checked: a ledger's chain up to a head, and its files. `now_s` is the wall clock."""

    path: str
    head: Head
    folders: Folders
    now_s: float


class Known(msgspec.Struct, frozen=True):
    """Whether chain and tables are known to be whole, and what the other checks found (None: no answer)."""

    chain: bool = False
    tables: bool = False
    rest: tuple[Kind, ...] | None = None


def check_in_parallel(live: sqlite3.Connection, scope: Scope, progress: Progress) -> Known:
    """Check everything in processes. Raises sqlite3.Error if the log cannot even be cut into parts."""
    with one_moment(live):
        head = read_head(live)
        counts, parts = counted(live, head), tuple(ranges(live))
    ledger = scope.path
    links = [Links(ledger, *segment) for segment in segments(scope.head.position)]
    streams = [Streams(ledger, one, head.position) for one in parts]
    rest, series, *answers = answers_to([Rest(ledger, scope), Series(ledger), *streams, *links], progress)
    holds = all(_decoded(link, bool) for link in answers[len(streams) :]) and is_at(LogTable(live), scope.head)
    accounts = [_decoded(stream, Account) for stream in answers[: len(streams)]]
    agree = _sum(accounts) == counts and _decoded(series, bool) is True and templates_agree(live)
    return Known(holds, agree, _decoded(rest, tuple[Kind, ...]))


def _decoded(answer: bytes | None, kind: type[T]) -> T | None:
    """None for an answer that is missing or cannot be decoded."""
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


def check_rest(live: sqlite3.Connection, scope: Scope, tally: Tally, progress: Progress) -> None:
    """Check what is neither chain nor projection: the file itself, the texts, and the files in all folders."""
    with part("the file", tally):
        check_file(live, tally, progress)
    with part("the texts", tally):
        compare.check_texts(live, tally, progress)
    with part("the rows of the images", tally):
        check_spool(live, Path(scope.folders.spool), scope.now_s, tally, progress, scope.folders.box)
    with part("the rows of the inputs", tally):
        check_inputs(live, Path(scope.folders.inputs), scope.now_s, tally, progress, scope.folders.box)
    with part("the thumbnails", tally):
        check_thumbnails(live, Path(scope.folders.thumbnails), scope.now_s, tally)


# ---- the processes


def answers_to(tasks: Sequence[Task], progress: Progress) -> list[bytes | None]:
    """The answers to tasks, from as many processes as this one may use processors; None for a task without an answer.

    An interrupt waits for nothing: running processes are killed.
    """
    answers: list[bytes | None] = [None] * len(tasks)
    waiting, replies = deque(enumerate(tasks)), SimpleQueue[tuple[int, bytes] | None]()
    with _processes(len(os.sched_getaffinity(0))) as processes:
        for process in processes:
            Thread(target=_converse, args=(process, waiting, replies), daemon=True).start()
        working, done, total = len(processes), 0, sum(task.events for task in tasks)
        while working:
            if (one := replies.get()) is None:
                working -= 1
                continue
            place, answers[place] = one
            done += tasks[place].events
            progress("hash chain and tables", done, total)
    return answers


@contextmanager
def _processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """As many processes as can be started, at most `count`. All have ended afterwards."""
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
    process: subprocess.Popen[bytes], waiting: deque[tuple[int, Task]], replies: SimpleQueue[tuple[int, bytes] | None]
) -> None:
    """Give a process one task after the other, until none is left or the process has ended. Puts None at the end."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (they are pipes)
    with suppress(IndexError, OSError, ValueError):
        while True:
            place, task = waiting.popleft()
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            if not (answer := process.stdout.readline()):
                break
            replies.put((place, answer))
    replies.put(None)


# ---- in a process


class Task(msgspec.Struct, frozen=True, tag=True):
    """A part of an audit for one process."""

    path: str

    @property
    def events(self) -> int:
        """Its size in events, for the progress; 0 if not known."""
        return 0

    def do(self, live: sqlite3.Connection) -> Any:
        """The answer, as a value that JSON can carry."""
        raise TypeError(type(self).__name__)


class Links(Task, frozen=True, tag=True):
    """Whether the links of the chain hold after one position and up to another."""

    after: int
    upto: int

    @property
    def events(self) -> int:
        return self.upto - self.after

    def do(self, live: sqlite3.Connection) -> bool:
        return links_hold(LogTable(live), self.after, self.upto)


class Streams(Task, frozen=True, tag=True):
    """What a range of streams accounts for; None if it differs from the tables."""

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


class Rest(Task, frozen=True, tag=True):
    """What the checks find that concern neither the chain nor the tables."""

    scope: Scope

    def do(self, live: sqlite3.Connection) -> tuple[Kind, ...]:
        tally = Tally()
        check_rest(live, self.scope, tally, silent)
        return tally.kinds


def run_task(task: Task) -> bytes:
    with open_read_only(Path(task.path)) as live:
        return msgspec.json.encode(task.do(live))


def _main() -> None:
    """Run tasks from standard input until it ends, at a low priority."""
    os.nice(NICENESS)
    for asking in sys.stdin.buffer:
        answer = run_task(msgspec.json.decode(asking, type=Links | Streams | Series | Rest))
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
