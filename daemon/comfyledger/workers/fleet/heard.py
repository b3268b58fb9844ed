"""What this box heard of its fleet last: where the doors of the others are, which ComfyUIs they have, how far they are.

A box says it beside the log (`membership`), so it is some seconds old, and an opinion: nothing is decided from it that
the log could decide otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.ledger.ports import BoxSeen
from comfyledger.workers.fleet.about import About, read_about

SILENT_S: Final = 11.0
"""A box that has said nothing for so long has missed two signs of life. What it said last does not hold any more."""


class HeardBox(msgspec.Struct, frozen=True):
    """A box as it was heard last. `age_s`: how long ago. `behind`: events that it lacked then."""

    name: str
    url: str
    about: About
    age_s: float
    behind: int

    @property
    def is_silent(self) -> bool:
        return self.age_s > SILENT_S

    @property
    def clock_s(self) -> float | None:
        """What its clock shows now, in seconds since 1970; None for an older release, which does not say that."""
        return self.about.at_s + self.age_s if self.about.at_s else None


class Heard:
    """`own`: the name of this box; empty without a fleet, of which nothing is ever heard."""

    def __init__(self, own: str = "", steady_s: Callable[[], float] = time.monotonic) -> None:
        self.own: Final = own
        self._steady_s = steady_s
        self._at_s = 0.0
        self._boxes: tuple[HeardBox, ...] = ()
        self.tags: Mapping[str, frozenset[str]] = MappingProxyType({})
        """The tags of each ComfyUI of the other boxes, by its name in the log."""
        self.gets_secrets: Mapping[str, bool] = MappingProxyType({})
        """Whether each of these gets workflows that have secrets."""
        self.changed: list[Callable[[], None]] = []
        """Called when `tags` or `gets_secrets` has changed."""

    def take(self, seen: Iterable[BoxSeen]) -> None:
        """What all boxes said last, as the table of boxes has it now."""
        found = list(seen)
        end = max((one.position for one in found), default=0)
        self._at_s = self._steady_s()
        self._boxes = tuple(
            HeardBox(one.name, one.url, read_about(one.about), one.age_s, end - one.position) for one in found
        )
        others = [one for box in self._boxes if box.name != self.own for one in box.about.backends]
        secretive = {name for box in self._boxes for name in box.about.no_secrets}
        tags = {one.name: frozenset(one.tags) for one in others}
        gets_secrets = {name: name not in secretive for name in tags}
        if (tags, gets_secrets) != (self.tags, self.gets_secrets):
            self.tags, self.gets_secrets = tags, gets_secrets
            for call in self.changed:
                call()

    def boxes(self) -> list[HeardBox]:
        """All boxes that were ever heard, this one among them, by name."""
        since_s = self._steady_s() - self._at_s
        return [msgspec.structs.replace(one, age_s=one.age_s + since_s) for one in self._boxes]

    def box(self, name: str) -> HeardBox | None:
        return next((one for one in self.boxes() if one.name == name), None)

    def backends_elsewhere(self) -> list[tuple[HeardBox, wire.BackendInfo]]:
        """The ComfyUIs of the other boxes, as these saw them."""
        return [(box, one) for box in self.boxes() if box.name != self.own for one in box.about.backends]
