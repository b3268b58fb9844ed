"""An audit on all processors: the log cut into parts that can each be looked at alone, in a pool of processes.

A process opens the ledger read-only by itself and says yes, no, or what it found. A `no` names nothing: who wants to
know where has the whole looked at from its beginning to its end. What a process does not say counts as a no, so that a
check is never left out.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec

from comfyledger.inspect import compare
from comfyledger.inspect.chain import is_at, links_hold
from comfyledger.inspect.file import check_file
from comfyledger.inspect.findings import Kind, Progress, Tally, part, silent
from comfyledger.inspect.opening import looking, one_moment
from comfyledger.inspect.spool import check_spool
from comfyledger.inspect.streams import Account, Range, counted, range_agrees, ranges, series_agree, templates_agree
from comfyledger.ledger.eventlog import Head, read_head

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
    try:
        with _ended(_pool()) as pool:
            beside = pool.submit(_beside, look)
            series = pool.submit(_series, look.path)
            tables = {pool.submit(_range, look.path, one, head.position): one.events for one in parts}
            links = {pool.submit(_links, look.path, *one): one[1] - one[0] for one in segments(look.head.position)}
            _wait(tables | links, progress)
            holds = all(link.result() for link in links) and is_at(live, look.head)
            accounts = [table.result() for table in tables]
            agree = _sum(accounts) == counts and series.result() and templates_agree(live)
            return Seen(holds, agree, beside.result())
    except (BrokenProcessPool, OSError):
        return Seen()


def segments(position: int) -> Iterator[tuple[int, int]]:
    """Parts of the chain: after which position, up to which."""
    for after in range(0, position, EVENTS_A_SEGMENT):
        yield after, min(position, after + EVENTS_A_SEGMENT)


def _wait(parts: Mapping[Future[Any], int], progress: Progress) -> None:
    done, total = 0, sum(parts.values())
    for one in as_completed(parts):
        done += parts[one]
        progress("hash chain and tables", done, total)


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


# ---- in a process of the pool


def _pool() -> ProcessPoolExecutor:
    """As many processes as there are processors for this one. Begun anew, since threads may be about here."""
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn"), _begin)


@contextmanager
def _ended(pool: Executor) -> Iterator[Executor]:
    """Who is interrupted waits for what is at work, which is short, and not for all that is still to be done."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Whoever renders on the same machine comes first; Ctrl-C is for the process that waits."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _links(path: str, after: int, upto: int) -> bool:
    with looking(Path(path)) as live:
        return links_hold(live, after, upto)


def _range(path: str, one: Range, head: int) -> Account | None:
    with looking(Path(path)) as live:
        return range_agrees(live, one, head)


def _series(path: str) -> bool:
    with looking(Path(path)) as live, tempfile.TemporaryDirectory(prefix="comfyledger-audit-") as folder:
        return series_agree(live, Path(folder))


def _beside(look: Look) -> tuple[Kind, ...]:
    tally = Tally()
    with looking(Path(look.path)) as live:
        look_beside(live, look, tally, silent)
    return tally.kinds
