"""Keeps a daemon from taking part under the name of a box that lives, such as one with a copied configuration.

Both would end each other's terms, and each would miss the files that the other one keeps. Nothing here is decided for
the log: a box says where it is, and whoever comes under its name from another place waits until it has fallen silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import BoxSeen
from comfyledger.workers.fleet.about import read_about

SILENT_S: Final = 8.0
"""A box that lives says something every five seconds."""


class Namesake:
    """`own`: the name of this box. `place`: where its daemon is, as it tells the others."""

    def __init__(self, own: str, place: str) -> None:
        self._own, self._place = own, place
        self._beat: int | None = None

    def may_join(self, seen: Iterable[BoxSeen]) -> bool:
        """Whether nobody else speaks under this name. Call it again while it is not known.

        Raises LedgerUnusable if somebody does.
        """
        said = next((one for one in seen if one.name == self._own), None)
        if said is None or said.age_s >= SILENT_S or self._is_own(said):
            self._beat = None
            return True
        if self._beat not in {None, said.beat}:
            where = f" at {said.url}" if said.url else ""
            hint = "Give each box a [box] name of its own, or end the other daemon."
            raise LedgerUnusable(f"Another daemon takes part as the box {self._own}{where}.", hint=hint)
        self._beat = said.beat
        return False

    def _is_own(self, said: BoxSeen) -> bool:
        """Whether it was said by this daemon, or by an earlier one of its state folder, whose lock this one has."""
        return read_about(said.about).place in {"", self._place}
