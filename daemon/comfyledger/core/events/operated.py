"""What people and faults did to lanes and to the ledger."""

from __future__ import annotations

from typing import Literal

from comfyledger.core.events.event import Event
from comfyledger.core.values import Evidence


class LanePaused(Event, frozen=True):
    """A store, a backend, a user or everything is paused. `cause`: person, or trouble of the lane itself."""

    lane: str
    cause: Literal["person", "trouble"]
    code: str
    words: str | None = None
    by: str = ""


class LaneResumed(Event, frozen=True):
    lane: str
    cause: Literal["person", "trouble"]
    by: str = ""


class LedgerRestored(Event, frozen=True):
    """The ledger was restored from a backup: positions after it mean something else now, in a new epoch.

    `evidence`: what was asked for numbers given after the backup, each with the highest that it showed of any series.
    Every series that is known is raised after this; `first` is what one begins with that is not.
    """

    epoch_before: str
    epoch: str
    position_before: int
    evidence: tuple[Evidence, ...]
    margin: int
    by: str
    first: int = 1
