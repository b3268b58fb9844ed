"""All webhooks: those of the configuration, and those that the log says were added. Each runs by itself.

commit ──rows──▶ Webhooks ──begin, pause, end──▶ Deliverer, one for each
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from msgspec.structs import replace

from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.engine import EngineView
from comfyledger.errors import Refused
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.ports import Reader
from comfyledger.settings.backend_urls import is_allowed
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.webhooks.addressed import Addressed
from comfyledger.workers.webhooks.deliverer import Compose, Deliverer
from comfyledger.workers.webhooks.target import Target, added

log = structlog.get_logger("comfyledger.webhooks")

ALLOWED_HINT: Final = (
    "The operator lists addresses in `webhooks_allowed`: scheme, host, port and path must fit an entry."
)


class Webhooks:
    """`configured`: by name. `allowed`: the addresses that may be added, as `webhooks_allowed` describes them."""

    def __init__(
        self,
        configured: Mapping[str, Target],
        allowed: Collection[str],
        view: EngineView,
        reader: Reader,
        reporter: Reporter,
        compose: Compose,
        wall_ms: Callable[[], int],
    ) -> None:
        self.configured = dict(configured)
        self.wall_ms: Final = wall_ms
        self._allowed = tuple(allowed)
        self._view, self._reader, self._reporter, self._compose = view, reader, reporter, compose
        self._rows: dict[str, WebhookRow] = {}
        self._progress: dict[str, WebhookProgress] = {}
        self._running: dict[str, Deliverer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, bool] = {}
        """Whether it is paused, as the one that runs was told."""
        self._unsaved: set[str] = set()
        """Those whose beginning is not saved yet."""
        self._news = asyncio.Event()
        self._shown: list[WebhookProgress] | None = None
        """What another box had saved when that was taken in last."""
        self.delivers = True
        """Whether this daemon delivers; in a fleet one box does."""
        self.may_deliver: Callable[[], bool] = lambda: True
        """Asked before each delivery; what is made later asks it."""

    # ---- in

    async def start(self) -> None:
        """Know all that there are. To be called once, before the engine decides anything. Raises Refused(busy)."""
        self._rows = {row.name: row for row in await self._reader.webhooks()}
        self._know(await self._reader.webhook_progress())
        self._match()

    def _know(self, progress: Iterable[WebhookProgress]) -> None:
        """What was saved. One that was not begins where it stands now."""
        saved = {one.name: one for one in progress}
        self._progress |= saved
        self._unsaved = self._targets().keys() - saved.keys()

    def committed(self, committed: Committed) -> None:
        """An observer of commits."""
        for row in committed.rows.values():
            if isinstance(row, WebhookRow):
                self._rows[row.name] = row
                self._news.set()

    def check(self, name: str, url: str) -> None:
        """Raises Refused(webhook_exists, webhook_not_allowed) for what the configuration rules out."""
        if name in self.configured:
            hint = "Choose another name, or change its section of the configuration."
            raise Refused("webhook_exists", f"The configuration has [webhooks.{name}].", hint=hint, path="name")
        if not is_allowed(url, self._allowed):
            text = f"{url} is not an address to which a webhook may be added."
            raise Refused("webhook_not_allowed", text, hint=ALLOWED_HINT, path="url")

    # ---- what may be seen

    def __getitem__(self, name: str) -> Deliverer:
        """Raises KeyError for one that is neither configured, nor added and allowed."""
        return self._running[name]

    def all(self) -> list[tuple[Target, WebhookRow, Deliverer | None]]:
        """Each with what the log says about it, by name. None delivers for one that is not allowed any more."""
        targets = self._targets()
        return [
            (targets[name], self._rows.get(name, WebhookRow(name)), self._running.get(name)) for name in sorted(targets)
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Tries of those that may deliver, by name and outcome, since the start or the last change of the address."""
        return {name: dict(one.counts.outcomes) for name, one in self._running.items()}

    def saved(self, name: str) -> WebhookProgress:
        """How far one that does not deliver had come."""
        return self._begins(self._targets()[name])

    def _targets(self) -> dict[str, Target]:
        rows = (row for row in self._rows.values() if row.present and row.name not in self.configured)
        return {**self.configured, **{row.name: added(row, self._view.secret) for row in rows}}

    # ---- out

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            while True:
                self._news.clear()
                self._match()
                await self._begin()
                for name in self._running.keys() - self._tasks.keys() if self.delivers else ():
                    self._tasks[name] = asyncio.create_task(self._running[name].run())
                await self._news.wait()
        finally:
            await _ended(self._tasks.values())

    async def _begin(self) -> None:
        """Save where those begin that have delivered nothing yet."""
        for name in list(self._unsaved) if self.delivers else ():
            self._unsaved.discard(name)
            if name in self._running:
                with suppress(Refused):  # then it saves that later, by itself
                    await self._running[name].begin()

    # ---- in a fleet

    def begin_turn(self, progress: Iterable[WebhookProgress]) -> bool:
        """This box delivers from now on, from where another one has saved that it had come. Whether that is new."""
        if self.delivers:
            return False
        self._shown = None
        self._start_from(progress)
        self.delivers = True
        self._news.set()
        return True

    def end_turn(self, progress: Iterable[WebhookProgress]) -> bool:
        """Another box delivers, and has come so far. Whether this one did until now. What is under way is given up."""
        has_ended, known = self.stop_turn(), list(progress)
        if self.has_come_to(known) and known != self._shown:
            self._shown = known
            self._start_from(known)
        return has_ended

    def has_come_to(self, progress: Iterable[WebhookProgress]) -> bool:
        """Whether this box has the events up to where deliveries have come: its replica may be a little behind."""
        return all(one.position <= self._view.position for one in progress)

    def stop_turn(self) -> bool:
        """Nobody is known to deliver. Whether this box did until now. What is under way is given up."""
        has_ended, self.delivers = self.delivers, False
        if has_ended:
            self._start_from(list(self._progress.values()))
        return has_ended

    def _start_from(self, progress: Iterable[WebhookProgress]) -> None:
        for name in list(self._running):
            self._end(name)
        self._know(progress)
        self._match()

    def _match(self) -> None:
        """Have run what the log and the configuration say."""
        targets = {name: target for name, target in self._targets().items() if self._may_run(target)}
        for name in list(self._running):
            if self._running[name].target != targets.get(name):
                self._end(name)
        for name, target in targets.items():
            if name not in self._running:
                self._running[name] = self._made(target)
            self._pause_as_said(name)

    def _pause_as_said(self, name: str) -> None:
        """Only where the log says something new: a webhook pauses by itself before that is in the log."""
        row = self._rows.get(name)
        paused = row is not None and bool(row.paused)
        if paused != self._said.get(name, False):
            self._said[name] = paused
            (self._running[name].pause if paused else self._running[name].resume)()

    def _may_run(self, target: Target) -> bool:
        return target.is_configured or is_allowed(target.url, self._allowed)

    def _made(self, target: Target) -> Deliverer:
        sends = Addressed(target, self._reader).url_for
        begins = self._begins(target)
        made = Deliverer(target, begins, self._view, self._reader, self._reporter, self._compose, sends, self.wall_ms)
        made.may_deliver = self.may_deliver
        return made

    def _begins(self, target: Target) -> WebhookProgress:
        """Where it had come; else after the event that added it, or at the end of the log.

        A ledger that lost its end, or was restored, may end before.
        """
        saved, head, epoch = self._progress.get(target.name), self._view.position, self._view.epoch
        if saved is None or saved.since != target.since:
            return WebhookProgress(target.name, epoch, target.since or head, target.since)
        if saved.position > head:
            log.warning("webhook.clamped", webhook=target.name, position=saved.position, head=head)
            return WebhookProgress(target.name, epoch, head, target.since)
        return replace(saved, epoch=epoch)

    def _end(self, name: str) -> None:
        """What is under way is given up, and delivered again by the one that takes its place, if there is one."""
        self._progress[name] = self._running.pop(name).progress
        self._said.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
