"""Which prompt goes to which backend next, and how many places each backend has left.

A suspect, a prompt that ran when ComfyUI went away, runs alone: nothing starts beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import DEPTH, DEPTH_SHORT, SHORT_MS, Limits
from comfyledger.core.scheduling.classes import Classes, PromptId, Queued
from comfyledger.core.scheduling.demand import Demand, There, need_of
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.core.scheduling.picker import Picker
from comfyledger.core.scheduling.turns import Turns
from comfyledger.core.scheduling.unserved import ANY_BACKEND, Backends

_RECENT: Final = 5
"""Prompts from which the time of one is measured: the median, so that one that hung does not count."""


class _Places:
    """The places of one backend. `depth`: how many prompts may be here, see `Limits.queue_depths`. `took_ms`: how long
    a prompt takes here, from the end of the one before; 0 if that is not known.
    """

    def __init__(self, depth: int) -> None:
        self.took_ms = 0
        self.set_depth(depth)
        self.there: set[PromptId] = set()
        self.in_vain = -1
        """The version of the classes at which there was nothing for it."""
        self._busy_ms = 0
        self._busy_since_ms = 0
        self._is_guess = False
        """Whether the prompt that runs may have begun before it was seen here: the daemon was started again."""
        self._took_ms: deque[int] = deque(maxlen=_RECENT)

    def come(self, prompt: PromptId, now_ms: int, *, is_new: bool) -> None:
        """`is_new`: it begins here, and did not before the daemon was started."""
        if not self.there:
            self._busy_since_ms = now_ms
            self._is_guess = not is_new
        self.there.add(prompt)

    def leave(self, prompt: PromptId, now_ms: int) -> int | None:
        """How long the prompt took; None if that was not seen."""
        self.there.discard(prompt)
        self.in_vain = -1
        took_ms = now_ms - self._busy_since_ms
        found = None if self._is_guess else took_ms
        self._is_guess = False
        self._took_ms.append(took_ms)
        self._busy_ms += took_ms
        self._busy_since_ms = now_ms
        self.took_ms = sorted(self._took_ms)[len(self._took_ms) // 2]
        self.set_depth(self._fixed)
        return found

    def set_depth(self, depth: int) -> None:
        self._fixed = depth
        self.depth = depth or (DEPTH_SHORT if 0 < self.took_ms < SHORT_MS else DEPTH)

    def busy_ms(self, now_ms: int) -> int:
        """For how long there has been a prompt here, all times together."""
        return self._busy_ms + (now_ms - self._busy_since_ms if self.there else 0)

    @property
    def is_free(self) -> bool:
        return len(self.there) < self.depth


class PromptQueue:
    """The queued prompts of all backends. `batches`, `prompts`: the rows of all that are open, which the owner keeps
    current. `fit`: says which backends may take a prompt, when it is added.
    """

    def __init__(
        self,
        limits: Limits,
        batches: Mapping[str, BatchRow],
        prompts: Mapping[PromptId, PromptRow],
        fit: Fit,
    ) -> None:
        self._batches = batches
        self._prompts = prompts
        self._fit = fit
        self._places = {backend: _Places(depth) for backend, depth in limits.queue_depths.items()}
        self._turns = turns = Turns()
        self._classes = Classes(limits.priority_age_ms, turns)
        self._classes.works(self._places, 0)
        self._picker = Picker(self._classes, turns, limits.priority_age_ms, limits.model_quantum_ms)
        self._demand = Demand(limits.wanted_wait_ms)
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
            backends = self._backends_of(batch, row)
            self._queued[prompt] = self._classes.add(
                row.models, backends, batch.priority, batch.user_key, prompt, now_ms
            )
            self._demand.come(need_of(batch), row.models)

    def leave_to_others(self, first: int) -> None:
        """So many of what is next are left to other boxes of a fleet: else all of them would pick the same prompt."""
        self._turns.offset = first

    def go_elsewhere(self, batch: BatchRow, row: PromptRow, now_ms: int) -> None:
        """Another box of a fleet has begun an attempt of a prompt, whether it waits here or not. That is a turn of its
        user, as if it had been sent from here.
        """
        prompt = (row.batch_id, row.index)
        queued = self._queued.get(prompt)
        if queued is None:
            self._turns.took_elsewhere(batch.user_key)
        elif prompt in self._alone.values():  # it had its turn when it was picked
            self.discard(row)
        else:
            del self._queued[prompt]
            self._demand.go(need_of(batch), queued.of.key)
            self._classes.go_elsewhere(queued, prompt, row.backend, now_ms)

    def _backends_of(self, batch: BatchRow, row: PromptRow) -> Backends:
        names = self._fit.backends_of(batch, row)
        return frozenset(names) if len(names) < len(self._fit) else ANY_BACKEND

    def discard(self, row: PromptRow) -> None:
        """Take out a prompt, if it waits."""
        prompt = (row.batch_id, row.index)
        queued = self._queued.pop(prompt, None)
        if queued is None:
            return
        self._demand.go(need_of(self._batches[row.batch_id]), queued.of.key)
        for backend, alone in self._alone.items():
            if alone == prompt:
                del self._alone[backend]
                if backend in self._places:
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
            row = self._prompts[prompt]
            places.come(prompt, now_ms, is_new=row.state == "queued")
            self._classes.found(backend, row.models, now_ms)
        else:
            self._left(backend, prompt, places.leave(prompt, now_ms))
        if places.is_free:
            self._free[backend] = None
        else:
            self._free.pop(backend, None)

    def _left(self, backend: str, prompt: PromptId, took_ms: int | None) -> None:
        """Only a run that came to its end there tells how long one takes, not one that an earlier attempt overtook."""
        row = self._prompts.get(prompt)
        if row is not None and row.state == "finished" and row.backend == backend and took_ms is not None:
            self._demand.took(need_of(self._batches[row.batch_id]), row.models, took_ms)

    def add_to(self, found: OpenWorkSummary, now_ms: int, *, stopped: bool) -> OpenWorkSummary:
        """The open work, with what is known here. `stopped`: nothing new may go; see `Demand.now`."""
        there = [
            There(backend, need_of(self._batches[prompt[0]]), self._prompts[prompt].models)
            for backend, places in self._places.items()
            for prompt in places.there
        ]
        return replace(
            found,
            places=self.depths(),
            busy_ms={backend: places.busy_ms(now_ms) for backend, places in self._places.items()},
            model_changes={backend: self._classes.changes[backend] for backend in self._places},
            unfit=dict(self._fit.refusals()),
            demand=self._demand.now(there, stopped=stopped),
        )

    # ---- which backends there are

    def set_backends(self, depths: Mapping[str, int], anew: Collection[str], now_ms: int) -> None:
        """These are all backends from now on, with the depths of `Limits.queue_depths`. What waits goes where `fit`
        says now; what may go where it might go before keeps its turn.

        `anew`: other servers under the names of earlier ones. Nothing is counted at them, nor at new ones, so the owner
        counts their places afterwards, and says which backends work.
        """
        before, self._places = self._places, dict[str, _Places]()
        for backend, depth in depths.items():
            stays = backend in before and backend not in anew
            self._places[backend] = before[backend] if stays else _Places(depth)
            self._places[backend].set_depth(depth)
        for backend in [name for name, places in before.items() if self._places.get(name) is not places]:
            self._classes.forget(backend, now_ms)
        self._free = {backend: None for backend, places in self._places.items() if places.is_free}
        self.refit(now_ms)

    def refit(self, now_ms: int) -> None:
        """What waits goes where `fit` says now."""
        lost = {prompt for backend, prompt in self._alone.items() if backend not in self._places}
        of_batch: dict[str, Backends] = {}
        for prompt, queued in list(self._queued.items()):
            batch, row = self._batches[prompt[0]], self._prompts[prompt]
            if not self._fit.goes_where_its_batch_may(batch, row):
                backends = self._backends_of(batch, row)
            elif batch.batch_id in of_batch:
                backends = of_batch[batch.batch_id]
            else:
                backends = of_batch[batch.batch_id] = self._backends_of(batch, row)
            if backends != queued.of.backends or prompt in lost:
                self.discard(row)
                self.add(batch, row, now_ms)

    # ---- who is next

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
            self._demand.go(need_of(self._batches[picked[0]]), self._queued.pop(picked).of.key)
        return picked
