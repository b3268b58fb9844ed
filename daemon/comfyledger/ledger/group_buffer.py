"""Keeps what the messages of a group read and change in memory, and writes all of it at once.

So a hundred submits of one user read the series once and write it once, and each table gets the rows of the whole group
in one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, get_args

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.events import BlobErased, Recorded
from comfyledger.core.keys import (
    BatchImages,
    BatchPrompts,
    Key,
    ManyKey,
    OneKey,
    RequestKey,
    SeriesKey,
    TemplateKey,
    ThroughTables,
    gathered,
)
from comfyledger.core.rows import ImageRow, PromptRow, Row, RowId, Slice, TemplateRow
from comfyledger.core.values import Blob
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Ledger, Noted, noted

_OF_BATCH: Final[dict[type[ManyKey], type[Row]]] = {BatchPrompts: PromptRow, BatchImages: ImageRow}
_FOUND_BY_BATCH: Final = frozenset(_OF_BATCH.values())
_THROUGH_TABLES: Final = frozenset(get_args(ThroughTables))


class Together:
    """One group within its transaction. Nothing of it is in the tables before `flush`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._know_nothing()
        self._begin()

    def _know_nothing(self) -> None:
        self._known: dict[RowId, Row | None] = {}
        self._of_batch: dict[str, dict[RowId, Row]] = {}
        self._erases = False

    def _begin(self) -> None:
        self._lines: list[Line] = []
        self._noted: list[Noted] = []
        self._changed: dict[RowId, Row] = {}
        self._texts: list[Blob] = []

    def expect(self, commands: Sequence[SubmitBatch]) -> None:
        """Look at once for what each of these will ask for first. Nothing may have been taken yet."""
        requests = {RequestKey(one.label, one.request_id) for one in commands}
        series = {SeriesKey(each.key) for one in commands for each in one.series}
        self._known |= self._ledger.load_these((*requests, *series))

    def load(self, keys: tuple[Key, ...]) -> Slice:
        """The rows under the keys, as the messages before this one left them. `prepare` must have been called."""
        return gathered(keys, self._one, self._many)

    def prepare(self, keys: tuple[Key, ...]) -> None:
        """Flush before a message reads what is found through tables alone, and after an erasure.

        An erased graph may still be cached here. It would keep the same graph from being stored under another digest.
        Raises as `flush` does.
        """
        if self._erases or not _THROUGH_TABLES.isdisjoint(map(type, keys)):
            self.flush()
        if self._erases:
            self._know_nothing()

    def take(self, recorded: tuple[Recorded, ...], state: Slice, texts: Iterable[Blob]) -> None:
        """Add what a message made. Nothing is written before `flush`."""
        lines, named = self._ledger.follow(recorded, state), list(texts)
        if not recorded:
            self._changed |= state.changed  # how far webhooks have come, which is no event
            return
        self._add(lines, recorded, state)
        self.keep(named)

    def adopt(self, line: Line, recorded: Recorded, state: Slice) -> None:
        """Add a line that is in the log already, with what its event has changed in `state`."""
        self._ledger.adopt((line,))
        self._add([line], (recorded,), state)

    def _add(self, lines: list[Line], recorded: tuple[Recorded, ...], state: Slice) -> None:
        self._lines += lines
        self._noted += noted(recorded, state)
        self._known |= state.changed
        self._changed |= state.changed
        for ident, row in state.changed.items():
            if type(row) in _FOUND_BY_BATCH:
                self._of_batch.setdefault(row.batch_id, {})[ident] = row  # type: ignore[union-attr]
        self._erases = self._erases or any(type(entry.event) is BlobErased for entry in recorded)

    def keep(self, texts: Iterable[Blob]) -> None:
        """Add texts that came with lines. Nothing is written before `flush`."""
        for text in texts:
            self._take_text(text)

    def _take_text(self, text: Blob) -> None:
        """Skip a graph that the ledger or this group has already, under whichever digest."""
        if text.key:
            ident = TemplateKey(text.key).row_id
            if self._known.get(ident) is not None:
                return
            self._known[ident] = TemplateRow(text.key, text.digest)
        self._texts.append(text)

    def flush(self) -> None:
        """Write all that was taken. Raises as `Ledger.put`; which message was the cause is not known."""
        self._ledger.put(self._lines, self._noted, self._changed.values(), self._texts)
        self._begin()

    def _one(self, key: OneKey) -> Row | None:
        ident = key.row_id
        if ident not in self._known:
            self._known[ident] = self._ledger.load_one(key)
        return self._known[ident]

    def _many(self, key: ManyKey) -> Iterable[Row]:
        rows = self._ledger.load_many(key)
        changed = self._of_batch.get(key.batch_id)
        kind = _OF_BATCH.get(type(key))
        if not changed or kind is None:
            return rows
        now = {ident: row for ident, row in changed.items() if isinstance(row, kind)}
        return {**Slice(rows)._rows, **now}.values()
