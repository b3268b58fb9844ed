"""Messages in, one group at a time through the ledger, replies and effects out.

    reports, commands ─▶ group ─▶ writer thread: decide · evolve · append, of each ─▶ COMMIT
                                                                                        │
            effects ◀─ owed index ◀─ changed rows ◀─ answers leave, subscribers wake ◀──┘

Reports go before commands and are never refused: the effects in flight bound them.
Commands are bounded and refused with `busy`. While one group is being committed the next one gathers; no second group
is decided meanwhile. Nothing leaves before its commit, and if a commit fails nothing has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from comfyledger.core.commands import Command, JoinBox, R_co, SubmitBatch
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import LaneStuck, Report, SeriesAnswered
from comfyledger.core.results import SeriesUnknown
from comfyledger.core.rows import Row, row_id
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.engine.effect_tasks import EffectTasks, Perform
from comfyledger.engine.first_use import Ask, FirstUse
from comfyledger.engine.inbox import Inbox, Waiting
from comfyledger.engine.once import Once
from comfyledger.engine.patience import Patience
from comfyledger.engine.state import LEDGER_FULL, State
from comfyledger.engine.view import EngineView
from comfyledger.errors import LedgerUnusable, Refused, Unusable
from comfyledger.ledger.commit_group import Outcome, Shortage, Terms, decide_group, fenced
from comfyledger.ledger.connection_thread import LedgerThread
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.observers import Committed, Observer, notify_observers
from comfyledger.ledger.ports import Ledger, LedgerLocked, StorageFull, Taken

COMMANDS_MAX: Final = 1_000
"""Commands that wait, for the next group or for stores. A further one is refused with `busy`."""
GATHER_TURNS: Final = 4
"""For so many turns of the event loop a group that has reports waits for more of them."""
OPEN_IMAGES_MAX: Final = 100_000
STORAGE_RETRY_S: Final = 1.0
LOCK_RETRY_S: Final = 0.1
"""Between two tries of a group, each of which waits by itself."""
SCRUB_RETRY_S: Final = 0.5
CATCH_UP_S: Final = 2.0
"""For how long somebody waits who asks for what this box does not know yet."""

log = structlog.get_logger("comfyledger.engine")


class Engine:
    """Decides messages in groups. It runs in the event loop; the ledger runs in its thread.

    Apps send commands, workers send reports. All that can be read of it is in `view`.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        policy: Policy,
        limits: Limits,
        first_use_wait_s: float,
        open_images_max: int = OPEN_IMAGES_MAX,
        wall_ms: Callable[[], int],
        steady_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._policy = policy
        self._wall_ms, self._steady_ms = wall_ms, steady_ms
        self._state = State(ledger, limits, open_images_max, steady_ms)
        self._state.is_member = not policy.box
        self._inbox = Inbox()
        self._patience = Patience(self._state.lock, self._inbox, steady_ms, is_shared=ledger.is_shared)
        self._tasks = EffectTasks(self._state, self._inbox)
        self._first_use = FirstUse(first_use_wait_s, wall_ms, self._decide_again, self._tasks.spawn)
        self._observers: list[Observer] = []
        self._thread = LedgerThread("ledger-writer")
        self._is_loaded = self._scrubbing = self._looking = self._is_cancelled = self._behind = False
        self._asked: list[asyncio.Future[None]] = []
        """Who waits until everything is taken in that others had appended when they asked."""
        self.view: Final = EngineView(self._state, self._inbox, self._first_use)

    # ---- in

    async def command(self, command: Command[R_co]) -> R_co:
        """Decide a command and wait for its answer. Raises Refused; then nothing has changed.

        A batch of a series that was never used waits until the stores have answered, up to `first_use_wait_s`.
        """
        is_full = len(self._inbox.commands) + self._first_use.waiting >= COMMANDS_MAX
        if is_full and not isinstance(command, JoinBox):
            hint = "Repeat the request with the same request_id in a moment."
            raise Refused("busy", "The daemon is overloaded; the request was not accepted.", hint=hint)
        reply: R_co = await self._enter(command)
        return reply

    async def report(self, report: Report) -> msgspec.Struct | None:
        """Take a report and wait until it is durable. The answer is None unless the report asks for one."""
        answer: msgspec.Struct | None = await self._enter(report)
        return answer

    async def _enter(self, message: Message) -> Any:
        if self._state.stopped:
            raise _stopping()
        return await self._inbox.add(message).future

    def set_brake(self, shortage: Shortage | None) -> None:
        """Refuse new work, or take it again (None). The disk guard does so before a disk is full."""
        self._state.brake = shortage

    def series_waiting(self, key: str, reason: str, hint: str) -> None:
        """Say why the stores have not answered yet about a series. Does nothing if nobody asks about it any more."""
        self._first_use.explain(key, reason, hint)

    def look_for_lock(self) -> None:
        """Find out soon whether another program's lock would keep a group from being written, though none has come."""
        self._looking = True
        self._inbox.wake.set()

    def catch_up(self) -> None:
        """Others may have appended to the log that this ledger shares with them."""
        self._behind = True
        self._inbox.wake.set()

    async def caught_up(self) -> bool:
        """Whether this ledger has everything now that others had appended before this call. False without others, and
        if the shared log does not answer in time.
        """
        if not self._ledger.is_shared or self._state.stopped:
            return False
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self.catch_up()
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await asked
        except TimeoutError:
            return False
        return True

    def joined(self, term: int) -> None:
        """This box takes part in its fleet, in this term."""
        self._policy = msgspec.structs.replace(self._policy, term=term)
        self._state.is_member, self._state.term = True, term
        self._inbox.wake.set()

    def probe_soon(self, lane: str) -> None:
        """There is a sign that the lane works again: its next probe need not wait."""
        self._state.owed.probe_soon(lane, self._steady_ms())
        self._inbox.wake.set()

    def refuse(self, backend: str, template: str, inputs: str, why: str) -> None:
        """A backend refuses the template of open batches: see `Fit.refuse`. Nothing is written down."""
        self._state.owed.refuse(backend, template, inputs, why, self._steady_ms())
        self._inbox.wake.set()

    def learned(self, backend: str) -> None:
        """A backend has something else than before, so it may take now what it has refused."""
        self._state.owed.learned(backend, self._steady_ms())
        self._inbox.wake.set()

    def set_backends(
        self,
        queue_depths: Mapping[str, int],
        tags: Mapping[str, frozenset[str]],
        move_after_ms: Mapping[str, int],
        no_secrets: frozenset[str] = frozenset(),
        anew: Collection[str] = (),
    ) -> None:
        """These are all backends from now on: see `PendingWork.set_backends`. Nothing is written down."""
        self._state.owed.set_backends(queue_depths, tags, move_after_ms, no_secrets, self._steady_ms(), anew)
        self._inbox.wake.set()

    def observe(self, *observers: Observer) -> None:
        """Call these after each commit, once its answers have left."""
        self._observers += observers

    # ---- the loop

    async def load(self) -> None:
        """Learn once what is open, so that the view shows it before the loop runs. Raises Unusable."""
        if not self._is_loaded:
            rows = await self._in_thread(self._ledger.open_rows)
            self._state.apply(rows, self._steady_ms())
            self._is_loaded = True

    async def run(self, perform: Perform, ask: Ask) -> None:
        """Work until cancelled. Raises Unusable when a disk failed: then the process must end."""
        self._tasks.perform, self._first_use.ask = perform, ask
        try:
            await self.load()
            log.info("engine.started", position=self._state.position, **self._state.owed.open_counts())
            self._scrub_if_owed()
            while True:
                now = self._steady_ms()
                self._tasks.start_due(now)
                await self._wait_for_work(now)
                if self._tasks.failure is not None:
                    raise self._tasks.failure
                await self._gather()
                group = self._next_group()
                if group or self._looking or self._behind:
                    await self._commit(group)
        finally:
            await self.stop()

    def _next_group(self) -> list[Waiting]:
        """A box that does not take part in its fleet yet joins it, and everything else waits."""
        if self._inbox.joining or not self._state.is_member:
            return self._inbox.take_joining()
        return self._inbox.take_group(reports_alone=self._state.storage_full)

    @property
    def _has_work(self) -> bool:
        waits = bool(self._inbox) and self._state.is_member
        return waits or bool(self._inbox.joining) or self._looking or self._behind

    async def _wait_for_work(self, taken_ms: int) -> None:
        """Until a message comes, an effect ends, or one is due after `taken_ms`: none falls between take and wait."""
        if not self._has_work:
            wake_at = self._state.owed.wake_at_ms(taken_ms) if self._state.is_member else None
            delay = None if wake_at is None else max(0.0, (wake_at - self._steady_ms()) / 1000)
            try:
                async with asyncio.timeout(delay):
                    await self._inbox.wake.wait()
            except TimeoutError:
                return
        self._inbox.wake.clear()

    async def _gather(self) -> None:
        """Let the workers that the last commit has answered or begun come to their next report. It then shares a commit
        with the reports that wait. Commands alone do not wait, because a client waits for each of them.
        """
        turns = GATHER_TURNS if self._inbox.reports else 0
        for _ in range(turns):
            await asyncio.sleep(0)

    async def _commit(self, group: list[Waiting]) -> None:
        """If cancelled, it still finishes the group, so that whatever is durable is answered."""
        await self._take_through(group)
        if self._is_cancelled:
            raise asyncio.CancelledError
        if self._state.storage_full or self._state.lock.is_met:
            await asyncio.sleep(LOCK_RETRY_S if self._state.lock.is_met else STORAGE_RETRY_S)

    async def _take_through(self, group: list[Waiting]) -> None:
        try:
            await self._take_or_wait(group)
        except Exception as error:
            log.exception("engine.failed")
            for waiting in group:
                waiting.fail(Refused("internal"))
            if isinstance(error, LedgerUnusable):
                raise
            raise LedgerUnusable(f"Could not commit a group of messages: {error!r}.") from error

    async def _take_or_wait(self, group: list[Waiting]) -> None:
        with self._patience.waiting_for(group):
            await self._write(group)
        self._looking = self._state.lock.is_met

    async def _write(self, group: list[Waiting]) -> None:
        asked, self._asked = self._asked, []
        was_behind = self._behind
        try:
            if was_behind:
                await self._catch_up()  # before the group locks the log, which others wait for
            if group:
                await self._take(group)
            elif not was_behind:
                await self._to_its_end(self._ledger.check_lock)
        finally:
            self._asked += asked
        if not self._behind:
            self._say_caught_up(asked)

    def _say_caught_up(self, asked: Iterable[asyncio.Future[None]]) -> None:
        for future in asked:
            self._asked.remove(future)
            if not future.done():
                future.set_result(None)

    async def _catch_up(self) -> None:
        self._behind = False
        try:
            taken: Taken = await self._to_its_end(self._ledger.catch_up)
        except BaseException:
            self._behind = True  # nothing was taken in
            raise
        self._behind = self._behind or taken.more
        self._take_in(taken.rows, taken.lines)
        self._scrub_if_owed()

    def _take_in(self, rows: Sequence[Row], lines: Sequence[Line]) -> None:
        """What others have appended and changed, as if it had been committed here."""
        if lines:
            self._state.apply(rows, self._steady_ms())
            self._state.append(lines)
            if self._state.is_member and self._policy.is_fenced(self._state.boxes.get(self._policy.box)):
                self._fall_out()
            self._first_use.take_up_decided(rows)
            changed = {row_id(row): row for row in rows}
            notify_observers(self._observers, Committed(list(lines), changed, 0, 0.0))

    async def _take(self, group: list[Waiting]) -> None:
        try:
            decided = await self._decided(group, self._terms(group))
        except StorageFull:
            await self._no_room(group)
        else:
            self._state.storage_full = False
            self._committed(group, *decided)
            self._scrub_if_owed()

    def _terms(self, group: list[Waiting]) -> Terms:
        """What was open before the group; what the group itself adds is counted while it is decided."""
        labels = {waiting.message.label for waiting in group if isinstance(waiting.message, SubmitBatch)}
        room = {label: self._state.open_images.room_of(label) for label in labels}
        return Terms(self._wall_ms(), self._policy, self._state.brake, room=room)

    async def _decided(self, group: list[Waiting], terms: Terms) -> tuple[list[Outcome], list[Line], float]:
        """The outcomes, the lines, and how many seconds that took."""
        messages, begun = [waiting.message for waiting in group], asyncio.get_running_loop().time()
        outcomes, lines = await self._to_its_end(lambda: decide_group(self._ledger, messages, terms))
        return outcomes, lines, asyncio.get_running_loop().time() - begun

    def _committed(self, group: list[Waiting], outcomes: list[Outcome], lines: list[Line], seconds: float) -> None:
        now, taken = self._steady_ms(), self._ledger.taken
        self._take_in(taken.rows, taken.lines)
        lines = lines[len(taken.lines) :]
        rows = {row_id(row): row for outcome in outcomes for row in outcome.rows}
        self._state.apply(rows.values(), now)
        self._state.append(lines)
        kept_out = self._kept_out(group, outcomes)
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting not in kept_out:
                self._answer(waiting, outcome, now)
        self._first_use.take_up_decided(rows.values())
        notify_observers(self._observers, Committed(lines, rows, len(group), seconds))

    def _kept_out(self, group: list[Waiting], outcomes: list[Outcome]) -> list[Waiting]:
        """The reports of a box that was taken for dead. They are facts and wait until it has joined again: what they
        say then counts as far as it fits.
        """
        fenced = [each for each, outcome in zip(group, outcomes, strict=True) if _is_fenced(outcome)]
        reports = [waiting for waiting in fenced if isinstance(waiting.message, Report)]
        if fenced:
            self._fall_out()
            self._inbox.put_back(reports)
        return reports

    def _fall_out(self) -> None:
        """This box was declared left, and does nothing until it has joined again. Commands that wait are refused,
        because the task that is to join may wait for one of them.
        """
        self._state.is_member = False
        self._inbox.refuse_commands(fenced())

    def _answer(self, waiting: Waiting, outcome: Outcome, now: int) -> None:
        if isinstance(waiting.message, LaneStuck):
            stuck = waiting.message
            self._state.owed.stuck(stuck.lane, stuck.code, now, stuck.retry_after_s)
        if isinstance(outcome.error, Refused):
            waiting.fail(outcome.error)
        elif outcome.error is not None:
            log.error("engine.message_failed", message=type(waiting.message).__name__, exc_info=outcome.error)
            waiting.fail(Refused("internal"))
        elif isinstance(outcome.answer, SeriesUnknown):
            self._first_use.park(waiting, outcome.answer)
        else:
            waiting.answer(outcome.answer)
        if isinstance(waiting.message, SeriesAnswered) and outcome.error is None:
            self._first_use.take_up(waiting.message.series.key)

    async def _no_room(self, group: list[Waiting]) -> None:
        """Commands are answered without writing; reports are facts and wait, in their order, until there is room."""
        if not self._state.storage_full:
            log.error("ledger.storage_full")
        self._state.storage_full = True
        self._inbox.put_back(group)
        commands = list(self._inbox.commands)
        try:
            decided = await self._decided(commands, Terms(self._wall_ms(), self._policy, LEDGER_FULL, full=True))
        except LedgerLocked as error:  # all of them are where they were
            self._patience.met(error, self._steady_ms())
            return
        for _ in commands:
            self._inbox.commands.popleft()
        self._committed(commands, *decided)

    def _decide_again(self, commands: Sequence[Waiting]) -> None:
        self._inbox.put_back(commands)
        self._inbox.wake.set()

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        self._state.jobs.append(since := self._steady_ms())
        try:
            return await self._thread.call(call)
        finally:
            self._state.jobs.remove(since)

    async def _to_its_end(self, call: Callable[[], Any]) -> Any:
        """What a call in the thread answers, or raises, also if this is cancelled meanwhile: `_commit` raises that.

        A cancelled call may have begun. The thread does one call after the other, so the next one finds what came of
        it, or makes it.
        """
        once = Once(call)
        while not once.is_done:
            try:
                await self._in_thread(once)
            except asyncio.CancelledError:
                self._is_cancelled = True
        return once.result()

    async def stop(self) -> None:
        """Refuse every waiting message and every later one, such as the report of a worker that is ending.

        `run` does it at its end. It is for an engine that has loaded and never runs, and does nothing the second time.
        """
        self._state.stopped = True
        for waiting in (*self._inbox.joining, *self._inbox.reports, *self._inbox.commands):
            waiting.fail(_stopping())
        self._first_use.refuse_all(_stopping())
        await self._tasks.end()
        self._thread.end()

    def _scrub_if_owed(self) -> None:
        if self._ledger.scrub_owed and not self._scrubbing:
            self._scrubbing = True
            self._tasks.spawn(self._scrub())

    async def _scrub(self) -> None:
        """What was erased leaves the write-ahead log as soon as no reader looks at what was before."""
        try:
            while not await self._in_thread(self._ledger.scrub):  # noqa: ASYNC110 (nobody says when a reader ends)
                await asyncio.sleep(SCRUB_RETRY_S)
        except Unusable as error:
            self._tasks.fail(error)
        finally:
            self._scrubbing = False


def _is_fenced(outcome: Outcome) -> bool:
    return isinstance(outcome.error, Refused) and outcome.error.code == "fenced"


def _stopping() -> Refused:
    return Refused("not_running", "The daemon is stopping.")
