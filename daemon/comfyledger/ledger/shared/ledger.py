"""A ledger whose log is shared in PostgreSQL, and whose tables are this box's own, in SQLite: its replica.

A group is a turn of the shared log. What others appended is folded into the replica first, then the group is decided as
ever. PostgreSQL commits before the replica does, so a replica is never ahead of the log. One that is behind, because
its box died in between, catches up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final

from comfyledger import crash_points
from comfyledger.core.events import BlobErased, Recorded
from comfyledger.core.keys import Key, ManyKey, OneKey, RequestKey, SeriesKey
from comfyledger.core.rows import Row, RowId, Slice
from comfyledger.core.values import Blob
from comfyledger.core.webhooks import WebhookProgress
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger import ports
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.ledger.names_given import names_given
from comfyledger.ledger.ports import LogUnreachable, Noted, StorageFull, Taken, noted
from comfyledger.ledger.shared.fold import fold
from comfyledger.ledger.shared.log import PAGE_LINES, Entry, Page, SharedLog, Turn
from comfyledger.ledger.shared.schema import Identity

FULL: Final = "The disk is full, so this box cannot take in what other boxes have appended."
_FREE: Final = "Free some space on the disk of [ledger] path. The other boxes go on meanwhile."
LOST = "Keep this box's replica: it has what was lost. docs/fleet.md shows how the fleet begins again from it."


class _Behind(Exception):
    """Others have appended more than is taken in while the lock is held."""


class SharedLedger(ports.Ledger):
    """`replica`: a ledger of the same identity, which this one closes. `ports.Ledger` documents the methods."""

    is_shared = True

    def __init__(self, replica: ports.Ledger, log: SharedLog) -> None:
        self._replica: Final = replica
        self._log: Final = log
        self.keys: Final = log.keys
        self.ledger_id, self.epoch, self.secret = replica.ledger_id, replica.epoch, replica.secret
        self.taken = Taken()
        self._untold = Taken()
        """What the replica has taken in and the engine was not told yet."""
        self.is_current = False
        self._entry = _Collected()

    @classmethod
    def open(cls, replica: ports.Ledger, log: SharedLog) -> SharedLedger:
        """The ledger of a box. Without the shared log it is opened as well, and reads what it has.

        Raises LedgerUnusable if the replica is of another fleet or epoch, or has what the shared log has not; OSError.
        """
        log.belong_to(Identity(replica.ledger_id, replica.epoch))
        with suppress(LogUnreachable):
            log.identity()
            own = replica.head
            _check_end(own, log.head())
            if own.position and log.hash_at(own.position) != own.hash:
                raise _forked(own)
            log.check_keys()
        return cls(replica, log)

    @property
    def head(self) -> Head:  # type: ignore[override]
        return self._replica.head

    @property
    def scrub_owed(self) -> bool:  # type: ignore[override]
        return self._replica.scrub_owed

    def close(self) -> None:
        """Give up the connection. The replica is the caller's."""
        self._log.close()

    # ---- groups

    @contextmanager
    def group(self) -> Iterator[list[Line]]:
        """Raises LogUnreachable beside what `ports.Ledger.group` raises."""
        while True:
            try:
                with self._turn() as lines:
                    yield lines
            except _Behind:
                while self._take_page().more:
                    pass
            else:
                before = self._told()
                lines[:0] = before.lines  # as if this turn had taken them in
                self.taken = before.followed_by(self.taken)
                return

    @contextmanager
    def _turn(self) -> Iterator[list[Line]]:
        """Raises _Behind before it yields."""
        self.taken = Taken()
        with self._log.turn(self.head.position) as turn:
            if _is_long(turn.missing, self.head):
                raise _Behind
            self.check_same(turn.missing)
            with self._replica.group() as lines:
                self.taken = self._take_in(turn.missing)
                self._entry = _Collected()
                self.is_current = True
                yield lines
                crash_points.at("log.decided")
                self._write(turn)

    def _write(self, turn: Turn) -> None:
        turn.write(self._entry.entry())

    def catch_up(self) -> Taken:
        self._take_page()
        return self._told()

    def _told(self) -> Taken:
        untold, self._untold = self._untold, Taken()
        return untold

    def _take_page(self) -> Taken:
        """What was taken in and not told yet, with the next page."""
        taken = self._page()
        self._untold = self._untold.followed_by(taken)
        return self._untold

    def _page(self) -> Taken:
        page = self._log.page(self.head.position)
        self.check_same(page)
        more = len(page.lines) == PAGE_LINES
        self.is_current = self.is_current or not more
        if not page.lines:
            return Taken()
        try:
            with self._replica.group():
                taken = self._take_in(page)
                if page.progress:
                    self._replica.put((), (), page.progress, ())
        except StorageFull as error:
            raise LedgerUnusable(FULL, hint=_FREE) from error
        return Taken(taken.lines, taken.rows, more=more)

    def _take_in(self, page: Page) -> Taken:
        before = self.head.position
        rows = fold(self._replica, page.lines, (text.blob for text in page.texts))
        return Taken(tuple(line for line in page.lines if line.position > before), rows)

    def check_same(self, missing: Page) -> None:
        """Raises LedgerUnusable if this replica has what the log has not: acknowledged events were lost."""
        _check_end(self.head, missing.head)

    def check_lock(self) -> None:
        """Whether a group could be written now. Raises LogUnreachable, LedgerLocked, LedgerUnusable."""
        with self._log.turn(self.head.position):
            self._replica.check_lock()

    def lock_holder(self) -> str:
        return self._replica.lock_holder()

    # ---- in a group

    def message(self) -> AbstractContextManager[None]:
        return self._undone_together(self._replica.message())

    def following(self) -> AbstractContextManager[None]:
        return self._replica.following()

    @contextmanager
    def _undone_together(self, message: AbstractContextManager[None]) -> Iterator[None]:
        before = self._entry.marks()
        try:
            with message:
                yield
        except BaseException:
            self._entry.cut(before)
            raise

    def ends_group(self, error: Exception) -> bool:
        return isinstance(error, LogUnreachable) or self._replica.ends_group(error)

    def load(self, keys: Iterable[Key]) -> Slice:
        return self._replica.load(keys)

    def load_one(self, key: OneKey) -> Row | None:
        return self._replica.load_one(key)

    def load_these(self, keys: Iterable[SeriesKey | RequestKey]) -> dict[RowId, Row | None]:
        return self._replica.load_these(keys)

    def load_many(self, key: ManyKey) -> Iterable[Row]:
        return self._replica.load_many(key)

    def write(self, recorded: tuple[Recorded, ...], state: Slice, texts: Iterable[Blob]) -> None:
        self.put(self.follow(recorded, state), noted(recorded, state), state.changed.values(), texts)

    def follow(self, recorded: tuple[Recorded, ...], state: Slice) -> list[Line]:
        return self._replica.follow(recorded, state)

    def adopt(self, lines: Sequence[Line]) -> None:
        self._replica.adopt(lines)

    def put(self, lines: Sequence[Line], noted: Iterable[Noted], rows: Iterable[Row], texts: Iterable[Blob]) -> None:
        events, changed, kept = list(noted), list(rows), list(texts)
        self._replica.put(lines, events, changed, kept)
        self._entry.add(lines, events, changed, kept)

    # ---- the rest

    def open_rows(self) -> list[Row]:
        return self._replica.open_rows()

    def scrub(self) -> bool:
        return self._replica.scrub()


