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
        self._heard: dict[str, tuple[int, float]] = {}

    def forget(self) -> None:
        """This box was cut off: what it did not hear meanwhile says nothing."""
        self._heard.clear()

    def ended(self, seen: Iterable[BoxSeen], rows: Iterable[BoxRow], now_s: float) -> list[BoxRow]:
        """The boxes that take part and whose leases have ended, if it is for this box to say so: of those that live,
        the first by name does.
        """
        for one in seen:
            beat, _ = self._heard.get(one.name, (-1, 0.0))
            if one.beat != beat:
                self._heard[one.name] = (one.beat, now_s)
        present = [row for row in rows if row.present]
        dead = [row for row in present if row.name != self._own and self._is_silent(row.name, now_s)]
        alive = {row.name for row in present} - {row.name for row in dead}
        return dead if alive and min(alive) == self._own else []

    def _is_silent(self, name: str, now_s: float) -> bool:
        """One that was never heard has joined and said nothing, so its lease begins when it was first looked for."""
        _, since_s = self._heard.setdefault(name, (-1, now_s))
        return now_s - since_s >= self._lease_s
