"""The rows of open work, as the writer's tables hold them, so that the writer need not read what it has just written.

The tables stay the truth. A row is kept here once its statement has run. Everything is forgotten whenever the tables
may hold something else: after a rollback, after an error, and when another program has written to the file. Only the
writer asks here; readers read the tables.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from comfyledger.core.keys import BatchKey, ImageKey, LaneKey, OneKey, PromptKey
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Row, RowId, row_id

ROWS_MAX: Final = 10_000
"""Beyond it the rows that were not written for longest are forgotten. Each has about 1 KB."""

OF_OPEN_WORK: Final[frozenset[type[OneKey]]] = frozenset((BatchKey, PromptKey, ImageKey, LaneKey))
"""The keys of rows that may be kept."""
_IS_OPEN: Final[dict[type[Row], Callable[[Any], bool]]] = {
    BatchRow: lambda row: not row.settled,
    PromptRow: lambda row: not row.is_over,
    ImageRow: lambda row: row.state in {"pending", "kept", "forgetting"},
    LaneRow: lambda row: True,
}
"""Which rows are kept: those to which more will be reported."""


class RowMemory:
    """Rows by their ids, at most `rows_max`. That a lane has no row is kept too, because few lanes ever have one."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows: OrderedDict[RowId, Row | None] = OrderedDict()
        """A plain dict would look through all that was dropped, each time, to find the row that was kept first."""
        self._rows_max = rows_max

    def __len__(self) -> int:
        return len(self._rows)

    def known(self, ident: RowId) -> Row | None:
        """The row with an id; None if the tables have none. Raises KeyError if neither is known here."""
        return self._rows[ident]

    def loaded(self, key: OneKey, row: Row | None) -> None:
        """Keep what the tables hold under a key, if it is of open work."""
        if row is not None:
            self.written((row,))
        elif type(key) is LaneKey:
            self._keep(key.row_id, None)

    def written(self, rows: Iterable[Row]) -> None:
        """Keep rows that the tables hold now, and drop those on which no work is open any more."""
        for row in rows:
            is_open = _IS_OPEN.get(type(row))
            if is_open is None:
                continue
            if is_open(row):
                self._keep(row_id(row), row)
            else:
                self._rows.pop(row_id(row), None)

    def _keep(self, ident: RowId, row: Row | None) -> None:
        self._rows[ident] = row
        self._rows.move_to_end(ident)
        if len(self._rows) > self._rows_max:
            self._rows.popitem(last=False)

    def forget(self) -> None:
        """Forget everything, because the tables may hold something else."""
        self._rows.clear()
