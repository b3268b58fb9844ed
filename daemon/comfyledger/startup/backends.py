"""The ComfyUIs that the daemon uses now. They come, change and go while it runs; everything else reads them here.

A change happens at once, between two steps of everything else: the new ones are in their place, the queue of prompts
knows them, and what was under way at those that have gone is ended. What is ended is owed again, and finds whatever has
the name by then. So nothing has to be carried over, and a crash in the middle is as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Final, Literal, TypeVar

import msgspec
import structlog

from comfyledger import crash_points
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.reports import PromptIsLeft
from comfyledger.core.rows import PromptRow
from comfyledger.core.urls import server_of
from comfyledger.core.values import backend_lane
from comfyledger.engine import Engine
from comfyledger.errors import Refused
from comfyledger.queries.embeddings import Embeddings
from comfyledger.queries.progress import ProgressFeed
from comfyledger.settings import ComfyUI as Section
from comfyledger.startup.build_comfyui import Backend, Builder, Wanted
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.fleet.heard import Heard
from comfyledger.workers.reporting import Reporter

LEAVE_S: Final = 5.0
"""So long a server that is left is asked to take our prompts out of its queue."""

_OWN: Final = ("tags", "queue_depth", "move_after_s", "output_dir", "output_keep_days")
"""The keys of a section that its connection does not depend on."""
_LEFT: Final = frozenset({"submit", "follow", "cancel", "input"})
"""What is ended at a server that is left. Files that are being fetched come."""

T_co = TypeVar("T_co", covariant=True)

log = structlog.get_logger("comfyledger.backends")


class Changes(msgspec.Struct, frozen=True):
    """The names of ComfyUIs that came, changed and went. `replaced`: others have the names now."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.replaced or self.removed)


class Live(Mapping[str, T_co]):
    """Something of each ComfyUI, by name, as it is at the moment of a call: after a wait a name may be gone."""

    def __init__(self, backends: Callable[[], Mapping[str, Backend]], pick: Callable[[Backend], T_co]) -> None:
        self._backends, self._pick = backends, pick

    def __getitem__(self, name: str) -> T_co:
        return self._pick(self._backends()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._backends())

    def __len__(self) -> int:
        return len(self._backends())


