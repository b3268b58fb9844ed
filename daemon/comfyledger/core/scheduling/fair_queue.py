"""Whose prompt is next within one class: the user whose turn was longest ago, then that user's batches in rotation, in
three priorities that age.

It holds only prompts that may go now; what is held or paused is taken out and put back. What an operation costs does
not depend on how many prompts wait.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import Final, NamedTuple

from comfyledger.core.scheduling.turns import Turns

PRIORITIES: Final = 3
"""0 is high, 1 is normal, 2 is low."""
PASSED_MAX: Final = 3
"""So often a user gives way in one queue because of turns in others, before the next turn here. So nobody starves."""
_DEAD_MAX: Final = 16
"""Entries of users who left, beyond as many as there are users: then they are cleared away."""

Prompts = OrderedDict[int, None]


class Urgency(NamedTuple):
    """What is next in a queue. `rank`: its priority, less by 1 for each age that this priority has waited unserved.

    `prompts`: how many wait in the same priority.
    """

    rank: int
    priority: int
    prompts: int


class Waiting:
    """The prompts of one user in one priority. `turn`: the last turn that counts here, then when the user came."""

    __slots__ = ("batches", "passed", "turn", "user", "weight")

    def __init__(self, user: str, turn: tuple[int, int]) -> None:
        self.user = user
        self.turn = turn
        self.passed = 0
        """See PASSED_MAX."""
        self.weight = 0
        self.batches: OrderedDict[str, Prompts] = OrderedDict()

    def pop(self, offset: int) -> tuple[str, int]:
        """Take out the next prompt, or one that many prompts further. The batches take turns."""
        batch_id, prompts, prompt = self._next(offset)
        del prompts[prompt]
        if prompts:
            self.batches.move_to_end(batch_id)
        else:
            del self.batches[batch_id]
        return batch_id, prompt

    def _next(self, offset: int) -> tuple[str, Prompts, int]:
        if not offset:
            batch_id, prompts = next(iter(self.batches.items()))
            return batch_id, prompts, next(iter(prompts))
        rounds, place = divmod(offset, len(self.batches))
        batch_id, prompts = next(islice(self.batches.items(), place, None))
        return batch_id, prompts, next(islice(prompts, rounds % len(prompts), None))

    def discard(self, batch_id: str, prompt: int) -> bool:
        """Whether the prompt was there."""
        prompts = self.batches.get(batch_id)
        if prompts is None or prompt not in prompts:
            return False
        del prompts[prompt]
        if not prompts:
            del self.batches[batch_id]
        return True


class _Ring:
    """The prompts of one priority. `since_ms`: when it was last served, or became worth serving."""

    def __init__(self, priority: int, turns: Turns) -> None:
        self.priority = priority
        self._turns = turns
        self.users: dict[str, Waiting] = {}
        self._order: list[tuple[tuple[int, int], Waiting]] = []
        """A heap by turn. It may hold entries of users who left."""
        self.since_ms = 0
        self.prompts = 0
        self.weight = 0

    def add(self, user: str, batch_id: str, prompt: int) -> bool:
        """Whether the user has begun to wait here."""
        waiting = self.users.get(user)
        began = waiting is None
        if waiting is None:
            waiting = self.users[user] = Waiting(user, self._turns.enter(user))
            heappush(self._order, (waiting.turn, waiting))
            self._weigh(waiting)
        prompts = waiting.batches.setdefault(batch_id, OrderedDict())
        self.prompts += prompt not in prompts
        prompts[prompt] = None
        return began

    def discard(self, user: str, batch_id: str, prompt: int) -> None:
        waiting = self.users.get(user)
        if waiting is not None and waiting.discard(batch_id, prompt):
            self.prompts -= 1
            if not waiting.batches:
                self._leave(user)

    def _weigh(self, waiting: Waiting) -> None:
        before, waiting.weight = waiting.weight, self._turns.share(waiting.user)
        self.weight += waiting.weight - before

    def _leave(self, user: str) -> None:
        self.weight -= self.users.pop(user).weight
        self._turns.leave(user)
        if len(self._order) > 2 * len(self.users) + _DEAD_MAX:
            self._order = [entry for entry in self._order if self.users.get(entry[1].user) is entry[1]]
            heapify(self._order)

    def first(self) -> Waiting:
        """The user who is next. Users who were served in other queues meanwhile give way."""
        while True:
            turn, waiting = self._order[0]
            if self.users.get(waiting.user) is not waiting:
                heappop(self._order)
                continue
            if turn != waiting.turn:
                heapreplace(self._order, (waiting.turn, waiting))
                continue
            last = self._turns.last(waiting.user)
            if last <= waiting.turn[0] or waiting.passed >= PASSED_MAX:
                return waiting
            waiting.turn = (last, waiting.turn[1])
            waiting.passed += 1
            heapreplace(self._order, (waiting.turn, waiting))

    def pop(self) -> tuple[str, int]:
        waiting = self.first()
        found = waiting.pop(self._turns.offset)
        self.prompts -= 1
        waiting.turn = (self._turns.take(waiting.user), waiting.turn[1])
        waiting.passed = 0
        if waiting.batches:
            heapreplace(self._order, (waiting.turn, waiting))
            self._weigh(waiting)
        else:
            heappop(self._order)
            self._leave(waiting.user)
        return found

    def go_elsewhere(self, user: str, batch_id: str, prompt: int) -> None:
        """Another box of a fleet took a prompt that waits here: its user had a turn."""
        waiting = self.users[user]
        waiting.turn = (self._turns.take(user), waiting.turn[1])
        waiting.passed = 0
        waiting.batches.move_to_end(batch_id)
        self.discard(user, batch_id, prompt)


class FairQueue:
    """Queued prompts in the order in which they are to go. `turns`: the clock that all queues share."""

    def __init__(self, age_ms: int, turns: Turns) -> None:
        self._age_ms = age_ms
        self._rings = tuple(_Ring(priority, turns) for priority in range(PRIORITIES))

    def __bool__(self) -> bool:
        return any(ring.prompts for ring in self._rings)

    @property
    def weight(self) -> int:
        """How many users wait, in SHAREs: one who waits in several queues counts in each of them for a part."""
        high, normal, low = self._rings
        return high.weight + normal.weight + low.weight

    def add(self, priority: int, user: str, batch_id: str, prompt: int, now_ms: int) -> bool:
        """Whether the user has begun to wait in this priority."""
        ring = self._rings[priority]
        if not ring.prompts:
            ring.since_ms = now_ms
        return ring.add(user, batch_id, prompt)

    def discard(self, priority: int, user: str, batch_id: str, prompt: int) -> None:
        """Take one prompt out, if it is there."""
        self._rings[priority].discard(user, batch_id, prompt)

    def go_elsewhere(self, priority: int, user: str, batch_id: str, prompt: int, now_ms: int) -> None:
        """Another box of a fleet took a prompt that waits here."""
        ring = self._rings[priority]
        ring.since_ms = now_ms
        ring.go_elsewhere(user, batch_id, prompt)

    def urgency(self, now_ms: int) -> Urgency:
        """The priority that is next. Only if something waits.

        A priority that has waited unserved for one more age counts as one class higher, so that none starves.
        """
        found, best = self._rings[0], PRIORITIES
        for ring in self._rings:
            if ring.prompts:
                rank = ring.priority - (now_ms - ring.since_ms) // self._age_ms
                if rank < best:
                    found, best = ring, rank
        return Urgency(best, found.priority, found.prompts)

    def first(self, priority: int) -> Waiting:
        """The user who is next in a priority in which prompts wait."""
        return self._rings[priority].first()

    def pick(self, priority: int, now_ms: int) -> tuple[str, int]:
        """Take out the next prompt of a priority in which prompts wait: (batch_id, prompt)."""
        ring = self._rings[priority]
        ring.since_ms = now_ms
        return ring.pop()
