"""Which prompt goes to a backend next, and how many places the backend has left.

A suspect, a prompt that ran when ComfyUI went away, runs alone: nothing starts beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.fair_queue import FairQueue
from comfyledger.core.scheduling.fit import Fit

PromptId = tuple[str, int]
"""(batch_id, prompt)"""
Backends = tuple[str, ...]
"""Names of backends, in the order of the configuration."""


class PromptQueue:
    """The queued prompts of all backends. `prompts`: the rows of all open prompts, which the owner keeps current.
    `fit`: says which backends may take a prompt; prompts that the same ones may take are in one queue.
    """

    def __init__(self, limits: Limits, prompts: Mapping[PromptId, PromptRow], fit: Fit) -> None:
        self._fit = fit
        self._limits = limits
        self._prompts = prompts
        self._queues: dict[Backends, FairQueue] = {}
        """By the backends that may take their prompts."""
        self._bound: dict[PromptId, Backends] = {}
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
        bound = self._bound[place] = self._fit.backends_of(batch, row)
        self._queue(bound).add(batch.priority, batch.user_key, batch.batch_id, row.index, now_ms)
        self._waiting[batch.user_key] += 1
        if batch.user_key not in self._turns:
            self._take_turn(batch.user_key)

    def discard(self, batch: BatchRow, row: PromptRow) -> None:
        place = (row.batch_id, row.index)
        bound = self._bound.pop(place, None)
        if bound is None:
            return
        for backend in bound:
            if self._alone.get(backend) == place:
                del self._alone[backend]
                return
        self._queue(bound).discard(batch.priority, batch.user_key, batch.batch_id, row.index)
        self._left(bound, batch.user_key)

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

    def pick(self, backend: str, now_ms: int, *, better: Collection[str] = ()) -> PromptId | None:
        """Take out the prompt that goes next. A suspect waits until the others have left and keeps its turn meanwhile,
        so none overtakes it. `better`: backends to which what they may take is left.
        """
        names = [one for one in self._queues if backend in one and not any(other in better for other in one)]
        picked = self._alone.pop(backend, None) or self._in_turn(names, now_ms)
        if picked is not None and self._prompts[picked].strikes and self._at_backend[backend]:
            self._alone[backend] = picked
            return None
        if picked is not None:
            self._bound.pop(picked, None)
        return picked

    def _in_turn(self, names: Iterable[Backends], now_ms: int) -> PromptId | None:
        """Of the prompts that are first in these queues: the more urgent, then of the user whose turn was longer ago,
        then what fewer backends may take.
        """
        order = [
            (rank, self._turns[user], len(name), name, user)
            for name in names
            if (found := self._queue(name).peek(now_ms)) is not None
            for rank, user in (found,)
        ]
        if not order:
            return None
        _, _, _, name, user = min(order)
        self._take_turn(user)
        picked = self._queue(name).pick(now_ms)
        self._left(name, user)
        return picked

    def _take_turn(self, user: str) -> None:
        self._clock += 1
        self._turns[user] = self._clock

    def _left(self, backends: Backends, user: str) -> None:
        """A prompt of a user does not wait any more in the queue of these backends. An empty queue goes: which backends
        may take the same changes over the months.
        """
        if self._queue(backends).is_empty:
            del self._queues[backends]
        self._waiting[user] -= 1
        if not self._waiting[user]:
            del self._waiting[user], self._turns[user]

    def _queue(self, backends: Backends) -> FairQueue:
        found = self._queues.get(backends)
        if found is None:
            found = self._queues[backends] = FairQueue(self._limits.priority_age_ms)
        return found