def _check_end(own: Head, there: Head) -> None:
    """Raises LedgerUnusable if a box has more than the shared log, or another end."""
    if there.position < own.position:
        ends = f"it ends at position {there.position}, this box has {own.position}"
        text = f"The shared log has lost events: {ends}. Lost is what follows position {there.position}."
        raise LedgerUnusable(text, hint=LOST)
    if there.position == own.position and there.hash != own.hash:
        raise _forked(own)


def _forked(own: Head) -> LedgerUnusable:
    text = f"The shared log has lost events, or was changed: position {own.position} is another one at this box."
    return LedgerUnusable(text, hint=LOST)


def _is_long(missing: Page, own: Head) -> bool:
    last = missing.lines[-1].position if missing.lines else own.position
    return last < missing.head.position


class _Collected:
    """What the messages of a group have written, for the shared log."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._names: list[str] = []
        self._texts: list[tuple[int, Blob]] = []
        self._progress: list[WebhookProgress] = []
        self._erased: list[str] = []

    def add(self, lines: Sequence[Line], noted: Iterable[Noted], rows: Iterable[Row], texts: Iterable[Blob]) -> None:
        self._lines += lines
        self._texts += ((lines[0].position, text) for text in texts) if lines else ()
        self._progress += (row for row in rows if isinstance(row, WebhookProgress))
        for event, _, _ in noted:
            self._names += (name for name, _, _ in names_given(event))
            if isinstance(event, BlobErased):
                self._erased += event.digests

    def marks(self) -> tuple[int, ...]:
        return tuple(len(one) for one in self._all())

    def cut(self, marks: tuple[int, ...]) -> None:
        """Forget what came after `marks`."""
        for one, length in zip(self._all(), marks, strict=True):
            del one[length:]

    def _all(self) -> tuple[list[Any], ...]:
        return (self._lines, self._names, self._texts, self._progress, self._erased)

    def entry(self) -> Entry:
        return Entry(self._lines, self._names, self._texts, self._progress, self._erased)
