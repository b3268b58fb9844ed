"""Several ComfyUIs in virtual time with the daemon's queue of prompts before them: prompts take their time, and so does
a load of models."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from msgspec.structs import replace

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.prompt_queue import PromptQueue

BATCH = BatchRow("", "app", "", "", "", "c", False, "s", "w", 1, "t", {}, (), 1, 0, 0)


def batch_of(batch_id: str, user: str, priority: int = 1, backend: str = "") -> BatchRow:
    return replace(BATCH, batch_id=batch_id, user_key=user, priority=priority, backend=backend)


class FarmFit(Fit):
    """Of each batch is said which backends can render it; of most, nothing."""

    def __init__(self, tags: Mapping[str, Collection[str]], fits: Mapping[str, Iterable[str]]) -> None:
        super().__init__(tags)
        self._fits = fits

    def backends_of(self, batch: BatchRow, row: PromptRow) -> tuple[str, ...]:
        found = super().backends_of(batch, row)
        fits = tuple(self._fits[batch.batch_id])
        return found if row.strikes or batch.backend or not fits else fits


class Run(NamedTuple):
    """A prompt that began at a ComfyUI; its load is over."""

    at_s: float
    backend: str
    prompt: PromptId


class Farm:
    """`takes_s`: by backend, how long each prompt takes."""

    def __init__(
        self, takes_s: Mapping[str, float], depth: int = 2, load_s: float = 20.0, limits: Limits | None = None
    ):
        self.takes_s = takes_s
        self.load_s = load_s
        self.rows: dict[PromptId, PromptRow] = {}
        self.batches: dict[str, BatchRow] = {}
        self.limits = replace(limits or Limits(), queue_depths=dict.fromkeys(takes_s, depth))
        self.fits: dict[str, Iterable[str]] = {}
        self.queue = PromptQueue(self.limits, self.batches, self.rows, FarmFit(self.limits.every_tag, self.fits))
        self.now_s = 0.0
        self.runs: list[Run] = []
        self.loads = 0
        self.asked_s: dict[PromptId, float] = {}
        self.there: dict[str, deque[PromptId]] = {backend: deque() for backend in takes_s}
        self._keys: dict[PromptId, str] = {}
        self._loaded: dict[str, str] = {}
        self._ends: list[tuple[float, str]] = []

    @property
    def now_ms(self) -> int:
        return round(self.now_s * 1_000)

    def ask(
        self,
        user: str,
        count: int = 1,
        key: str = "",
        *,
        priority: int = 1,
        backend: str = "",
        fits: Iterable[str] = (),
    ) -> BatchRow:
        """A batch comes, with a prompt for each image. `fits`: the only backends that can render it, if not all."""
        batch = batch_of(f"b{len(self.asked_s)}", user, priority, backend)
        self.batches[batch.batch_id] = batch
        self.fits[batch.batch_id] = fits
        for index in range(1, count + 1):
            prompt = (batch.batch_id, index)
            self.rows[prompt] = PromptRow(batch.batch_id, index, (index,), 1, models=key)
            self.asked_s[prompt] = self.now_s
            self._keys[prompt] = key
            self.queue.add(batch, self.rows[prompt], self.now_ms)
        self._send()
        return batch

    def until(self, at_s: float) -> Farm:
        """Let prompts run and end up to a moment."""
        while self._ends and self._ends[0][0] <= at_s:
            self.now_s, backend = heappop(self._ends)
            ended = self.there[backend].popleft()
            self.queue.count_place(backend, ended, self.now_ms, taken=False)
            del self.rows[ended]
            self._begin(backend)
            self._send()
        self.now_s = at_s
        return self

    def end(self) -> Farm:
        """Let everything run."""
        while self._ends:
            self.until(self._ends[0][0])
        return self

    def _send(self) -> None:
        for backend in self.queue.in_turn():
            picked = self.queue.pick(backend, self.now_ms)
            if picked is not None:
                self.queue.count_place(backend, picked, self.now_ms, taken=True)
                self.there[backend].append(picked)
                if len(self.there[backend]) == 1:
                    self._begin(backend)

    def _begin(self, backend: str) -> None:
        if not self.there[backend]:
            return
        prompt = self.there[backend][0]
        at_s = self.now_s
        if self._loaded.get(backend) != self._keys[prompt]:
            self._loaded[backend] = self._keys[prompt]
            self.loads += 1
            at_s += self.load_s
        self.runs.append(Run(at_s, backend, prompt))
        heappush(self._ends, (at_s + self.takes_s[backend], backend))

    # ---- what was seen

    def waited_s(self, batch: BatchRow) -> float:
        """How long the first prompt of a batch waited until it began."""
        return next(run.at_s - self.asked_s[run.prompt] for run in self.runs if run.prompt[0] == batch.batch_id)

    def begun(self, *batches: BatchRow) -> int:
        """How many prompts of these batches have begun."""
        ids = {batch.batch_id for batch in batches}
        return sum(run.prompt[0] in ids and run.at_s <= self.now_s for run in self.runs)
