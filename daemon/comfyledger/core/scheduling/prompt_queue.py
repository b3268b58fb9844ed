"""Which prompt goes to a backend next, and how many places the backend has left.

A suspect, a prompt that ran when ComfyUI went away, runs alone: nothing starts beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.fair_queue import FairQueue

PromptId = tuple[str, int]
"""(batch_id, prompt)"""


def bound_to(batch: BatchRow, row: PromptRow) -> str:
    """The only backend that a queued prompt may go to; empty if it may go to any.

    A suspect stays where it struck: else a prompt that stops ComfyUI would stop one after the other.
    """
    return (row.backend if row.strikes else "") or batch.backend


class PromptQueue:
    """The queued prompts of all backends. `prompts`: the rows of all open prompts, which the owner keeps current.

    Most prompts may go to any backend. One that its batch pins, or a suspect, may go to one alone.
    """

    def __init__(self, limits: Limits, prompts: Mapping[PromptId, PromptRow]) -> None:
        self._limits = limits
        self._prompts = prompts
        self._queues: dict[str, FairQueue] = {}
        """By backend; those for any backend under an empty name."""
        self._bound: dict[PromptId, str] = {}
        """The queue that a waiting prompt is in."""
        self._at_backend: dict[str, set[PromptId]] = {}
        self._alone: dict[str, PromptId] = {}
        """The suspect of each backend whose turn it is, while it waits for the others to leave."""
        self._turns: dict[str, int] = {}
        """When each user with a waiting prompt was served last, or began to wait, by a count of both."""
        self._waiting: Counter[str] = Counter()
        """By user: how many prompts wait."""
        self._clock = 0

    def add(self, batch: BatchRow, row: PromptRow, now_ms: int) -> None:
        place = (row.batch_id, row.index)
        if place in self._bound:
            return
        bound = self._bound[place] = bound_to(batch, row)
        self._queue(bound).add(batch.priority, batch.user_key, batch.batch_id, row.index, now_ms)
        self._waiting[batch.user_key] += 1
        if batch.user_key not in self._turns:
            self._take_turn(batch.user_key)

    def discard(self, batch: BatchRow, row: PromptRow) -> None:
        place = (row.batch_id, row.index)
        bound = self._bound.pop(place, None)
        if bound is None:
            return
        if self._alone.get(bound) == place:
            del self._alone[bound]
            return
        self._queue(bound).discard(batch.priority, batch.user_key, batch.batch_id, row.index)
        self._left(batch.user_key)

    def count_place(self, backend: str, prompt: PromptId, *, taken: bool) -> None:
        """Whether a prompt takes one of the places of a backend."""
        places = self._at_backend.setdefault(backend, set())
        (places.add if taken else places.discard)(prompt)

    def count_at(self, backend: str) -> int:
        """How many places of a backend are taken."""
        return len(self._at_backend.get(backend, ()))

    def has_place(self, backend: str) -> bool:
        """Whether another prompt may go there. None may while a suspect is there."""
        there = self._at_backend.setdefault(backend, set())
        depth = self._limits.queue_depths.get(backend, 0)
        return len(there) < depth and not any(self._prompts[prompt].strikes for prompt in there)

    def pick(self, backend: str, now_ms: int, *, only_its_own: bool = False) -> PromptId | None:
        """Take out the prompt that goes next. A suspect waits until the others have left and keeps its turn meanwhile,
        so none overtakes it. `only_its_own`: only what may go nowhere else.
        """
        names = (backend,) if only_its_own else (backend, "")
        picked = self._alone.pop(backend, None) or self._in_turn(names, now_ms)
        if picked is not None and self._prompts[picked].strikes and self._at_backend[backend]:
            self._alone[backend] = picked
            return None
        if picked is not None:
            self._bound.pop(picked, None)
        return picked

    def _in_turn(self, names: Iterable[str], now_ms: int) -> PromptId | None:
        """Of the prompts that are first in these queues: the more urgent, then of the user whose turn was longer
        ago.
        """
        order = [
            (rank, self._turns[user], not name, name, user)
            for name in names
            if (found := self._queue(name).peek(now_ms)) is not None
            for rank, user in (found,)
        ]
        if not order:
            return None
        _, _, _, name, user = min(order)
        self._take_turn(user)
        self._left(user)
        return self._queue(name).pick(now_ms)

    def _take_turn(self, user: str) -> None:
        self._clock += 1
        self._turns[user] = self._clock

    def _left(self, user: str) -> None:
        """A prompt of a user does not wait any more."""
        self._waiting[user] -= 1
        if not self._waiting[user]:
            del self._waiting[user], self._turns[user]

    def _queue(self, backend: str) -> FairQueue:
        found = self._queues.get(backend)
        if found is None:
            found = self._queues[backend] = FairQueue(self._limits.priority_age_ms)
        return found
