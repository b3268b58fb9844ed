"""The rules that are compared: the daemon's own, as it is, and those of others, as they describe them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.prompt_queue import PromptQueue
from scheduling_farm import BACKENDS, Backend, Prompt


class Pulled(ABC):
    """A rule that is asked by each backend with a free place, the emptiest first."""

    @abstractmethod
    def add(self, prompt: Prompt, now_s: float) -> None:
        """A prompt has come."""

    @abstractmethod
    def pick(self, place: int, backend: Backend, now_s: float) -> Prompt | None:
        """Take out the prompt that a backend gets; None if it gets none."""

    def send(self, backends: Sequence[Backend], now_s: float) -> Iterator[tuple[int, Prompt]]:
        for count in range(backends[0].depth):
            for place, backend in enumerate(backends):
                if len(backend.queue) == count and (picked := self.pick(place, backend, now_s)) is not None:
                    yield place, picked

    def ended(self, backend: int, prompt: Prompt, now_s: float) -> None:  # noqa: B027 (few rules use it)
        """A prompt was rendered."""


class Static(Pulled):
    """Each prompt is bound to a backend when it comes, in rotation."""

    def __init__(self) -> None:
        self._queues: list[deque[Prompt]] = [deque() for _ in range(BACKENDS)]

    def add(self, prompt: Prompt, now_s: float) -> None:
        self._queues[prompt.number % len(self._queues)].append(prompt)

    def pick(self, place: int, backend: Backend, now_s: float) -> Prompt | None:
        return self._queues[place].popleft() if self._queues[place] else None


class FirstCome(Pulled):
    """The oldest prompt goes to whoever has a place."""

    def __init__(self) -> None:
        self._queue: deque[Prompt] = deque()

    def add(self, prompt: Prompt, now_s: float) -> None:
        self._queue.append(prompt)

    def pick(self, place: int, backend: Backend, now_s: float) -> Prompt | None:
        return self._queue.popleft() if self._queue else None


class Fair(Pulled):
    """Users take turns, and the batches of each user. What is loaded does not matter."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, OrderedDict[int, deque[Prompt]]] = OrderedDict()

    def add(self, prompt: Prompt, now_s: float) -> None:
        batch = prompt.batch
        self._users.setdefault(batch.user, OrderedDict()).setdefault(batch.number, deque()).append(prompt)

    def pick(self, place: int, backend: Backend, now_s: float) -> Prompt | None:
        if not self._users:
            return None
        user, batches = self._users.popitem(last=False)
        number, prompts = batches.popitem(last=False)
        picked = prompts.popleft()
        if prompts:
            batches[number] = prompts
        if batches:
            self._users[user] = batches
        return picked


class Pressure(Pulled):
    """As SwarmUI does: a backend stays with its model while anybody waits for it. Then it loads the model with the
    highest pressure: ten times the requests that wait, and the seconds that the first of them has waited.
    """

    def __init__(self) -> None:
        self._queues: dict[int, deque[Prompt]] = {}

    def add(self, prompt: Prompt, now_s: float) -> None:
        self._queues.setdefault(prompt.batch.model, deque()).append(prompt)

    def pick(self, place: int, backend: Backend, now_s: float) -> Prompt | None:
        if not self._queues:
            return None
        model = backend.sent
        if model is None or model not in self._queues:
            model = max(self._queues, key=lambda each: self._pressure(each, now_s))
        queue = self._queues[model]
        picked = queue.popleft()
        if not queue:
            del self._queues[model]
        return picked

    def _pressure(self, model: int, now_s: float) -> float:
        return 10 * len(self._queues[model]) + now_s - self._queues[model][0].batch.at_s


class Ours:
    """The queue of the daemon."""

    def __init__(self, depth: int) -> None:
        self._rows: dict[PromptId, PromptRow] = {}
        self._prompts: dict[PromptId, Prompt] = {}
        self._batches: dict[str, BatchRow] = {}
        limits = Limits({str(place): depth for place in range(BACKENDS)})
        self._queue = PromptQueue(limits, self._batches, self._rows, Fit(limits.every_tag))

    def add(self, prompt: Prompt, now_s: float) -> None:
        batch = row_of(f"batch {prompt.batch.number}", prompt.batch.user)
        self._batches[batch.batch_id] = batch
        models = f"model {prompt.batch.model}"
        row = PromptRow(batch.batch_id, prompt.index, (prompt.index,), 1, models=models)
        self._rows[row.batch_id, row.index] = row
        self._prompts[row.batch_id, row.index] = prompt
        self._queue.add(batch, row, ms(now_s))

    def send(self, backends: Sequence[Backend], now_s: float) -> Iterator[tuple[int, Prompt]]:
        for backend in self._queue.in_turn():
            picked = self._queue.pick(backend, ms(now_s))
            if picked is not None:
                self._queue.count_place(backend, picked, ms(now_s), taken=True)
                yield int(backend), self._prompts[picked]

    def ended(self, backend: int, prompt: Prompt, now_s: float) -> None:
        place = (f"batch {prompt.batch.number}", prompt.index)
        self._queue.count_place(str(backend), place, ms(now_s), taken=False)
        del self._rows[place], self._prompts[place]


def row_of(batch_id: str, user: str) -> BatchRow:
    """A batch of which the queue reads only this."""
    return BatchRow(batch_id, "bench", batch_id, user, user, "c", False, "s", "w", 1, "t", {}, (), 1, 0, 0)


def ms(now_s: float) -> int:
    return int(now_s * 1_000)
