"""How much work waits, by what it needs of a ComfyUI, and how many ComfyUIs would finish it in time.

Counted as prompts come and go. To ask costs as much as there are needs, and models in each, that wait: not as much as
there are prompts. How long a prompt takes is measured; where nothing was measured yet, nothing is said about seconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from comfyledger.core.rows import BatchRow

LABELS_MAX: Final = 32
"""So many needs are told apart, `other` among them."""
ANY: Final = "any"
OTHER: Final = "other"

_RECENT: Final = 15
"""Prompts whose median is the time of one."""
_MODELS_KEPT: Final = 256
_ALL: Final = ""


class Need(NamedTuple):
    """What a batch needs of a ComfyUI: its tags, or the only one that may render it."""

    backend: str
    tags: tuple[str, ...]

    @property
    def label(self) -> str:
        """As metrics name it. Two needs that are written alike count as one."""
        if self.backend:
            return f"backend:{self.backend}"
        return "+".join(sorted(self.tags)) if self.tags else ANY


def need_of(batch: BatchRow) -> Need:
    return Need(batch.backend, batch.needs)


class There(NamedTuple):
    """A prompt that takes a place of a backend."""

    backend: str
    need: Need
    models: str


class Demanded(msgspec.Struct, frozen=True):
    """The work of one need. `queued`: prompts that wait here and may go. `running`: those that have a place at a
    ComfyUI. `queued_s`: seconds that one ComfyUI would take for what waits; None if no prompt was measured yet.
    `wanted`: how many ComfyUIs would finish all of it in time, those that run some of it included.
    """

    label: str
    need: Need
    queued: int
    running: int
    queued_s: float | None
    wanted: int


class Demand:
    """Of all prompts that wait for their turn. `wait_ms`: within how long ComfyUIs should finish what waits."""

    def __init__(self, wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._waiting: dict[str, dict[str, int]] = {}
        """By label: how many prompts, by the models that they load."""
        self._shown: OrderedDict[str, Need] = OrderedDict()
        """By label. Nothing may wait for it now."""
        self._of_models = _Times(_MODELS_KEPT)
        self._of_needs = _Times(LABELS_MAX)
        self._of_all = _Times(1)

    def come(self, need: Need, models: str) -> None:
        """A prompt waits that did not. `models`: the key of those that it loads; empty if it names none."""
        label = need.label
        of_label = self._waiting.get(label)
        if of_label is None:
            of_label = self._waiting[label] = {}
        of_label[models] = of_label.get(models, 0) + 1
        if label not in self._shown:
            self._show(label, need)

    def go(self, need: Need, models: str) -> None:
        """A prompt that waited does so no more."""
        label = need.label
        of_label = self._waiting[label]
        left = of_label[models] - 1
        if left:
            of_label[models] = left
            return
        del of_label[models]
        if not of_label:
            del self._waiting[label]

    def took(self, need: Need, models: str, ms: int) -> None:
        """A prompt that came to its end took so long."""
        for times, key in ((self._of_models, models), (self._of_needs, need.label), (self._of_all, _ALL)):
            times.add(key, ms)

    def now(self, there: Iterable[There], *, stopped: bool = False) -> tuple[Demanded, ...]:
        """What waits, and what is `there`: each need of which something waits or waited. `stopped`: nothing may go."""
        found = {label: _Sum(need) for label, need in self._shown.items()}
        for label, of_label in self._waiting.items():
            work = _sum_of(found, label)
            for models, count in of_label.items():
                work.wait(count, self._time_ms(label, models))
        for one in there:
            label = one.need.label
            _sum_of(found, label).run(one.backend, self._time_ms(label, one.models))
        return tuple(
            Demanded(label, work.need, work.queued, work.running, work.queued_s, work.wanted(self._wait_ms, stopped))
            for label, work in found.items()
        )

    def _show(self, label: str, need: Need) -> None:
        """Tell a need apart from others, if there is room: the longest unused one makes room."""
        if len(self._shown) >= LABELS_MAX - 1:
            unused = next((one for one in self._shown if one not in self._waiting), None)
            if unused is None:
                return
            del self._shown[unused]
        self._shown[label] = need

    def _time_ms(self, label: str, models: str) -> int | None:
        """How long a prompt takes: as others with its models, else as others of its need, else as all."""
        of_models = self._of_models.median_ms(models) if models else None
        return of_models or self._of_needs.median_ms(label) or self._of_all.median_ms(_ALL)


class _Times:
    """The last times of prompts, in milliseconds, by key. At most so many keys, the last used ones."""

    def __init__(self, keys_max: int) -> None:
        self._keys_max = keys_max
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def add(self, key: str, ms: int) -> None:
        self._times.setdefault(key, deque(maxlen=_RECENT)).append(max(1, ms))
        self._times.move_to_end(key)
        if len(self._times) > self._keys_max:
            self._times.popitem(last=False)

    def median_ms(self, key: str) -> int | None:
        times = self._times.get(key)
        return sorted(times)[len(times) // 2] if times else None


class _Sum:
    """The work of one need, added up."""

    def __init__(self, need: Need) -> None:
        self.need = need
        self.queued = self.running = 0
        self._queued_ms = self._running_ms = 0
        self._is_known = True
        self._backends: set[str] = set()

    def wait(self, count: int, each_ms: int | None) -> None:
        self.queued += count
        self._queued_ms += count * (each_ms or 0)
        self._is_known &= each_ms is not None

    def run(self, backend: str, ms: int | None) -> None:
        self.running += 1
        self._running_ms += ms or 0
        self._is_known &= ms is not None
        self._backends.add(backend)

    @property
    def queued_s(self) -> float | None:
        return self._queued_ms / 1000 if self._is_known or not self.queued else None

    def wanted(self, wait_ms: int, stopped: bool) -> int:
        """No more than there are prompts. While no time is known: those that run some of it, and at least one."""
        prompts = self.running + (0 if stopped else self.queued)
        total_ms = self._running_ms + (0 if stopped else self._queued_ms)
        wanted = math.ceil(total_ms / wait_ms) if self._is_known else len(self._backends)
        return min(max(1, wanted), prompts, 1 if self.need.backend else prompts)


def _sum_of(found: dict[str, _Sum], label: str) -> _Sum:
    """The sum that a label counts in: its own, or that of all which are not told apart."""
    if label in found:
        return found[label]
    return found.setdefault(OTHER, _Sum(Need("", ())))
