"""Lanes: which ones a person paused, which ones are in trouble, and when a lane in trouble is tried again.

A lane is a store, a backend, a user or everything. It is the circuit breaker of a store or backend: a lane in trouble
gets one call at a time, the probe, with a growing delay.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.core.backoff import backoff
from comfyledger.core.rows import LaneRow
from comfyledger.core.values import EVERYTHING, lane_and_box, lane_at

PROBE_FIRST_MS: Final = 1_000
PROBE_LAST_MS: Final = 60_000
"""A lane in trouble is probed after one second, then two, four, up to a minute."""


class Trouble(msgspec.Struct):
    """A lane that does not work: since when, as far as this process saw it; when to probe it again, how many probes
    failed, whether a probe is under way."""

    code: str
    since_ms: int
    probe_at_ms: int
    probes: int = 0
    probing: bool = False


def backoff_ms(times: int) -> int:
    """How long to wait after this many failed tries."""
    return int(backoff(times, PROBE_FIRST_MS, PROBE_LAST_MS))


class Lanes:
    """The health of every lane that is paused or in trouble. `box`: the box of a fleet that this is for; the trouble
    of another box with a store, or with its disks, is only listed.
    """

    def __init__(self, box: str = "") -> None:
        self.paused_by_person: set[str] = set()
        self._box = box
        self._trouble: dict[str, Trouble] = {}
        self._elsewhere: dict[str, str] = {}

    def apply(self, row: LaneRow, now_ms: int) -> bool:
        """Take in a row as it is after a commit. Whether a person's pause began or ended."""
        was_paused = row.name in self.paused_by_person
        (self.paused_by_person.add if row.person else self.paused_by_person.discard)(row.name)
        lane, box = lane_and_box(row.name) if self._box else (row.name, self._box)
        if box == self._box:
            self._troubled(lane, row.code, now_ms)
        elif box and row.code:
            self._elsewhere[row.name] = row.code
        elif box:
            self._elsewhere.pop(row.name, None)
        elif lane_at(lane, self._box) == lane:
            self._troubled(lane, row.code, now_ms)
        return row.person != was_paused

    def _troubled(self, lane: str, code: str, now_ms: int) -> None:
        if code and lane not in self._trouble:
            self._trouble[lane] = Trouble(code, now_ms, now_ms)
        elif not code:
            self._trouble.pop(lane, None)

    def is_paused(self, lane: str) -> bool:
        """Whether a person paused this lane, or everything."""
        return lane in self.paused_by_person or EVERYTHING in self.paused_by_person

    def in_trouble(self, lane: str) -> bool:
        return lane in self._trouble

    def in_trouble_since(self, lane: str) -> int | None:
        """Since when a lane is in trouble; None if it is not. After a start, since then."""
        trouble = self._trouble.get(lane)
        return trouble.since_ms if trouble is not None else None

    def works(self, lane: str) -> bool:
        """Whether calls of this lane go: it is not paused, and not in trouble."""
        return not self.is_paused(lane) and lane not in self._trouble

    def may_probe(self, lane: str, now_ms: int) -> bool:
        """Whether the next probe of a lane in trouble is due; a lane that works may always be called."""
        trouble = self._trouble.get(lane)
        return trouble is None or trouble.probe_at_ms <= now_ms

    def called(self, lane: str, now_ms: int) -> None:
        """A call to a lane in trouble is a probe. If it ends without a report, the next one still waits."""
        trouble = self._trouble.get(lane)
        if trouble is not None:
            trouble.probing = True
            trouble.probe_at_ms = now_ms + backoff_ms(trouble.probes + 1)

    def stuck(self, lane: str, code: str, now_ms: int, retry_after_s: float | None) -> None:
        """A call failed through the fault of its lane. Calls under way when the trouble began count as one probe."""
        trouble = self._trouble.get(lane)
        if trouble is None:
            return
        trouble.code = code
        if trouble.probing or not trouble.probes:
            trouble.probing = False
            trouble.probes += 1
            trouble.probe_at_ms = now_ms + backoff_ms(trouble.probes)
        if retry_after_s is not None:
            trouble.probe_at_ms = max(trouble.probe_at_ms, now_ms + int(retry_after_s * 1000))

    def probe_soon(self, lane: str, now_ms: int) -> None:
        if lane in self._trouble:
            self._trouble[lane].probe_at_ms = now_ms

    def probes_after(self, now_ms: int) -> list[int]:
        """The times in milliseconds, later than `now_ms`, at which a probe is due."""
        return [trouble.probe_at_ms for trouble in self._trouble.values() if trouble.probe_at_ms > now_ms]

    def codes(self) -> dict[str, str]:
        """The lanes in trouble, with their codes. Those of other boxes are named with the box."""
        return {lane: trouble.code for lane, trouble in self._trouble.items()} | self._elsewhere
