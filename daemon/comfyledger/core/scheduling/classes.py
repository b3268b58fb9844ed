"""The classes in which prompts wait, and which backends serve them.

A backend serves the class of the prompt that was sent to it last: the models of that class are loaded there. ComfyUI
does not tell what it has loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from comfyledger.core.scheduling.fair_queue import PRIORITIES, FairQueue
from comfyledger.core.scheduling.turns import Turns
from comfyledger.core.scheduling.unserved import ANY_BACKEND, Backends, Unserved, WorkClass

PromptId = tuple[str, int]
"""(batch_id, prompt)"""


class Queued(NamedTuple):
    """Where a prompt waits."""

    of: WorkClass
    priority: int
    user: str


class Serves(msgspec.Struct, gc=False):
    """The models that a backend serves, by their key, since when, and when they were compared with others last."""

    key: str
    since_ms: int
    compared_ms: int = 0


class Classes:
    """All classes with prompts that may go now. `age_ms`: see `FairQueue`."""

    def __init__(self, age_ms: int, turns: Turns) -> None:
        self._age_ms = age_ms
        self._turns = turns
        self._classes: dict[str, dict[Backends, WorkClass]] = {}
        """By key, then by the backends that they may go to."""
        self._unserved: dict[Backends, Unserved] = {}
        """By the backends that they may go to."""
        self.serves: dict[str, Serves] = {}
        """By backend; also of those that do not work now."""
        self.changes: Counter[str] = Counter()
        """How often each backend came to serve another key."""
        self._working: frozenset[str] = frozenset()
        self._servers: dict[str, set[str]] = {}
        """By key, the working backends that serve it."""
        self.waiting = [0] * PRIORITIES
        """How many prompts of each priority."""
        self.version = 0
        """Changes whenever a backend for which there was nothing may find something."""

    def add(self, key: str, backends: Backends, priority: int, user: str, prompt: PromptId, now_ms: int) -> Queued:
        """Take in a prompt that does not wait yet."""
        of_key = self._classes.setdefault(key, {})
        found = of_key.get(backends)
        if found is None:
            found = of_key[backends] = WorkClass(key, backends, FairQueue(self._age_ms, self._turns))
        self.waiting[priority] += 1
        self.version += 1
        if found.queue.add(priority, user, *prompt, now_ms):
            self._settle(found, now_ms)
        return Queued(found, priority, user)

    def discard(self, queued: Queued, prompt: PromptId) -> None:
        """Take out a prompt that waits."""
        queued.of.queue.discard(queued.priority, queued.user, *prompt)
        self._went(queued.of, queued.priority)

    def go_elsewhere(self, queued: Queued, prompt: PromptId, backend: str, now_ms: int) -> None:
        """Another box of a fleet sent a prompt that waits here to one of its backends."""
        queued.of.queue.go_elsewhere(queued.priority, queued.user, *prompt, now_ms)
        self._went(queued.of, queued.priority)
        self._serve(backend, queued.of.key, now_ms)

    def send(self, one: WorkClass, priority: int, backend: str, now_ms: int) -> PromptId:
        """Take out the next prompt of a class and priority, which goes to a backend."""
        prompt = one.queue.pick(priority, now_ms)
        self._went(one, priority)
        self._serve(backend, one.key, now_ms)
        return prompt

    def _went(self, one: WorkClass, priority: int) -> None:
        self.waiting[priority] -= 1
        if not one.queue:
            self._unlist(one)
            of_key = self._classes[one.key]
            del of_key[one.backends]
            if not of_key:
                del self._classes[one.key]

    # ---- who serves

    def works(self, backends: Iterable[str], now_ms: int) -> None:
        """Only these backends take prompts now. What the others have loaded helps nobody."""
        before, self._working = self._working, frozenset(backends)
        self.version += 1
        for backend in before ^ self._working:
            serves = self.serves.get(backend)
            if serves is not None:
                self._count(serves.key, backend, now_ms, serves=backend in self._working)

    def forget(self, backend: str, now_ms: int) -> None:
        """A backend has gone, and what it had loaded with it."""
        serves = self.serves.pop(backend, None)
        self.changes.pop(backend, None)
        if serves is not None and backend in self._working:
            self._count(serves.key, backend, now_ms, serves=False)

    def found(self, backend: str, key: str, now_ms: int) -> None:
        """A prompt of a class is there that was sent before a restart of the daemon."""
        if backend not in self.serves:
            self._serve(backend, key, now_ms)

    def _serve(self, backend: str, key: str, now_ms: int) -> None:
        before = self.serves.get(backend)
        if before is not None and before.key == key:
            return
        self.changes[backend] += before is not None
        self.serves[backend] = Serves(key, now_ms)
        self.version += 1
        if backend in self._working:
            self._count(key, backend, now_ms, serves=True)
            if before is not None:
                self._count(before.key, backend, now_ms, serves=False)

    def _count(self, key: str, backend: str, now_ms: int, *, serves: bool) -> None:
        """A working backend has begun or ceased to serve a key."""
        servers = self._servers.setdefault(key, set())
        (servers.add if serves else servers.discard)(backend)
        if not servers:
            del self._servers[key]
        for one in self._classes.get(key, {}).values():
            self._settle(one, now_ms)

    def _settle(self, one: WorkClass, now_ms: int) -> None:
        """List a class if no backend serves it."""
        if self._serving(one):
            self._unlist(one)
        else:
            self._unserved.setdefault(one.backends, Unserved()).put(one, one.queue.urgency(now_ms).priority)

    def _unlist(self, one: WorkClass) -> None:
        if one.listed is not None:
            unserved = self._unserved[one.backends]
            unserved.discard(one)
            if not unserved:
                del self._unserved[one.backends]

    def _serving(self, one: WorkClass) -> int:
        """How many working backends serve a class."""
        servers = self._servers.get(one.key)
        if servers is None:
            return 0
        return len(servers & one.backends) if one.backends is not None else len(servers)

    # ---- what there is for a backend

    def own(self, backend: str) -> Iterator[tuple[WorkClass, int]]:
        """The classes for which it has the models, with how many others serve them."""
        serves = self.serves.get(backend)
        if serves is not None:
            for one in self._classes.get(serves.key, {}).values():
                if self._is_for(backend, one.backends):
                    yield one, self._serving(one) - (backend in self._working)

    def any_unserved(self, backend: str) -> bool:
        """Whether there are classes for it that nobody serves."""
        return any(self._is_for(backend, backends) for backends in self._unserved)

    def unserved(self, backend: str) -> Iterator[WorkClass]:
        """Some of them; see `Unserved.some`."""
        for backends, unserved in self._unserved.items():
            if self._is_for(backend, backends):
                yield from unserved.some()

    def served(self, backend: str) -> Iterator[tuple[WorkClass, int]]:
        """The classes for it that only others serve, with how many do."""
        serves = self.serves.get(backend)
        own = serves.key if serves is not None else None
        is_for_all = self._is_for(backend, ANY_BACKEND)
        for key, servers in self._servers.items():
            for one in self._classes.get(key, {}).values() if key != own else ():
                if one.backends is None:
                    if is_for_all:
                        yield one, len(servers)
                elif self._is_for(backend, one.backends) and (count := len(servers & one.backends)):
                    yield one, count

    def _is_for(self, backend: str, backends: Backends) -> bool:
        """Whether what may go to these backends is for this one. If it does not work while others do, it gets only what
        none of them may get.
        """
        if backends is None:
            return backend in self._working or not self._working
        return backend in backends and (backend in self._working or backends.isdisjoint(self._working))
