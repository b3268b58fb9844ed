"""Delivers the events of one webhook: reads the log, sends what is due, and saves how far it has come.

    log ──▶ Deliveries ──take──▶ compose, POST ──outcome──▶ Deliveries ──progress──▶ engine

`core.webhook_deliveries` decides. What is saved is at most a little older than what was delivered, so a crash has a few
events delivered again, under the same id.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from comfyledger import crash_points
from comfyledger.core.reports import WebhookEnded, WebhookProgressed
from comfyledger.core.webhook_deliveries import Deliveries, Fault, Offered
from comfyledger.core.webhooks import WebhookProgress, delivery_id, is_dead
from comfyledger.engine import EngineView
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import LogWanted, Reader
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.webhooks.post import Poster, Signed
from comfyledger.workers.webhooks.target import Target

SAVE_S: Final = 0.5
"""Between two saves, while events stream."""
PAGE_LINES: Final = 200
UNSAVED_MAX: Final = 10_000
"""So many events that it does not deliver are read again after a restart at most."""
RETRY_S: Final = 5.0
"""After an error of our own."""

log = structlog.get_logger("comfyledger.webhooks")

Compose = Callable[[Line], Awaitable[bytes]]
"""The body for an event, as its image and batch are now. Raises Refused(busy)."""
Sends = Callable[[Line], Awaitable[str]]
"""Where an event goes: an address, empty if it is not for this webhook. Raises Refused(busy)."""


class Counts(msgspec.Struct):
    """Tries since the start of the daemon, by outcome: `delivered`, or the code of the fault."""

    outcomes: dict[str, int] = {}

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Deliverer:
    """One webhook. `paused` and `resume` come from outside; everything else it does itself."""

    def __init__(
        self,
        target: Target,
        progress: WebhookProgress,
        view: EngineView,
        reader: Reader,
        reporter: Reporter,
        compose: Compose,
        sends: Sends,
        wall_ms: Callable[[], int],
    ) -> None:
        self.target = target
        self.counts = Counts()
        self._deliveries = Deliveries(progress)
        self._saved = progress.position
        self._save_at = 0.0
        self._view, self._reader, self._reporter = view, reader, reporter
        self._compose, self._sends = compose, sends
        self._wall_ms = wall_ms
        self.may_deliver: Callable[[], bool] = lambda: True
        """Asked before each delivery."""
        self._poster = Poster(trusts_names=target.is_configured, wall_ms=wall_ms)
        self._lines: dict[int, Line] = {}
        self._wake = asyncio.Event()
        self._paused = False
        self._ended: WebhookEnded | None = None
        """To be reported."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        """Held while the deliveries are exchanged, so that nothing begins meanwhile."""

    # ---- what may be seen, and asked for

    @property
    def deliveries(self) -> Deliveries:
        return self._deliveries

    @property
    def sends(self) -> Sends:
        return self._sends

    @property
    def progress(self) -> WebhookProgress:
        return self._deliveries.progress()

    def oldest_ms(self) -> int:
        """When the oldest event happened that waits; 0 if none does."""
        oldest = self._deliveries.oldest
        return oldest.at_ms if oldest is not None else 0

    def pause(self) -> None:
        """Begin no delivery until it is resumed. What is under way ends."""
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._deliveries.resumed()
            self._wake.set()

    async def replay(self, position: int) -> None:
        """Deliver again what follows a position. Returns when that is saved."""
        async with self._turn:
            if self._under_way:
                await asyncio.wait(self._under_way)
            now = self._deliveries.progress()
            kept = tuple(one for one in now.owed if one.position <= position)
            self._deliveries = Deliveries(msgspec.structs.replace(now, position=position, ahead=(), owed=kept))
            self._lines.clear()
            await self._save()
        self._wake.set()

    async def post(self, message_id: str, body: bytes) -> Fault | None:
        """Send a body now, beside all deliveries."""
        return await self._poster.post(Signed(self.target.url, message_id, body, self.target.key))

    # ---- the loop

    async def run(self) -> None:
        """Runs until it is cancelled. Its own faults are logged, and tried again."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        await self._work(group)
                    except Refused as refusal:  # another program locks the ledger, or the daemon stops
                        log.info("webhook.waiting", webhook=self.target.name, error=str(refusal))
                        await asyncio.sleep(RETRY_S)
                    except Exception:
                        log.exception("webhook.died", webhook=self.target.name)
                        await asyncio.sleep(RETRY_S)
        finally:
            await self._poster.close()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        self._wake.clear()
        news = self._view.news()
        async with self._turn:
            await self._read()
            asked_ms = self._wall_ms()
            if not self._paused:
                while self.may_deliver() and (position := self._deliveries.take(asked_ms)) is not None:
                    task = group.create_task(self._deliver(self._deliveries, position))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
        await self._save_if_due()
        await self._wait(news, asked_ms)

    async def _read(self) -> None:
        """Fill the window, a page at a time."""
        deliveries = self._deliveries
        while deliveries.has_room and deliveries.scanned < self._view.position:
            lines, scanned = await self._page(deliveries.scanned)
            wanted = [line for line in lines if line.kind in self.target.kinds and await self._sends(line)]
            self._lines |= {line.position: line for line in wanted}
            deliveries.offer([Offered(line.position, line.stream, line.at_ms) for line in wanted], scanned)

    async def _page(self, after: int) -> tuple[list[Line], int]:
        page = self._view.lines_after(after, PAGE_LINES)
        if page is not None:
            return page, page[-1].position if page else after
        head = self._view.position  # as it is now: what is logged while this is read is for the next page
        found = await self._reader.log_lines(
            LogWanted(after=after, upto=head, kinds=self.target.kinds, limit=PAGE_LINES)
        )
        return found.lines, found.position if found.more else head

    async def _wait(self, news: asyncio.Future[None], asked_ms: int) -> None:
        """Until an event has come since `news` was asked for, a delivery ends, or something is due that was not yet due
        at `asked_ms`.
        """
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
        if self._deliveries.has_room:
            waits.append(asyncio.shield(news))
        try:
            await asyncio.wait(waits, timeout=self._due_in_s(asked_ms), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    def _due_in_s(self, asked_ms: int) -> float | None:
        """What was due then and did not begin waits for an outcome. A save may outlast the rest of a delay."""
        due = [at - asyncio.get_running_loop().time() for at in (self._save_at,) if self._deliveries.is_changed]
        wake_at_ms = None if self._paused else self._deliveries.wake_at_ms()
        if wake_at_ms is not None and wake_at_ms > asked_ms:
            due.append((wake_at_ms - self._wall_ms()) / 1000)
        return max(0.0, min(due)) if due else None

    # ---- one delivery

    async def _deliver(self, deliveries: Deliveries, position: int) -> None:
        fault = Fault("endpoint", "internal", "The daemon could not make the request; its log has the details.")
        try:
            line = await self._line(position)
            url = await self._sends(line)
            body = await self._compose(line)
            crash_points.at("webhook.delivering")
            request = Signed(url, self._id_of(line), body, self.target.key)
            outcome = await self._poster.post(request)
            if outcome is None:
                crash_points.at("webhook.delivered")
            self._end(deliveries, position, outcome)
        except Refused as refusal:
            busy = Fault("endpoint", refusal.code, refusal.message)
            self._end(deliveries, position, busy)
        except Exception:
            log.exception("webhook.died", webhook=self.target.name, position=position)
            self._end(deliveries, position, fault)

    def _id_of(self, line: Line) -> str:
        return delivery_id(self._view.ledger_id, self.target.name, line.position, line.hash)

    async def _line(self, position: int) -> Line:
        line = self._lines.get(position)
        if line is None:  # put aside before a restart
            (line,) = await self._reader.page(after=position - 1, limit=1)
        return line

    def _end(self, deliveries: Deliveries, position: int, fault: Fault | None) -> None:
        now_ms, name = self._wall_ms(), self.target.name
        self.counts.count(fault.code if fault is not None else "delivered")
        was_failing = deliveries.progress().tries > 0
        if fault is None:
            deliveries.delivered(position, now_ms)
            self._lines.pop(position, None)
            if was_failing:
                log.info("webhook.works", webhook=name)
        else:
            deliveries.failed(position, fault, now_ms, random.random())  # noqa: S311 (jitter)
            level = log.info if was_failing else log.warning
            level("webhook.not_delivered", webhook=name, position=position, code=fault.code, error=fault.text)
            self._check_end(deliveries, fault, now_ms)
        self._wake.set()

    def _check_end(self, deliveries: Deliveries, fault: Fault, now_ms: int) -> None:
        """Pause it here at once; the event follows, and comes back as a pause."""
        is_gone = fault.whose == "gone"
        if not self._paused and (is_gone or is_dead(deliveries.progress().failing_ms, now_ms)):
            self._paused = True
            self._ended = WebhookEnded(self.target.name, "gone" if is_gone else "dead")

    # ---- saving

    async def begin(self) -> None:
        """Save where it begins, before anything is decided that it has to deliver."""
        await self._save()

    async def _save_if_due(self) -> None:
        if self._ended is not None:
            ended, self._ended = self._ended, None
            log.warning("webhook.ended", webhook=self.target.name, reason=ended.reason)
            await self._save()
            await self._reporter.report(ended)
        is_far = self._deliveries.position - self._saved >= UNSAVED_MAX
        if (self._deliveries.is_changed or is_far) and asyncio.get_running_loop().time() >= self._save_at:
            await self._save()

    async def _save(self) -> None:
        self._deliveries.saved()
        progress = self._deliveries.progress()
        self._saved = progress.position
        try:
            await self._reporter.report(WebhookProgressed(progress, self._view.term))
        except Refused:
            self._deliveries.not_saved()
            raise
        self._save_at = asyncio.get_running_loop().time() + SAVE_S
