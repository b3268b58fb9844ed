"""Which boxes of a fleet have died: those that have said nothing for a whole lease, while this box was there to hear.

A box that could not reach the database itself has heard nobody, and declares nobody dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from comfyledger.core.boxes import BoxRow
from comfyledger.ledger.ports import BoxSeen

LEASE_S: Final = 20.0
"""A box that has said nothing for so long has died, or sleeps, or is cut off."""


class Leases:
    """What this box heard of each other one, and since when, by a clock that never jumps."""

    def __init__(self, own: str, lease_s: float = LEASE_S) -> None:
        self._own = own
        self._lease_s = lease_s
        self._heard: dict[tuple[str, int], tuple[int, float]] = {}
        """By name and term: what a box said in an earlier one says nothing of this one."""

    def forget(self) -> None:
        """This box was cut off: what it did not hear meanwhile says nothing."""
        self._heard.clear()

    def ended(self, seen: Iterable[BoxSeen], rows: Iterable[BoxRow], now_s: float) -> list[BoxRow]:
        """The boxes that take part and whose leases have ended, if it is for this box to say so: of those that live,
        the first by name does.
        """
        beats, present = {one.name: one.beat for one in seen}, [row for row in rows if row.present]
        self._heard = {(row.name, row.term): self._last(row, beats.get(row.name, -1), now_s) for row in present}
        dead = [row for row in present if row.name != self._own and self._is_silent(row, now_s)]
        alive = {row.name for row in present} - {row.name for row in dead}
        return dead if alive and min(alive) == self._own else []

    def _last(self, row: BoxRow, beat: int, now_s: float) -> tuple[int, float]:
        """The last beat and since when it is known. The lease of a box that has just joined begins when it is first
        looked for.
        """
        heard = self._heard.get((row.name, row.term))
        return heard if heard is not None and heard[0] == beat else (beat, now_s)

    def _is_silent(self, row: BoxRow, now_s: float) -> bool:
        return now_s - self._heard[row.name, row.term][1] >= self._lease_s
