"""Whatever comes, fails and is taken back: no prompt goes twice, none goes where it may not, none is forgotten."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.prompt_queue import PromptQueue
from support.farm import FarmFit, batch_of

BACKENDS = ("gpu0", "gpu1", "gpu2", "gpu3")
LIMITS = Limits({"gpu0": 1, "gpu1": 2, "gpu2": 3, "gpu3": 2}, priority_age_ms=5_000, model_quantum_ms=2_000)
STEPS = 300


class Play:
    """A queue, and what must be true of it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rows: dict[PromptId, PromptRow] = {}
        self.batches: dict[PromptId, tuple[BatchRow, frozenset[str]]] = {}
        self.fits: dict[str, Iterable[str]] = {}
        self.by_id: dict[str, BatchRow] = {}
        self.queue = PromptQueue(LIMITS, self.by_id, self.rows, FarmFit(LIMITS.every_tag, self.fits))
        self.waiting: set[PromptId] = set()
        self.there: dict[str, set[PromptId]] = {backend: set() for backend in BACKENDS}
        self.runs: Counter[PromptId] = Counter()
        self.paused: set[str] = set()
        self.now_ms = 0
        self.count = 0

    def step(self) -> None:
        self.now_ms += self.chance.choice([0, 10, 500])
        self.chance.choice(
            [self.ask, self.ask, self.end, self.end, self.end, self.take_back, self.pause, self.add_twice]
        )()
        self.send()

    def ask(self) -> None:
        self.count += 1
        user, priority = f"user {self.chance.randrange(4)}", self.chance.randrange(3)
        pin = self.chance.choice(["", "", "", *BACKENDS])
        fits = frozenset(self.chance.choice([(), (), ("gpu1",), ("gpu0", "gpu2")]))
        batch = batch_of(f"b{self.count}", user, priority, pin)
        self.by_id[batch.batch_id] = batch
        self.fits[batch.batch_id] = fits
        for index in range(1, self.chance.choice([1, 3, 8]) + 1):
            prompt = (batch.batch_id, index)
            models = f"model {self.chance.randrange(5)}"
            self.rows[prompt] = PromptRow(batch.batch_id, index, (index,), 1, models=models)
            self.batches[prompt] = (batch, fits)
            self.add(prompt)

    def add(self, prompt: PromptId) -> None:
        self.queue.add(self.batches[prompt][0], self.rows[prompt], self.now_ms)
        self.waiting.add(prompt)

    def add_twice(self) -> None:
        if self.waiting:
            self.add(self.chance.choice(sorted(self.waiting)))

    def take_back(self) -> None:
        for prompt in self.chance.sample(sorted(self.waiting), min(3, len(self.waiting))):
            self.queue.discard(self.rows[prompt])
            self.queue.discard(self.rows[prompt])
            self.waiting.discard(prompt)
            if self.chance.random() < 0.7:
                self.add(prompt)

    def end(self) -> None:
        backend = self.chance.choice(BACKENDS)
        if not self.there[backend]:
            return
        prompt = self.chance.choice(sorted(self.there[backend]))
        self.there[backend].discard(prompt)
        if self.chance.random() < 0.15:
            row = self.rows[prompt]
            self.rows[prompt] = replace(row, backend=backend, strikes=row.strikes + 1)
            self.add(prompt)
            self.queue.count_place(backend, prompt, self.now_ms, taken=False)
        else:
            del self.rows[prompt]
            self.queue.count_place(backend, prompt, self.now_ms, taken=False)

    def pause(self) -> None:
        backend = self.chance.choice(BACKENDS)
        self.paused ^= {backend}
        self.queue.works([each for each in BACKENDS if each not in self.paused], self.now_ms)

    def send(self) -> None:
        for backend in self.queue.in_turn():
            if backend in self.paused:
                continue
            prompt = self.queue.pick(backend, self.now_ms)
            if prompt is not None:
                self.check(backend, prompt)
                self.there[backend].add(prompt)
                self.waiting.discard(prompt)
                self.runs[prompt] += 1
                self.queue.count_place(backend, prompt, self.now_ms, taken=True)
        self.check_idle()

    def check(self, backend: str, prompt: PromptId) -> None:
        row = self.rows[prompt]
        assert prompt in self.waiting
        assert self.may_go(prompt, backend)
        assert len(self.there[backend]) < LIMITS.queue_depths[backend]
        assert not any(self.rows[each].strikes for each in self.there[backend])
        assert not row.strikes or not self.there[backend]

    def may_go(self, prompt: PromptId, backend: str) -> bool:
        row, (batch, fits) = self.rows[prompt], self.batches[prompt]
        pin = (row.backend if row.strikes else "") or batch.backend
        return backend == pin if pin else (not fits or backend in fits)

    def check_idle(self) -> None:
        """A backend that works is idle only if nothing waits that may go there."""
        idle = [backend for backend in BACKENDS if not self.there[backend] and backend not in self.paused]
        assert not [prompt for prompt in self.waiting for backend in idle if self.may_go(prompt, backend)]

    def finish(self) -> None:
        """Nothing new comes and everything works: all that waits must go."""
        self.paused.clear()
        self.queue.works(BACKENDS, self.now_ms)
        self.send()
        for _ in range(10_000):
            if not any(self.there.values()):
                break
            self.end()
            self.send()


@pytest.mark.parametrize("seed", range(40))
def test_what_waits_goes_once_where_it_may_and_leaves_nothing(seed: int) -> None:
    play = Play(seed)
    for _ in range(STEPS):
        play.step()
    play.finish()
    assert not play.waiting
    classes = play.queue._classes
    turns = play.queue._picker._turns
    held = [play.queue._queued, play.queue._alone, classes._classes, classes._unserved, turns._had, turns._waiting]
    assert not any(held)
    assert classes.waiting == [0, 0, 0]
