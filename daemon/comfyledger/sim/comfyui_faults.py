"""What a test may do to the stand-in beside its API, and what the stand-in remembers of what was done to it.

Faults are plain counters and switches that the other modules ask. The gate is where a run can be stopped so that a test
sees a state that real machines pass through in milliseconds. Nothing here speaks HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Literal, get_args

import msgspec

LEDGER_ENTRIES_MAX: Final = 100_000

Place = Literal["queue", "start", "before_node", "in_node", "history"]
"""Where a run can be held: before it leaves the queue, before its first node is looked at, before a node begins, while
a node works (its `executing` is sent), and between `execution_success` and the history entry."""

ALL_PLACES: Final[frozenset[Place]] = frozenset(get_args(Place))


class MadeToFail(Exception):
    """An error that a test asked for."""

    kind = "RuntimeError"


class Control(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /control` may ask for; what is not named stays as it is."""

    seconds_per_image: float | None = None
    hold: list[Place] | None = None
    step: int = 0
    fail_next: int | None = None
    fail_text: str | None = None
    answer_lost_next: int | None = None
    deaf: bool | None = None
    drop_sockets: bool = False
    forget: bool = False


class Gate:
    """Holds the worker at the places that were named, until it is let go or one step further.

    A run that is held does not notice an interrupt, just as most of ComfyUI's nodes do not while they work.
    """

    def __init__(self, settled: Callable[[], Awaitable[None]]) -> None:
        self._settled = settled
        self._places: frozenset[Place] = frozenset()
        self._steps = 0
        self._moved = asyncio.Event()
        self.held_at: Place | None = None

    @property
    def places(self) -> list[Place]:
        """Where runs are held."""
        return sorted(self._places)

    def hold(self, places: Iterable[Place]) -> None:
        """Hold at these places from now on, and at no others."""
        self._places = frozenset(places)
        self._steps = 0
        self.held_at = None
        self._moved.set()

    def step(self, count: int) -> None:
        """Let the worker pass `count` places at which it is held."""
        self._steps += count
        self.held_at = None
        self._moved.set()

    async def stop_at(self, place: Place) -> None:
        """Wait here if this place is held. `held_at` is set only after all that was to be sent has left."""
        while place in self._places and not self._steps:
            self._moved.clear()
            await self._settled()
            self.held_at = place
            try:
                await self._moved.wait()
            finally:
                self.held_at = None
        if place in self._places:
            self._steps -= 1


class Faults:
    """The faults that are on."""

    def __init__(self, gate: Gate, seconds_per_image: float) -> None:
        self.gate = gate
        self.seconds_per_image = seconds_per_image
        self.fail_next = 0
        self.fail_text = "CUDA out of memory"
        self.answer_lost_next = 0
        self.deaf = False

    def apply(self, control: Control) -> None:
        """Turn on and off what is asked for."""
        for name in ("seconds_per_image", "fail_next", "fail_text", "answer_lost_next", "deaf"):
            value = getattr(control, name)
            if value is not None:
                setattr(self, name, value)
        if control.hold is not None:
            self.gate.hold(control.hold)
        if control.step:
            self.gate.step(control.step)

    def take_failure(self) -> bool:
        """Whether the prompt that just began is to fail."""
        self.fail_next, failing = max(self.fail_next - 1, 0), self.fail_next > 0
        return failing

    def take_lost_answer(self) -> bool:
        """Whether the prompt that was just posted gets no answer."""
        self.answer_lost_next, lost = max(self.answer_lost_next - 1, 0), self.answer_lost_next > 0
        return lost

    def state(self) -> dict[str, object]:
        """What `/control` answers."""
        return {
            "seconds_per_image": self.seconds_per_image,
            "hold": self.gate.places,
            "held_at": self.gate.held_at,
            "fail_next": self.fail_next,
            "fail_text": self.fail_text,
            "answer_lost_next": self.answer_lost_next,
            "deaf": self.deaf,
        }


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. `order` counts over requests, files and prompts together."""

    order: int
    method: str
    path: str
    prompt_id: str | None


class Written(msgspec.Struct, frozen=True):
    """One file, by its path below the output or temp folder."""

    order: int
    prompt_id: str
    type: str
    path: str


class Ran(msgspec.Struct, frozen=True):
    """One prompt that ended; `outcome` is the type of its last message."""

    order: int
    prompt_id: str
    number: float
    client_id: str | None
    outcome: str
    executed: list[str]


class Ledger:
    """What was asked of the stand-in and what it did, the newest LEDGER_ENTRIES_MAX of each kind."""

    def __init__(self) -> None:
        self._count = 0
        self.requests: deque[Request] = deque(maxlen=LEDGER_ENTRIES_MAX)
        self.files: deque[Written] = deque(maxlen=LEDGER_ENTRIES_MAX)
        self.prompts: deque[Ran] = deque(maxlen=LEDGER_ENTRIES_MAX)

    def next_order(self) -> int:
        """The place of the next entry among all."""
        self._count += 1
        return self._count

    def state(self) -> dict[str, object]:
        """What `/ledger` answers; `count` is above the number of entries when old ones were dropped."""
        return {
            "count": self._count,
            "requests": list(self.requests),
            "files": list(self.files),
            "prompts": list(self.prompts),
        }
