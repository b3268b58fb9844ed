"""Many ComfyUIs in virtual time: a rule says who is next, and each prompt and each load of a model takes its time.

The setting: 100 backends whose speeds are spread evenly from 0.4 to 1.6; 8 models; 5 s an image at speed 1; 20 s a
load. A backend has one model loaded. Nothing fails.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple, Protocol

BACKENDS: Final = 100
SPEEDS: Final = tuple(0.4 + 1.2 * number / (BACKENDS - 1) for number in range(BACKENDS))
MODELS: Final = 8
LOAD_S: Final = 20.0
IMAGE_S: Final = 5.0
HOUR_S: Final = 3_600.0
USERS: Final = 40
BATCH_MAX: Final = 60
BIG_BATCH: Final = 2_000
BIG_EVERY_S: Final = 600.0
OPEN_IMAGES: Final = 45_688
CLOSED_IMAGES: Final = 20_000


class Batch(NamedTuple):
    """A batch of one model. Each prompt renders one image."""

    number: int
    at_s: float
    user: str
    model: int
    size: int


class Prompt(NamedTuple):
    """`number`: among all prompts, in the order in which they came."""

    number: int
    index: int
    batch: Batch


class Rule(Protocol):
    """Decides which prompt goes where."""

    def add(self, prompt: Prompt, now_s: float) -> None:
        """A prompt may go from now on."""

    def send(self, backends: Sequence[Backend], now_s: float) -> Iterator[tuple[int, Prompt]]:
        """What goes now, one after the other. What was sent is in its backend before the next is asked for."""

    def ended(self, backend: int, prompt: Prompt, now_s: float) -> None:
        """A prompt has left its backend."""


class Backend:
    """One ComfyUI. `sent`: the model of the prompt that it was sent last; `loaded`: the one that it has.

    `depth`: how many prompts it has at most, with the one that runs.
    """

    def __init__(self, speed: float, depth: int) -> None:
        self.speed = speed
        self.depth = depth
        self.queue: deque[Prompt] = deque()
        """The first one runs."""
        self.sent: int | None = None
        self.loaded: int | None = None


class Result(NamedTuple):
    """`waits_s`: of single images, from their request until they are rendered, sorted; a load counts as waiting."""

    end_s: float
    loads: int
    images: int
    waits_s: list[float]

    def wait_s(self, part: float) -> float:
        """The wait that a part of all single images does not exceed."""
        return self.waits_s[min(len(self.waits_s) - 1, int(part * len(self.waits_s)))]

    @property
    def loads_an_image(self) -> float:
        return self.loads / self.images


def batches(seed: int, images: int, within_s: float, *, big: bool) -> list[Batch]:
    """40 users with batches of 1 to 60 images: small ones are more frequent, the logarithm is spread evenly. Each is of
    one model, and models are the more popular the lower their number (Zipf). `big`: one user more asks for 2,000 images
    every ten minutes.
    """
    chance = random.Random(seed)  # noqa: S311 - a trace that is the same each time
    popular = [1 / rank for rank in range(1, MODELS + 1)]
    found = []
    if big:
        times = [BIG_EVERY_S * number for number in range(int(HOUR_S / BIG_EVERY_S))]
        found = [(at_s, "big", chance.choices(range(MODELS), popular)[0], BIG_BATCH) for at_s in times]
    left = images - sum(size for *_, size in found)
    while left:
        size = min(int(math.exp(chance.random() * math.log(BATCH_MAX + 1))), left)
        user = f"user {chance.randrange(USERS)}"
        model = chance.choices(range(MODELS), popular)[0]
        found.append((chance.random() * within_s, user, model, size))
        left -= size
    return [Batch(number, *one) for number, one in enumerate(sorted(found))]


def open_trace(seed: int) -> list[Batch]:
    """What comes in an hour: almost as much as the farm can render."""
    return batches(seed, OPEN_IMAGES, HOUR_S, big=True)


def closed_trace(seed: int) -> list[Batch]:
    """A backlog that is there at once."""
    return batches(seed, CLOSED_IMAGES, 0.0, big=False)


class Farm:
    """Backends and what was seen of them."""

    def __init__(self, rule: Rule, depth: int) -> None:
        self.rule = rule
        self.now_s = 0.0
        self.loads = 0
        self.waits_s: list[float] = []
        self.ends: list[tuple[float, int]] = []
        """When the prompts that run end, and where."""
        self._backends = [Backend(speed, depth) for speed in SPEEDS]

    def send(self) -> None:
        for place, prompt in self.rule.send(self._backends, self.now_s):
            backend = self._backends[place]
            backend.sent = prompt.batch.model
            backend.queue.append(prompt)
            if len(backend.queue) == 1:
                self._begin(place)

    def _begin(self, place: int) -> None:
        backend = self._backends[place]
        batch, starts_s = backend.queue[0].batch, self.now_s
        if backend.loaded != batch.model:
            backend.loaded = batch.model
            starts_s += LOAD_S
            self.loads += 1
        if batch.size == 1:
            self.waits_s.append(starts_s - batch.at_s)
        heappush(self.ends, (starts_s + IMAGE_S / backend.speed, place))

    def end_next(self) -> None:
        self.now_s, place = heappop(self.ends)
        queue = self._backends[place].queue
        self.rule.ended(place, queue.popleft(), self.now_s)
        if queue:
            self._begin(place)


def simulate(rule: Rule, trace: Sequence[Batch], depth: int) -> Result:
    """Render a whole trace. `depth`: how many prompts a backend has at most."""
    farm, arrivals, number = Farm(rule, depth), deque(trace), 0
    while arrivals or farm.ends:
        if arrivals and (not farm.ends or arrivals[0].at_s <= farm.ends[0][0]):
            farm.now_s = arrivals[0].at_s
            while arrivals and arrivals[0].at_s == farm.now_s:
                batch = arrivals.popleft()
                for index in range(batch.size):
                    rule.add(Prompt(number, index, batch), farm.now_s)
                    number += 1
        else:
            farm.end_next()
        farm.send()
    return Result(farm.now_s, farm.loads, number, sorted(farm.waits_s))
