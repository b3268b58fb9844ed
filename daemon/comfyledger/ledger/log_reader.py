"""Reading a whole log, for audits, copies and rebuilding. `ledger/sqlite/` implements it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import Head, Line


class LogUnreadable(LedgerUnusable):
    """A part of the log cannot be read; the message says why. Other parts may be readable."""


Link = tuple[int, bytes, bytes, int, int, bytes, bytes]
"""A line as the chain covers it: position, stream, kind, schema, time in milliseconds, data, and the stored hash."""


class LogEnd(msgspec.Struct, frozen=True):
    """The last event, and the last position that was ever given: they differ if events were cut off at the end."""

    head: Head
    given: int


class LogReader(Protocol):
    """Reads a log from end to end, for audits, copies and rebuilding. The log may be damaged in any way.

    Each call is one short read, while a daemon may write. Positions below 1 exist only if somebody inserted them.
    Every method raises LogUnreadable for what cannot be read.
    """

    def end(self) -> LogEnd:
        """Both at one moment."""
        ...

    def head_at(self, position: int) -> Head | None:
        """The end of the log as it was at a position; None if no event has this position. 0 is before the first."""
        ...

    def page(self, *, after: int, limit: int, upto: int | None = None) -> list[Line]:
        """The next lines after a position, oldest first. Text that is not UTF-8 has surrogate escapes."""
        ...

    def links(self, *, after: int, upto: int) -> Iterator[Link]:
        """All lines above one position up to another, as stored. For speed, nothing of them is decoded."""
        ...
