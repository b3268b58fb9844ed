"""Faults that are built into the shared ledger of one process, so that the checker of histories can be seen to find
them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from comfyledger import crash_points
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.shared import connection, ledger, log
from comfyledger.ledger.shared.ledger import SharedLedger, _Collected

STOPS_AT: Final = 3
"""In which group."""


def _nothing() -> None:
    return None


def _options(before: str, after: str) -> None:
    """Other settings of each connection."""
    options = connection.SESSION["options"]
    assert before in options
    connection.SESSION["options"] = options.replace(before, after)


def commit_off() -> None:
    """An answer does not wait for the disk of the database."""
    _options("synchronous_commit=on", "synchronous_commit=off")


def repeatable_read() -> None:
    """The lines of others are looked up as they were before the lock was had."""
    _options(r"isolation=read\ committed", r"isolation=repeatable\ read")


def no_lock() -> None:
    """Nobody waits for the group of another box."""
    assert log._LOCK.endswith(" FOR UPDATE")
    log._LOCK = log._LOCK.removesuffix(" FOR UPDATE")


def replica_first() -> None:
    """The replica commits before the shared log does."""

    @contextmanager
    def turn(self: SharedLedger) -> Iterator[list[Line]]:
        with self._log.turn(self.head.position) as taken:
            if ledger._is_long(taken.missing, self.head):
                raise ledger._Behind
            with self._replica.group() as lines:
                self.taken = self._take_in(taken.missing)
                self._entry = _Collected()
                yield lines
            self._write(taken)

    SharedLedger._turn = turn


def stops_once() -> None:
    """No fault of ours: the box sleeps while it holds the lock, until somebody wakes it."""
    at, passed = crash_points.at, count(1)

    def sleep_or_go_on(point: str) -> None:
        if point == "log.decided" and next(passed) == STOPS_AT:
            os.kill(os.getpid(), signal.SIGSTOP)
        at(point)

    crash_points.at = sleep_or_go_on


BROKEN: Final[dict[str, Callable[[], None]]] = {
    "": _nothing,
    "commit_off": commit_off,
    "repeatable_read": repeatable_read,
    "no_lock": no_lock,
    "replica_first": replica_first,
    "stops_once": stops_once,
}