class WithOthers(Mapping[str, T_co]):
    """Something of each ComfyUI of this box, and then of those of the other boxes of its fleet."""

    def __init__(self, own: Mapping[str, T_co], others: Callable[[], Mapping[str, T_co]]) -> None:
        self._own, self._others = own, others

    def __getitem__(self, name: str) -> T_co:
        return self._own[name] if name in self._own else self._others()[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in self._others() if name not in self._own)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Backends:
    """All of this box, in the order of the configuration. `run` watches them. `fleet`: what the other boxes have."""

    def __init__(
        self, builder: Builder, engine: Engine, reporter: Reporter, progress: ProgressFeed, fleet: Heard | None = None
    ) -> None:
        self._builder = builder
        self._engine, self._reporter, self._progress = engine, reporter, progress
        self._all: dict[str, Backend] = {}
        """Never changed, only replaced, so that whoever walks through it may wait in between."""
        self._group: asyncio.TaskGroup | None = None
        self._watching: dict[str, asyncio.Task[None]] = {}
        self.clients: Final[Mapping[str, ComfyUI]] = self._live(lambda one: one.client)
        self.node_classes: Final[Mapping[str, NodeClasses]] = self._live(lambda one: one.node_classes)
        self.embeddings: Final[Mapping[str, Embeddings]] = self._live(lambda one: one.embeddings)
        self.renderers: Final[Mapping[str, Renderer]] = self._live(lambda one: one.renderer)
        self.sections: Final[Mapping[str, Section]] = self._live(lambda one: one.section)
        self.gets_secrets: Final[Mapping[str, bool]] = self._live(lambda one: one.wanted.gets_secrets)
        self.tags: Final[Mapping[str, frozenset[str]]] = self._live(lambda one: frozenset(one.section.tags))
        heard = fleet or Heard()
        self.every_tag: Final[Mapping[str, frozenset[str]]] = WithOthers(self.tags, lambda: heard.tags)
        self.every_trust: Final[Mapping[str, bool]] = WithOthers(self.gets_secrets, lambda: heard.gets_secrets)
        heard.changed.append(self._tell_engine)

    def _live(self, pick: Callable[[Backend], T_co]) -> Live[T_co]:
        return Live(lambda: self._all, pick)

    @property
    def all(self) -> Mapping[str, Backend]:
        """As they are now."""
        return self._all

    def take(self, wanted: Mapping[str, Wanted]) -> Changes:
        """Have exactly these from now on. Waits for no answer of a ComfyUI."""
        before = self._all
        after, changes = self._made(wanted)
        self._all = after
        self._progress.abouts[:] = [one.renderer.about for one in after.values()]
        self._tell_engine(changes.replaced)
        for name, one in before.items():
            if name not in after or after[name].watcher is not one.watcher:
                self._end(one, is_left=name in (*changes.removed, *changes.replaced), is_gone=name in changes.removed)
        for one in after.values():
            self._begin(one)
        return changes

    def _tell_engine(self, anew: Collection[str] = ()) -> None:
        """What may run where. Those of other boxes are among it, because a prompt that only they may take waits."""
        depths = {name: one.section.queue_depth for name, one in self._all.items()}
        moves = {name: int(one.section.move_after_s * 1000) for name, one in self._all.items()}
        no_secrets = frozenset(name for name, gets in self.every_trust.items() if not gets)
        self._engine.set_backends(depths, dict(self.every_tag), moves, no_secrets, anew=anew)

    def _made(self, wanted: Mapping[str, Wanted]) -> tuple[dict[str, Backend], Changes]:
        made: dict[str, Backend] = {}
        added, changed, replaced = [], [], []
        for name, want in wanted.items():
            has = self._all.get(name)
            if has is None:
                made[name] = self._builder.build(name, want)
                added.append(name)
            elif server_of(has.section.url) != server_of(want.section.url):
                made[name] = self._builder.build(name, want)
                replaced.append(name)
            elif has.wanted == want:
                made[name] = has
            else:
                made[name] = self._changed(has, want)
                changed.append(name)
        removed = (name for name in self._all if name not in wanted)
        return made, Changes(tuple(added), tuple(changed), tuple(replaced), tuple(removed))

    def _changed(self, has: Backend, want: Wanted) -> Backend:
        """The same server. Its connection stays if only the daemon's own dealings with it change."""
        own = {name: getattr(want.section, name) for name in _OWN}
        kept = msgspec.structs.replace(has.wanted, section=msgspec.structs.replace(has.section, **own))
        return msgspec.structs.replace(has, wanted=want) if kept == want else self._builder.build(has.name, want, has)

    # ---- what runs

    async def run(self) -> None:
        """Watch all of them until cancelled. An error of a watcher ends this too."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for one in self._all.values():
                self._begin(one)
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None  # what would begin now would not be cancelled

    def _begin(self, one: Backend) -> None:
        if self._group is not None and one.name not in self._watching:
            self._watching[one.name] = self._group.create_task(one.run())

    def _end(self, one: Backend, *, is_left: bool, is_gone: bool) -> None:
        """`is_left`: nobody asks this server any more. `is_gone`: nobody has its name. Otherwise what is under way
        comes to its end, without the watcher that tells of the ends of prompts.
        """
        one.node_classes.close()
        one.renderer.under_way.end(_LEFT if is_left else {"follow"})
        watching = self._watching.pop(one.name, None)
        if watching is not None:
            watching.cancel()
        if self._group is None:
            return
        if is_left:
            there = [each.row for each in self._engine.view.attempts_at(one.name) if each.row.at_comfyui]
            self._group.create_task(self._leave(one, there, is_gone=is_gone))

    async def _leave(self, one: Backend, there: list[PromptRow], *, is_gone: bool) -> None:
        """Give up the attempts that are there, and then ask the server once to stop them: nobody looks after it."""
        reason: Literal["removed", "replaced"] = "removed" if is_gone else "replaced"
        reports = (PromptIsLeft(row.batch_id, row.index, row.attempt, reason) for row in there)
        crash_points.at("move.giving_up")
        with suppress(Refused):  # the engine stops
            await asyncio.gather(*map(self._reporter.report, reports))
        crash_points.at("move.given_up")
        log.info("comfyui.left", comfyui=one.name, url=one.client.url, reason=reason, prompts=len(there))
        with suppress(NotReached, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                for row in there:
                    await one.client.cancel(row.prompt_id)
        if is_gone and one.name not in self._all:
            await self._forget(one)

    async def _forget(self, one: Backend) -> None:
        """Nobody would ever say that it works again."""
        with suppress(OSError):
            await one.node_classes.forget()
        if not self._reporter.has_work(one.name):
            with suppress(Refused):  # the engine stops
                await self._reporter.works(backend_lane(one.name))
