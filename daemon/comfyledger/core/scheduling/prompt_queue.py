"""Which prompt goes to which backend next, and how many places each backend has left.

A suspect, a prompt that ran when ComfyUI went away, runs alone: nothing starts beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import DEPTH, DEPTH_SHORT, SHORT_MS, Limits
from comfyledger.core.scheduling.classes import Classes, PromptId, Queued
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.picker import Picker
from comfyledger.core.scheduling.turns import Turns
from comfyledger.core.scheduling.unserved import ANY_BACKEND

_RECENT: Final = 5
"""Prompts from which the time of one is measured: the median, so that one that hung does not count."""


class _Places:
    """The places of one backend. `depth`: how many prompts may be here, see `Limits.queue_depths`. `took_ms`: how long
    a prompt takes here, from the end of the one before; 0 if that is not known.
    """

    def __init__(self, depth: int) -> None:
        self._fixed = depth
        self.depth = depth or DEPTH
        self.took_ms = 0
        self.there: set[PromptId] = set()
        self.in_vain = -1
        """The version of the classes at which there was nothing for it."""
        self._busy_since_ms = 0
        self._took_ms: deque[int] = deque(maxlen=_RECENT)

    def come(self, prompt: PromptId, now_ms: int) -> None:
        if not self.there:
            self._busy_since_ms = now_ms
        self.there.add(prompt)

    def leave(self, prompt: PromptId, now_ms: int) -> None:
        self.there.discard(prompt)
        self.in_vain = -1
        self._took_ms.append(now_ms - self._busy_since_ms)
        self._busy_since_ms = now_ms
        self.took_ms = sorted(self._took_ms)[len(self._took_ms) // 2]
        self.depth = self._fixed or (DEPTH_SHORT if 0 < self.took_ms < SHORT_MS else DEPTH)


class PromptQueue:
    """The queued prompts of all backends. `prompts`: the rows of all open prompts, which the owner keeps current.
    `fit`: says which backends may take a prompt, when it is added.
    """

    def __init__(self, limits: Limits, prompts: Mapping[PromptId, PromptRow], fit: Fit) -> None:
        self._prompts = prompts
        self._fit = fit
        self._places = {backend: _Places(depth) for backend, depth in limits.queue_depths.items()}
        turns = Turns()
        self._classes = Classes(limits.priority_age_ms, turns)
        self._classes.works(self._places, 0)
        self._picker = Picker(self._classes, turns, limits.priority_age_ms, limits.model_quantum_ms)
        self._queued: dict[PromptId, Queued] = {}
        self._alone: dict[str, PromptId] = {}
        """The suspect of each backend whose turn it is, while it waits for the others to leave."""
        self._free = dict.fromkeys(self._places)
        """Backends with a free place, in the order in which they came to have one."""

    def works(self, backends: Iterable[str], now_ms: int) -> None:
        """Only these backends work. As long as any does, the others get only what may go nowhere else."""
        self._classes.works(backends, now_ms)

    def add(self, batch: BatchRow, row: PromptRow, now_ms: int) -> None:
        """Take in a prompt that may go now, if it does not wait already."""
        prompt = (row.batch_id, row.index)
        if prompt not in self._queued:
            names = self._fit.backends_of(batch, row)
            backends = frozenset(names) if len(names) < len(self._fit) else ANY_BACKEND
            self._queued[prompt] = self._classes.add(
                row.models, backends, batch.priority, batch.user_key, prompt, now_ms
            )

    def discard(self, row: PromptRow) -> None:
        """Take out a prompt, if it waits."""
        prompt = (row.batch_id, row.index)
        queued = self._queued.pop(prompt, None)
        if queued is None:
            return
        for backend, alone in self._alone.items():
            if alone == prompt:
                del self._alone[backend]
                self._places[backend].in_vain = -1
                return
        self._classes.discard(queued, prompt)

    def depths(self) -> dict[str, int]:
        """How many prompts each backend may have now."""
        return {backend: places.depth for backend, places in self._places.items()}

    def count_place(self, backend: str, prompt: PromptId, now_ms: int, *, taken: bool) -> None:
        """Whether a prompt takes one of the places of a backend."""
        places = self._places.get(backend)
        if places is None or taken == (prompt in places.there):  # None: its section was removed
            return
        if taken:
            places.come(prompt, now_ms)
            self._classes.found(backend, self._prompts[prompt].models, now_ms)
        else:
            places.leave(prompt, now_ms)
        if len(places.there) < places.depth:
            self._free[backend] = None
        else:
            self._free.pop(backend, None)

    def in_turn(self) -> Iterator[str]:
        """Backends that may take a prompt, one for each time: the emptiest first, and among equals first those that
        have loaded what waits. Pick for each before asking for the next.
        """
        if not self._queued:
            return
        for count in range(max((self._places[one].depth for one in self._free), default=0)):
            level = [one for one in self._free if len(self._places[one].there) == count and self._may_find(one)]
            cold = []
            for backend in level:
                if any(self._classes.own(backend)):
                    yield backend
                else:
                    cold.append(backend)
            yield from cold

    def _may_find(self, backend: str) -> bool:
        """Whether another prompt may go there. None may while a suspect is there."""
        places = self._places[backend]
        is_news = places.in_vain != self._classes.version
        return is_news and not any(self._prompts[prompt].strikes for prompt in places.there)

    def pick(self, backend: str, now_ms: int) -> PromptId | None:
        """Take out the prompt that goes next. A suspect waits until the others have left and keeps its turn meanwhile,
        so none overtakes it.
        """
        places = self._places[backend]
        picked = self._alone.pop(backend, None)
        if picked is None:
            picked = self._picker.pick(backend, now_ms, idle=not places.there, took_ms=places.took_ms)
        if picked is not None and self._prompts[picked].strikes and places.there:
            self._alone[backend], picked = picked, None
        if picked is None:
            places.in_vain = self._classes.version
        else:
            del self._queued[picked]
        return picked
