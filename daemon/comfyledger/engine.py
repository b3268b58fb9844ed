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
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import msgspec
import structlog

from comfyledger.core.commands import Command, OpenSeries, R_co, SubmitBatch
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy, SeriesUnknown
from comfyledger.core.reports import LaneStuck, Report, SeriesAnswered
from comfyledger.core.rows import Row, SeriesRow, row_id
from comfyledger.core.scheduling.capacity import Limits, OpenImages
from comfyledger.core.scheduling.effects import Effect, EffectKey
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.errors import LedgerUnusable, Refused, Unusable
from comfyledger.ledger.commit_group import Outcome, Shortage, Terms, decide_group
from comfyledger.ledger.connection_thread import LedgerThread
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.locked import Lock
from comfyledger.ledger.observers import Committed, Observer, notify_observers
from comfyledger.ledger.ports import Ledger, LedgerLocked, StorageFull

GROUP_MAX: Final = 256
COMMANDS_MAX: Final = 1_000
OPEN_IMAGES_MAX: Final = 100_000
TAIL_LINES: Final = 4_096
STORAGE_RETRY_S: Final = 1.0
LOCK_RETRY_S: Final = 0.1
"""Between two tries of a group, each of which waits by itself."""
LOCKED_COMMANDS_S: Final = 4.0
"""For how long commands wait for a lock that another program holds, before they are refused."""
SCRUB_RETRY_S: Final = 0.5
HINT_LATER: Final = 'Repeat the request later, or set first_use = "trust" if the stores are known to be empty.'

log = structlog.get_logger("comfyledger.engine")

Perform = Callable[[Effect], Coroutine[Any, Any, None]]
Ask = Callable[[SeriesUnknown], Coroutine[Any, Any, None]]


LEDGER_FULL: Final = Shortage(
    "The ledger's disk is full.", "Make room on the disk of the ledger; work resumes by itself."
)


