"""How much may be under way at once: calls of each lane and kind, fetches of each user, open images of each label."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec

from comfyledger.core.rows import BatchRow, Row
from comfyledger.core.scheduling.effects import Effect, EffectKey

_SOUGHT_MAX: Final = 1_000
"""Effects that are passed over for one whose user has a place left."""


DEPTH: Final = 2
"""One prompt runs, and the next one begins without a gap. Each further one makes a single image of others wait longer.
"""
DEPTH_SHORT: Final = 3
SHORT_MS: Final = 1_000


class Limits(msgspec.Struct, frozen=True):
    """How much may be under way at once, for each lane.

    `queue_depths`: by the name of each backend, how many prompts it may have; 0 means DEPTH, or DEPTH_SHORT while its
    prompts take less than SHORT_MS. Default: as without a configuration.
    """

    queue_depths: Mapping[str, int] = msgspec.field(default_factory=lambda: {"main": 0})
    tags: Mapping[str, frozenset[str]] = {}
    """Of backends that have any."""
    no_secrets: frozenset[str] = frozenset()
    """Backends that get nothing with a secret in it."""
    move_after_ms: Mapping[str, int] = {}
    """By backend: how long its lane may be in trouble until the prompts that it has go to others. 0: for ever."""
    orphan_after_ms: int = 3_600_000
    """So long what a box keeps waits for it after it left the fleet. Then it is got from stores, or rendered again."""
    fetches_max: int = 4
    fetches_user_max: int = 1_000_000
    """Of one user among them: slow files of one user never take every place."""
    uploads_max: int = 8
    cancels_max: int = 4
    sources_max: int = 16
    """Prompts whose sources are looked up."""
    removals_max: int = 2
    """Inputs that are removed."""
    priority_age_ms: int = 600_000
    model_quantum_ms: int = 100_000
    """So long a backend stays with the models that it has loaded, while prompts wait for them."""
    wanted_wait_ms: int = 60_000
    """As many backends are wanted as finish within this time what waits."""
    box: str = ""
    """The box of the fleet that this is for; empty without a fleet. `queue_depths` has its own backends alone, `tags`
    also those of other boxes."""

    @property
    def every_tag(self) -> dict[str, frozenset[str]]:
        """The tags of every backend, in the order of the configuration, and then of those of other boxes."""
        own = {name: self.tags.get(name, frozenset()) for name in self.queue_depths}
        return own | dict(self.tags) if self.box else own

    def of(self, kind: str) -> int:
        return {
            "fetch": self.fetches_max,
            "upload": self.uploads_max,
            "cancel": self.cancels_max,
            "sources": self.sources_max,
            "input": self.removals_max,
        }.get(kind, 1_000_000)


class Calls:
    """Effects of one lane and kind: those that wait for their turn, and how many are under way."""

    def __init__(self, limits: Limits, kind: str) -> None:
        self._limits = limits
        self._calls_max = limits.of(kind)
        self._waiting: OrderedDict[EffectKey, Effect] = OrderedDict()
        self._users: dict[EffectKey, str] = {}
        """The users of effects under way: a batch may be over before they are."""
        self._of_user: Counter[str] = Counter()
        self.running = 0

    def wait(self, effect: Effect) -> None:
        self._waiting[effect.key] = effect

    def withdraw(self, key: EffectKey) -> None:
        """An effect that waited need not start."""
        self._waiting.pop(key, None)

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self.running

    @property
    def has_next(self) -> bool:
        return bool(self._waiting) and self.running < self._calls_max

    def waiting(self) -> Iterable[Effect]:
        """The effects that are next, in order; at most as many as are worth seeking through."""
        return islice(self._waiting.values(), _SOUGHT_MAX)

    def has_place_for(self, user: str | None) -> bool:
        return user is None or self._of_user[user] < self._limits.fetches_user_max

    def started(self, key: EffectKey, user: str | None) -> None:
        """An effect is under way. `user`: the user whose place it takes; None if it takes none."""
        self._waiting.pop(key, None)
        self.running += 1
        if user is not None:
            self._users[key] = user
            self._of_user[user] += 1

    def ended(self, key: EffectKey) -> None:
        self.running -= 1
        if (user := self._users.pop(key, None)) is not None:
            self._of_user[user] -= 1
            self._of_user += Counter()  # removes users without calls


class OpenImages:
    """How many images of each client's label are open: neither stored nor given up. Kept as rows change, never counted.

    `most`: of one label.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_batch: dict[str, int] = {}
        self._of_label: dict[str, int] = {}

    def apply(self, rows: Iterable[Row]) -> None:
        """Take in rows as they are after a commit."""
        for row in rows:
            if isinstance(row, BatchRow):
                self._batch(row)

    def _batch(self, row: BatchRow) -> None:
        count = 0 if row.settled else row.pending + row.kept
        more = count - self._of_batch.pop(row.batch_id, 0)
        if count:
            self._of_batch[row.batch_id] = count
        left = self._of_label.pop(row.label, 0) + more
        if left:
            self._of_label[row.label] = left

    def room_of(self, label: str) -> int:
        """How many more images a label may have open."""
        return self._most - self._of_label.get(label, 0)
