"""Which prompt goes to a backend next, and how many places the backend has left.

A suspect, a prompt that ran when ComfyUI went away, runs alone: nothing starts beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.fair_queue import FairQueue

PromptId = tuple[str, int]
"""(batch_id, prompt)"""


class PromptQueue:
    """The queued prompts of every backend. `prompts`: the rows of all open prompts, which the owner keeps current."""

    def __init__(self, limits: Limits, prompts: Mapping[PromptId, PromptRow]) -> None:
        self._limits = limits
        self._prompts = prompts
        self._queues: dict[str, FairQueue] = {}
        self._at_backend: dict[str, set[PromptId]] = {}
        self._alone: dict[str, PromptId] = {}
        """The suspect of each backend whose turn it is, while it waits for the others to leave."""

    def backends(self) -> Iterable[str]:
        return self._queues

    def add(self, batch: BatchRow, row: PromptRow, now_ms: int) -> None:
        queue = self._queue(row.backend)
        queue.add(batch.priority, batch.user_key, batch.batch_id, row.index, now_ms)

    def discard(self, batch: BatchRow, row: PromptRow) -> None:
        self._queue(row.backend).discard(batch.priority, batch.user_key, batch.batch_id, row.index)
        if self._alone.get(row.backend) == (row.batch_id, row.index):
            del self._alone[row.backend]

    def count_place(self, backend: str, prompt: PromptId, *, taken: bool) -> None:
        """Whether a prompt takes one of the places of its backend."""
        places = self._at_backend.setdefault(backend, set())
        (places.add if taken else places.discard)(prompt)

    def has_place(self, backend: str) -> bool:
        """Whether another prompt may go there. None may while a suspect is there."""
        there = self._at_backend.setdefault(backend, set())
        return len(there) < self._limits.queue_depth and not any(self._prompts[prompt].strikes for prompt in there)

    def pick(self, backend: str, now_ms: int) -> PromptId | None:
        """Take out the prompt that goes next. A suspect waits until the others have left and keeps its turn meanwhile,
        so none overtakes it.
        """
        picked = self._alone.pop(backend, None) or self._queue(backend).pick(now_ms)
        if picked is not None and self._prompts[picked].strikes and self._at_backend[backend]:
            self._alone[backend] = picked
            return None
        return picked

    def _queue(self, backend: str) -> FairQueue:
        found = self._queues.get(backend)
        if found is None:
            found = self._queues[backend] = FairQueue(self._limits.priority_age_ms)
        return found
