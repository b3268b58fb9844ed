"""How many images of each client's label are open: neither stored nor given up. Kept as rows change, never counted."""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger.core.rows import BatchRow, Row


class OpenImages:
    """`most`: of one label."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_batch: dict[str, int] = {}
        self._of_label: dict[str, int] = {}

    def apply(self, rows: Iterable[Row]) -> None:
        """Take in rows as they are after a commit."""
        for row in rows:
            if isinstance(row, BatchRow):
                self._batch(row)

    def _batch(self, row: BatchRow) -> None:
        count = 0 if row.settled else row.pending + row.kept
        more = count - self._of_batch.pop(row.batch_id, 0)
        if count:
            self._of_batch[row.batch_id] = count
        left = self._of_label.pop(row.label, 0) + more
        if left:
            self._of_label[row.label] = left

    def room_of(self, label: str) -> int:
        """How many more images a label may have open."""
        return self._most - self._of_label.get(label, 0)
