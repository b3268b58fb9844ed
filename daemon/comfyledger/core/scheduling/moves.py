"""Which attempts are left behind at a backend, so that another one can render their prompts; of the others, why not.

An attempt is left behind after its backend's lane was in trouble for so long, at once after its box has left the fleet,
or when a person says so; only if another backend that works may take the prompt. A suspect stays in any case: else a
prompt that stops ComfyUI would stop one after the other. Only a box that was given up keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from comfyledger.core.backends import box_of
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.lanes import Lanes
from comfyledger.core.scheduling.ownership import Ownership
from comfyledger.core.values import SPOOL, backend_lane, user_lane

WhyStays = Literal["", "cancelling", "fetching", "choice", "suspect", "pinned", "nowhere"]
"""Why an attempt stays where it is; empty if it may be left behind. `nowhere`: no other backend that works may take its
prompt. `choice`: a person chose among its files."""


class Attempt(msgspec.Struct, frozen=True):
    """The live attempt of a prompt, at its backend."""

    row: PromptRow
    why: WhyStays


class Moves:
    """Of the open prompts. What it is made with is that of the owner, who changes it."""

    def __init__(
        self,
        batches: Mapping[str, BatchRow],
        prompts: Mapping[PromptId, PromptRow],
        fit: Fit,
        lanes: Lanes,
        owners: Ownership,
    ) -> None:
        self._batches, self._prompts = batches, prompts
        self._fit, self._lanes, self._owners = fit, lanes, owners
        self._sent: Final[dict[str, dict[PromptId, None]]] = {}
        """By backend: the prompts whose live attempt was sent there."""
        self._strays: Final[dict[PromptId, None]] = {}
        """The prompts that have strays."""

    def put(self, before: PromptRow | None, after: PromptRow) -> None:
        """A prompt has changed."""
        place = (after.batch_id, after.index)
        if before is not None and before.is_sent:
            sent = self._sent[before.backend]
            del sent[place]
            if not sent:
                del self._sent[before.backend]
        if after.is_sent:
            self._sent.setdefault(after.backend, {})[place] = None
        if after.strays:
            self._strays[place] = None
        elif before is not None and before.strays:
            del self._strays[place]

    def at(self, backend: str) -> list[Attempt]:
        """The live attempts that were sent to a backend, those among them that stay there."""
        return [Attempt(row, self._why_stays(row)) for row in self._rows_at(backend)]

    def due(self, after_ms: Mapping[str, int], now_ms: int) -> list[PromptRow]:
        """The prompts whose live attempts are to be left behind now. `after_ms`: how long each backend may be in
        trouble until then; 0 or no value for ever. Those of boxes that left are due at once, for the caretaker.

        None while nothing would be sent elsewhere: because of a pause, or because the spool has no room.
        """
        if self._lanes.in_trouble(SPOOL):
            return []
        away = [backend for backend in self._sent if self._is_away(backend, after_ms.get(backend, 0), now_ms)]
        rows = (row for backend in away for row in self._rows_at(backend))
        return [row for row in rows if self._would_be_sent(row) and not self._why_stays(row)]

    def given_up(self) -> list[PromptRow]:
        """The attempts at boxes that were given up, strays among them, each as its prompt is for it. Nobody will be
        asked about them, so the caretaker has them ended or left behind. Files that a person chose are gone with the
        box, so such an attempt has failed.
        """
        if not self._owners.is_caretaker or self._owners.is_alone:
            return []
        boxes = self._owners.given_up
        gone = [backend for backend in self._sent if self._owners.of_backend(backend) in boxes]
        live = [row for backend in gone for row in self._rows_at(backend)]
        return live + [row for place in self._strays for row in _strays_at(self._prompts[place], boxes)]

    def _rows_at(self, backend: str) -> Iterator[PromptRow]:
        return (self._prompts[place] for place in self._sent.get(backend, ()))

    def _is_away(self, backend: str, after_ms: int, now_ms: int) -> bool:
        if self._owners.is_gone(self._owners.of_backend(backend)):
            return self._owners.is_caretaker
        return self._owners.has_backend(backend) and self._is_overdue(backend, after_ms, now_ms)

    def _is_overdue(self, backend: str, after_ms: int, now_ms: int) -> bool:
        since_ms = self._lanes.in_trouble_since(backend_lane(backend))
        return bool(after_ms) and since_ms is not None and now_ms - since_ms >= after_ms

    def _would_be_sent(self, row: PromptRow) -> bool:
        batch = self._batches[row.batch_id]
        return not batch.held and not self._lanes.is_paused(user_lane(batch.user_key))

    def _why_stays(self, row: PromptRow) -> WhyStays:
        batch = self._batches[row.batch_id]
        if row.state == "cancelling":
            return "cancelling"
        if row.state == "finished" and self._is_there(row.backend) and not self._is_troubled(row.backend):
            return "fetching"
        if row.waiting:
            return "choice"
        if row.strikes:
            return "suspect"
        if batch.backend:
            return "pinned"
        others = self._fit.elsewhere(batch, row, row.backend)
        return (
            "" if any(self._is_there(name) and self._lanes.works(backend_lane(name)) for name in others) else "nowhere"
        )

    def _is_there(self, backend: str) -> bool:
        return not self._owners.is_gone(self._owners.of_backend(backend))

    def _is_troubled(self, backend: str) -> bool:
        return self._lanes.in_trouble(backend_lane(backend))


def _strays_at(row: PromptRow, boxes: frozenset[str]) -> Iterator[PromptRow]:
    return (row.as_attempt(one.attempt) for one in row.strays if box_of(one.backend) in boxes)
