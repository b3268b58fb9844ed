"""All that an audit looks at but the projections, in a process of its own while this one folds the log: neither needs
the other, and each takes one processor.

The process is told on its standard input which ledger and which spool, opens the ledger read-only by itself, and says
on its standard output what it found. If it says nothing that can be understood, all is looked at here after all: a
check is never left out.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.inspect import compare
from comfyledger.inspect.chain import check_chain
from comfyledger.inspect.file import check_file
from comfyledger.inspect.findings import Kind, Progress, Tally, part, silent
from comfyledger.inspect.opening import looking
from comfyledger.inspect.spool import check_spool
from comfyledger.ledger.eventlog import Head

EVENTS_MIN: Final = 50_000
"""A shorter log is looked at sooner than a process starts."""


class Look(msgspec.Struct, frozen=True):
    """What is looked at: a ledger's chain up to a head, and its spool. `now_s` is the wall clock."""

    path: str
    head: Head
    spool: str
    now_s: float


class Seen(msgspec.Struct, frozen=True):
    """What was found in the log, and elsewhere."""

    log: tuple[Kind, ...]
    rest: tuple[Kind, ...]


@contextmanager
def looked_at(live: sqlite3.Connection, look: Look, log: Tally, rest: Tally, progress: Progress) -> Iterator[None]:
    """Look while the block runs. What was found is in the tallies when it ends."""
    if look.head.position < EVENTS_MIN:
        _look(live, look, log, rest, progress)
        yield
        return
    with _started(look) as process:
        yield
        progress("what is beside the log", 0, 0)
        seen = _said(process) if process is not None else None
    if seen is None:
        _look(live, look, log, rest, progress)
    else:
        log.take(seen.log)
        rest.take(seen.rest)


def _look(live: sqlite3.Connection, look: Look, log: Tally, rest: Tally, progress: Progress) -> None:
    with part("the log", log):
        check_chain(live, look.head, log, progress)
    with part("the file", rest):
        check_file(live, rest, progress)
    with part("the texts", rest):
        compare.check_texts(live, rest, progress)
    with part("the rows of the images", rest):
        check_spool(live, Path(look.spool), look.now_s, rest, progress)


@contextmanager
def _started(look: Look) -> Iterator[subprocess.Popen[bytes] | None]:
    pipe, no = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen([sys.executable, "-P", "-m", __name__], stdin=pipe, stdout=pipe, stderr=no)  # noqa: S603
    except OSError:
        yield None
        return
    with process:
        try:
            _tell(process, look)
            yield process
        finally:
            process.kill()


def _tell(process: subprocess.Popen[bytes], look: Look) -> None:
    """One that has ended already cannot be told; that it says nothing either is seen at the end."""
    assert process.stdin is not None  # noqa: S101 (it is a pipe)
    with suppress(BrokenPipeError), process.stdin as asked:
        asked.write(msgspec.json.encode(look))
    process.stdin = None


def _said(process: subprocess.Popen[bytes]) -> Seen | None:
    said, _ = process.communicate()
    try:
        return msgspec.json.decode(said, type=Seen) if process.returncode == 0 else None
    except msgspec.DecodeError:
        return None


def _main() -> None:
    look = msgspec.json.decode(sys.stdin.buffer.read(), type=Look)
    log, rest = Tally(), Tally()
    with looking(Path(look.path)) as live:
        _look(live, look, log, rest, silent)
    sys.stdout.buffer.write(msgspec.json.encode(Seen(log.kinds, rest.kinds)))


if __name__ == "__main__":
    _main()
