"""Whose prompt is next: round-robin over users, then over each user's batches, in three priorities that age.

One queue has the prompts that the same backends may take. It holds only prompts that may go now; what is held or paused
is taken out and put back. Every operation costs the same however much is waiting.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

PRIORITIES: Final = 3
"""0 is high, 1 is normal, 2 is low."""

Prompts = OrderedDict[int, None]
Batches = OrderedDict[str, Prompts]


class _Ring:
    """The prompts of one priority. `since_ms`: when it was last served, or became worth serving."""

    def __init__(self) -> None:
        self.users: OrderedDict[str, Batches] = OrderedDict()
        self.since_ms = 0


class FairQueue:
    """Queued prompts in the order in which they are to go."""

    def __init__(self, age_ms: int) -> None:
        self._age_ms = age_ms
        self._rings = tuple(_Ring() for _ in range(PRIORITIES))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits. Then it is as a new one."""
        return not any(ring.users for ring in self._rings)

    def add(self, priority: int, user: str, batch_id: str, prompt: int, now_ms: int) -> None:
        ring = self._rings[priority]
        if not ring.users:
            ring.since_ms = now_ms
        ring.users.setdefault(user, OrderedDict()).setdefault(batch_id, OrderedDict())[prompt] = None

    def discard(self, priority: int, user: str, batch_id: str, prompt: int) -> None:
        """Take one prompt out, if it is there."""
        ring = self._rings[priority]
        batches = ring.users.get(user)
        prompts = batches.get(batch_id) if batches is not None else None
        if batches is None or prompts is None:
            return
        prompts.pop(prompt, None)
        if not prompts:
            del batches[batch_id]
        if not batches:
            del ring.users[user]

    def pick(self, now_ms: int) -> tuple[str, int] | None:
        """Take out the prompt that is next: (batch_id, prompt), or None if nothing waits.

        A priority that has waited unserved for one more age counts as one class higher, so that none starves.
        """
        found = self._first(now_ms)
        if found is None:
            return None
        _, ring = found
        ring.since_ms = now_ms
        user, batches = next(iter(ring.users.items()))
        batch_id, prompts = next(iter(batches.items()))
        prompt, _ = prompts.popitem(last=False)
        ring.users.move_to_end(user)
        batches.move_to_end(batch_id)
        if not prompts:
            del batches[batch_id]
        if not batches:
            del ring.users[user]
        return batch_id, prompt

    def peek(self, now_ms: int) -> tuple[int, str] | None:
        """The rank of the prompt that is next (the lower, the sooner) and its user; None if nothing waits."""
        found = self._first(now_ms)
        return (found[0], next(iter(found[1].users))) if found is not None else None

    def _first(self, now_ms: int) -> tuple[int, _Ring] | None:
        waiting = [(self._rank(level, ring, now_ms), level) for level, ring in enumerate(self._rings) if ring.users]
        if not waiting:
            return None
        rank, level = min(waiting)
        return rank, self._rings[level]

    def _rank(self, level: int, ring: _Ring, now_ms: int) -> int:
        return level - max(0, now_ms - ring.since_ms) // self._age_ms
