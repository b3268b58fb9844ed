"""The hash chain of a long log checked in a process of its own, while this one folds the same log: neither needs the
other, and each takes one processor.

The process gets the ledger's path and the head to check up to, opens the ledger read-only by itself, and says on its
standard output what it found. If it says nothing that can be understood, the chain is checked here after all: a check
is never left out.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.inspect.chain import check_chain
from comfyledger.inspect.findings import Finding, Progress, Tally, part, silent
from comfyledger.inspect.opening import looking
from comfyledger.ledger.eventlog import Head

EVENTS_MIN: Final = 50_000
"""A shorter log is checked sooner than a process starts."""


@contextmanager
def chain_checked(live: sqlite3.Connection, path: Path, head: Head, tally: Tally, progress: Progress) -> Iterator[None]:
    """Check the chain up to a head while the block runs. What was found is in the tally when it ends."""
    if head.position < EVENTS_MIN:
        _check_here(live, head, tally, progress)
        yield
        return
    with _started(path, head) as process:
        yield
        found = _said(process) if process is not None else None
    if found is None:
        _check_here(live, head, tally, progress)
    else:
        progress("hash chain", head.position, head.position)
        tally.take(found)


def _check_here(live: sqlite3.Connection, head: Head, tally: Tally, progress: Progress) -> None:
    with part("the log", tally):
        check_chain(live, head, tally, progress)


@contextmanager
def _started(path: Path, head: Head) -> Iterator[subprocess.Popen[bytes] | None]:
    words = [sys.executable, "-P", "-m", __name__, str(path), str(head.position), head.hash.hex()]
    no, out = subprocess.DEVNULL, subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=no, stdout=out, stderr=no)  # noqa: S603
    except OSError:
        yield None
        return
    with process:
        try:
            yield process
        finally:
            process.kill()


def _said(process: subprocess.Popen[bytes]) -> list[Finding] | None:
    said, _ = process.communicate()
    try:
        return msgspec.json.decode(said, type=list[Finding]) if process.returncode == 0 else None
    except msgspec.DecodeError:
        return None


def _check(path: Path, head: Head) -> list[Finding]:
    tally = Tally()
    with looking(path) as live:
        check_chain(live, head, tally, silent)
    return [finding for kind in tally.kinds for finding in kind.examples]


if __name__ == "__main__":
    _path, _position, _hash = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(_check(Path(_path), Head(int(_position), bytes.fromhex(_hash)))))