class _Waiting:
    """A message with the future of the one who waits for its answer."""

    __slots__ = ("future", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.future: asyncio.Future[msgspec.Struct | None] = asyncio.get_running_loop().create_future()

    def answer(self, value: msgspec.Struct | None) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # nobody reads the error of a client that has left


class Question(msgspec.Struct):
    """A series that the stores are being asked about, and the commands that wait for it."""

    unknown: SeriesUnknown
    since_ms: int
    waiting: list[_Waiting]
    reason: str = "asking the stores"
    hint: str = HINT_LATER

    def labels(self) -> list[str]:
        """Whose requests wait, the first one first."""
        return [one.message.label for one in self.waiting if isinstance(one.message, SubmitBatch | OpenSeries)]


class Engine:
    """Runs in the event loop; the ledger runs in its thread. `start` needs the performers that the app makes."""

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
        self.ledger_id, self.epoch, self.secret = ledger.ledger_id, ledger.epoch, ledger.secret
        self.position = ledger.head.position
        self.tail: deque[Line] = deque(maxlen=TAIL_LINES)
        self.owed = PendingWork(limits)
        self._open_images = OpenImages(open_images_max)
        self.questions: dict[str, Question] = {}
        self.storage_full = False
        self.lock = Lock(ledger.lock_holder)
        self._brake: Shortage | None = None
        self.observers: list[Observer] = []
        self._ledger = ledger
        self._policy = policy
        self._first_use_wait_s = first_use_wait_s
        self._wall_ms, self._steady_ms = wall_ms, steady_ms
        self._reports: deque[_Waiting] = deque()
        self._commands: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = LedgerThread("ledger-writer")
        self._jobs: deque[int] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._perform: Perform | None = None
        self._ask: Ask | None = None
        self._stopped = self._scrubbing = self._looking = False
        self._failure: Unusable | None = None

    # ---- in

    async def command(self, command: Command[R_co]) -> R_co:
        """Decide a command and wait for its answer. Raises Refused; after it nothing has changed.

        A batch of a series that was never used waits until the stores have answered, up to `first_use_wait_s`.
        """
        parked = sum(len(question.waiting) for question in self.questions.values())
        if len(self._commands) + parked >= COMMANDS_MAX:
            hint = "Repeat the request with the same request_id in a moment."
            raise Refused("busy", "The daemon is overloaded; the request was not accepted.", hint=hint)
        reply: R_co = await self._enter(self._commands, command)
        return reply

    async def report(self, report: Report) -> msgspec.Struct | None:
        """Take a report and wait until it is durable. The answer is None unless the report asks for one."""
        answer: msgspec.Struct | None = await self._enter(self._reports, report)
        return answer

    async def _enter(self, queue: deque[_Waiting], message: Message) -> Any:
        if self._stopped:
            raise _stopping()
        waiting = _Waiting(message)
        queue.append(waiting)
        self._wake.set()
        return await waiting.future

    # ---- the loop

    async def run(self, perform: Perform, ask: Ask) -> None:
        """Work until cancelled. Raises Unusable when a disk failed: then the process must end."""
        self._perform, self._ask = perform, ask
        try:
            rows = await self._in_thread(self._ledger.open_rows)
            self.owed.apply(rows, self._steady_ms())
            self._open_images.apply(rows)
            log.info("engine.started", position=self.position, **self.owed.open_counts())
            self._scrub_if_owed()
            while True:
                now = self._steady_ms()
                self._start_effects(now)
                await self._wait_for_work(now)
                if self._failure is not None:
                    raise self._failure
                group = self._gather()
                if group or self._looking:
                    await self._commit(group)
        finally:
            await self._stop()

    async def _wait_for_work(self, taken_ms: int) -> None:
        """Until a message comes, an effect ends, or one is due after `taken_ms`: none falls between take and wait."""
        if not (self._reports or self._commands or self._looking):
            wake_at = self.owed.wake_at_ms(taken_ms)
            delay = None if wake_at is None else max(0.0, (wake_at - self._steady_ms()) / 1000)
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                return
        self._wake.clear()

    def _gather(self) -> list[_Waiting]:
        """The next group. While the disk is full, reports go alone: a large command must not keep them out."""
        group = [self._reports.popleft() for _ in range(min(GROUP_MAX, len(self._reports)))]
        room = 0 if group and self.storage_full else GROUP_MAX - len(group)
        return group + [self._commands.popleft() for _ in range(min(room, len(self._commands)))]

    async def _commit(self, group: list[_Waiting]) -> None:
        """If cancelled, it still finishes the group, so that whatever is durable is answered."""
        work = asyncio.ensure_future(self._take_through(group))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            work.result()
            raise
        if self.storage_full or self.lock.is_met:
            await asyncio.sleep(LOCK_RETRY_S if self.lock.is_met else STORAGE_RETRY_S)

    async def _take_through(self, group: list[_Waiting]) -> None:
        try:
            await self._take_or_wait(group)
        except Exception as error:
            log.exception("engine.failed")
            for waiting in group:
                waiting.fail(Refused("internal"))
            if isinstance(error, LedgerUnusable):
                raise
            raise LedgerUnusable(f"Could not commit a group of messages: {error!r}.") from error

    async def _take_or_wait(self, group: list[_Waiting]) -> None:
        try:
            if not group:
                await self._in_thread(self._ledger.check_lock)
            else:
                await self._take(group)
        except LedgerLocked:
            self._put_back(group)
            self._locked()
        else:
            self.lock.gone(self._steady_ms())
        self._looking = self.lock.is_met

    async def _take(self, group: list[_Waiting]) -> None:
        try:
            decided = await self._decided(group, self._terms(group))
        except StorageFull:
            await self._no_room(group)
        else:
            self.storage_full = False
            self._committed(group, *decided)
            self._scrub_if_owed()

    def _put_back(self, group: list[_Waiting]) -> None:
        """In their order, before all that has come since."""
        reports = [waiting for waiting in group if isinstance(waiting.message, Report)]
        self._reports.extendleft(reversed(reports))
        self._commands.extendleft(reversed(group[len(reports) :]))

    def _locked(self) -> None:
        """Reports are facts and wait as long as the lock lasts; commands wait for a while."""
        now = self._steady_ms()
        self.lock.met(now)
        if self.lock.lasts_s(now) >= LOCKED_COMMANDS_S:
            while self._commands:
                self._commands.popleft().fail(self.lock.refusal())

    def _terms(self, group: list[_Waiting]) -> Terms:
        """What was open before the group; what the group itself adds is counted while it is decided."""
        labels = {waiting.message.label for waiting in group if isinstance(waiting.message, SubmitBatch)}
        room = {label: self._open_images.room_of(label) for label in labels}
        return Terms(self._wall_ms(), self._policy, self._brake, room=room)

    async def _decided(self, group: list[_Waiting], terms: Terms) -> tuple[list[Outcome], list[Line], float]:
        """The outcomes, the lines, and how many seconds that took."""
        messages, begun = [waiting.message for waiting in group], asyncio.get_running_loop().time()
        outcomes, lines = await self._in_thread(lambda: decide_group(self._ledger, messages, terms))
        return outcomes, lines, asyncio.get_running_loop().time() - begun

    def _committed(self, group: list[_Waiting], outcomes: list[Outcome], lines: list[Line], seconds: float) -> None:
        now = self._steady_ms()
        rows = {row_id(row): row for outcome in outcomes for row in outcome.rows}
        self.owed.apply(rows.values(), now)
        self._open_images.apply(rows.values())
        if lines:
            self.position = lines[-1].position
            self.tail.extend(lines)
            self._news.set_result(None)
            self._news = asyncio.get_running_loop().create_future()
        for waiting, outcome in zip(group, outcomes, strict=True):
            self._answer(waiting, outcome, now)
        self._take_up_decided(rows.values())
        notify_observers(self.observers, Committed(lines, rows, len(group), seconds))

    def _answer(self, waiting: _Waiting, outcome: Outcome, now: int) -> None:
        if isinstance(waiting.message, LaneStuck):
            stuck = waiting.message
            self.owed.stuck(stuck.lane, stuck.code, now, stuck.retry_after_s)
        if isinstance(outcome.error, Refused):
            waiting.fail(outcome.error)
        elif outcome.error is not None:
            log.error("engine.message_failed", message=type(waiting.message).__name__, exc_info=outcome.error)
            waiting.fail(Refused("internal"))
        elif isinstance(outcome.answer, SeriesUnknown):
            self._park(waiting, outcome.answer)
        else:
            waiting.answer(outcome.answer)
        if isinstance(waiting.message, SeriesAnswered) and outcome.error is None:
            self._take_up(waiting.message.series.key)

    async def _no_room(self, group: list[_Waiting]) -> None:
        """Commands are answered without writing; reports are facts and wait, in their order, until there is room."""
        if not self.storage_full:
            log.error("ledger.storage_full")
        self.storage_full = True
        self._put_back(group)
        commands = list(self._commands)
        try:
            decided = await self._decided(commands, Terms(self._wall_ms(), self._policy, LEDGER_FULL, full=True))
        except LedgerLocked:  # all of them are where they were
            self._locked()
            return
        for _ in commands:
            self._commands.popleft()
        self._committed(commands, *decided)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        self._jobs.append(since := self._steady_ms())
        try:
            return await self._thread.call(call)
        finally:
            self._jobs.remove(since)

    async def _stop(self) -> None:
        """Refuse every waiting message and every later one, such as the report of a worker that is ending."""
        self._stopped = True
        parked = [waiting for question in self.questions.values() for waiting in question.waiting]
        for waiting in (*self._reports, *self._commands, *parked):
            waiting.fail(_stopping())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.end()

    def _scrub_if_owed(self) -> None:
        if self._ledger.scrub_owed and not self._scrubbing:
            self._scrubbing = True
            self._spawn(self._scrub())

    async def _scrub(self) -> None:
        """What was erased leaves the write-ahead log as soon as no reader looks at what was before."""
        try:
            while not await self._in_thread(self._ledger.scrub):  # noqa: ASYNC110 (nobody says when a reader ends)
                await asyncio.sleep(SCRUB_RETRY_S)
        except Unusable as error:
            self._failure = error
            self._wake.set()
        finally:
            self._scrubbing = False

    # ---- a series that was never used

    def _park(self, waiting: _Waiting, unknown: SeriesUnknown) -> None:
        key = unknown.series.key
        question = self.questions.get(key)
        if question is None:
            question = self.questions[key] = Question(unknown, self._wall_ms(), [])
            self._spawn(self._ask_stores(question))
        question.waiting.append(waiting)
        asyncio.get_running_loop().call_later(self._first_use_wait_s, self._expire, key, waiting)

    async def _ask_stores(self, question: Question) -> None:
        assert self._ask is not None  # noqa: S101 (set by run, before any message is taken)
        try:
            await self._ask(question.unknown)
        except Exception:
            log.exception("question.died", series=question.unknown.series.key)
        finally:
            if self.questions.get(question.unknown.series.key) is question:
                del self.questions[question.unknown.series.key]
            for waiting in question.waiting:
                waiting.fail(_unanswered(question))

    def _take_up(self, key: str) -> None:
        """Decide again what waited for the series, before anything that came later."""
        question = self.questions.pop(key, None)
        if question is not None:
            self._commands.extendleft(reversed(question.waiting))
            question.waiting = []
            self._wake.set()

    def _take_up_decided(self, rows: Iterable[Row]) -> None:
        """A person may have said what a store holds of a series (`import`), so that it need not be asked any more."""
        for row in rows if self.questions else ():
            if isinstance(row, SeriesRow) and row.key in self.questions:
                asked = self.questions[row.key].unknown.stores
                if row.open or any(store.identity in row.known for store in asked):
                    self._take_up(row.key)

    def _expire(self, key: str, waiting: _Waiting) -> None:
        question = self.questions.get(key)
        if question is not None and waiting in question.waiting:
            question.waiting.remove(waiting)
            waiting.fail(_unanswered(question))

    # ---- out

    @property
    def shortage(self) -> Shortage | None:
        """Why the engine takes no new work, if so."""
        return self._brake or (LEDGER_FULL if self.storage_full else None)

    @property
    def brake(self) -> Shortage | None:
        return self._brake

    def set_brake(self, shortage: Shortage | None) -> None:
        """Refuse new work, or take it again (None). The disk guard does so before a disk is full."""
        self._brake = shortage

    def series_waiting(self, key: str, reason: str, hint: str) -> None:
        """Say why the stores have not answered yet about a series. Does nothing if nobody asks about it any more."""
        question = self.questions.get(key)
        if question is not None:
            question.reason, question.hint = reason, hint

    @property
    def oldest_job_s(self) -> float:
        """For how long the oldest job of the writer's thread has been waiting or at work; 0 if it has none."""
        return (self._steady_ms() - self._jobs[0]) / 1000 if self._jobs else 0.0

    @property
    def is_running(self) -> bool:
        return not self._stopped

    @property
    def queued(self) -> dict[str, int]:
        """Messages that wait for the next group, and for the stores to answer."""
        asking = sum(len(question.waiting) for question in self.questions.values())
        return {"report": len(self._reports), "command": len(self._commands), "first_use": asking}

    def news(self) -> asyncio.Future[None]:
        """Done at the next commit that appends something."""
        return self._news

    def in_trouble(self, lane: str) -> bool:
        return self.owed.in_trouble(lane)

    def look_for_lock(self) -> None:
        """See soon whether a group could be written, though none has come."""
        self._looking = True
        self._wake.set()

    def probe_soon(self, lane: str) -> None:
        self.owed.probe_soon(lane, self._steady_ms())
        self._wake.set()

    def _start_effects(self, now: int) -> None:
        for effect in self.owed.take(now):
            self._spawn(self._do(effect))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, effect: Effect) -> None:
        """A worker that dies is logged; what it should have done is still owed and tried again later.

        But for a disk that failed: that ends the engine, and nothing is tried again on it.
        """
        key: EffectKey = effect.key
        assert self._perform is not None  # noqa: S101 (set by run, before any effect is taken)
        try:
            await self._perform(effect)
        except Unusable as error:
            self._failure = error
        except Exception:
            log.exception("effect.died", effect=list(key))
        finally:
            self.owed.done(key, self._steady_ms())
            self._wake.set()


def _stopping() -> Refused:
    return Refused("not_running", "The daemon is stopping.")


def _unanswered(question: Question) -> Refused:
    return Refused(
        "series_unanswered",
        f"A store could not say which numbers it holds: {question.reason}.",
        hint=question.hint,
    )
