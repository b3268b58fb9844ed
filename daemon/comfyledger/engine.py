"""The heart: messages in, one group at a time through the ledger, answers and effects out.

    reports, commands ─▶ group ─▶ writer thread: savepoint · decide · append · evolve ─▶ COMMIT
                                                                                          │
              effects ◀─ owed index ◀─ changed rows ◀─ answers leave, subscribers wake ◀──┘

Reports have a lane of their own before commands and are never refused: they are bounded by the effects in flight.
Commands are bounded and refused with `busy`. While one group is being committed the next one gathers; no second group
is decided meanwhile. Nothing leaves before its commit, and if a commit fails nothing has happened.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog

from comfyledger.core.commands import Command, OpenSeries, SubmitBatch
from comfyledger.core.decide import Message, decide, needs
from comfyledger.core.draft import Policy, SeriesUnknown
from comfyledger.core.effects import Effect, EffectKey
from comfyledger.core.owed import Limits, Owed
from comfyledger.core.reports import LaneStuck, Report, SeriesAnswered
from comfyledger.core.slices import Row, row_id
from comfyledger.core.values import Blob
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ledger import Ledger, StorageFull

GROUP_MAX: Final = 256
COMMANDS_MAX: Final = 1_000
TAIL_LINES: Final = 4_096
STORAGE_RETRY_S: Final = 1.0

log = structlog.get_logger("comfyledger.engine")

Perform = Callable[[Effect], Coroutine[Any, Any, None]]
Ask = Callable[[SeriesUnknown], Coroutine[Any, Any, None]]


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
            self.future.exception()  # a client that has left need not be told


class _Outcome(msgspec.Struct, frozen=True):
    """What the writer's thread made of one message: an answer and rows, or an error."""

    answer: msgspec.Struct | None = None
    rows: tuple[Row, ...] = ()
    error: Exception | None = None


class Question(msgspec.Struct):
    """A series that the stores are being asked about, and the commands that wait for it."""

    unknown: SeriesUnknown
    since_ms: int
    waiting: list[_Waiting]
    reason: str = "asking the stores"


class Engine:
    """Runs in the event loop; the ledger runs in its thread. `start` needs the performers that the app makes."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        policy: Policy,
        limits: Limits,
        first_use_wait_s: float,
        wall_ms: Callable[[], int],
        steady_ms: Callable[[], int],
    ) -> None:
        self.ledger_id, self.epoch, self.secret = ledger.ledger_id, ledger.epoch, ledger.secret
        self.position = ledger.head.position
        self.tail: deque[Line] = deque(maxlen=TAIL_LINES)
        self.owed = Owed(limits)
        self.questions: dict[str, Question] = {}
        self.storage_full = False
        self._ledger = ledger
        self._policy = policy
        self._first_use_wait_s = first_use_wait_s
        self._wall_ms, self._steady_ms = wall_ms, steady_ms
        self._reports: deque[_Waiting] = deque()
        self._commands: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._tasks: set[asyncio.Task[None]] = set()
        self._perform: Perform | None = None
        self._ask: Ask | None = None

    # ---- in

    async def command(self, command: Command) -> msgspec.Struct | None:
        """Decide a command and wait for its answer. Raises Refused; after it nothing has changed.

        A batch of a series that was never used waits until the stores have answered, up to `first_use_wait_s`.
        """
        if len(self._commands) >= COMMANDS_MAX:
            raise Refused("busy", hint="Repeat the request with the same request_id in a moment.")
        return await self._enter(self._commands, command)

    async def report(self, report: Report) -> msgspec.Struct | None:
        """Take a report and wait until it is durable. The answer is None unless the report asks for one."""
        return await self._enter(self._reports, report)

    async def _enter(self, queue: deque[_Waiting], message: Message) -> msgspec.Struct | None:
        waiting = _Waiting(message)
        queue.append(waiting)
        self._wake.set()
        return await waiting.future

    # ---- the loop

    async def run(self, perform: Perform, ask: Ask) -> None:
        """Work until cancelled. Raises LedgerUnusable when the disk failed: then the process must end."""
        self._perform, self._ask = perform, ask
        rows = await self._in_thread(self._ledger.open_rows)
        self.owed.apply(rows, self._steady_ms())
        log.info("engine.started", position=self.position, **self.owed.open_counts())
        try:
            while True:
                self._start_effects()
                await self._wait_for_work()
                group = self._gather()
                if group:
                    await self._commit(group)
        finally:
            await self._stop()

    async def _wait_for_work(self) -> None:
        if not (self._reports or self._commands):
            now = self._steady_ms()
            wake_at = self.owed.wake_at_ms(now)
            delay = None if wake_at is None else max(0.0, (wake_at - now) / 1000)
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                return
        self._wake.clear()

    def _gather(self) -> list[_Waiting]:
        group = [self._reports.popleft() for _ in range(min(GROUP_MAX, len(self._reports)))]
        room = GROUP_MAX - len(group)
        return group + [self._commands.popleft() for _ in range(min(room, len(self._commands)))]

    async def _commit(self, group: list[_Waiting]) -> None:
        messages = [waiting.message for waiting in group]
        try:
            outcomes, lines = await self._in_thread(lambda: _decide_group(self._ledger, messages, self._now()))
        except StorageFull:
            await self._no_room(group)
            return
        except Exception as error:
            for waiting in group:
                waiting.fail(Refused("internal"))
            raise LedgerUnusable(f"A group could not be committed: {error!r}") from error
        self.storage_full = False
        self._committed(group, outcomes, lines)

    def _now(self) -> tuple[int, Policy]:
        return self._wall_ms(), self._policy

    def _committed(self, group: list[_Waiting], outcomes: list[_Outcome], lines: list[Line]) -> None:
        now = self._steady_ms()
        rows = {row_id(row): row for outcome in outcomes for row in outcome.rows}
        self.owed.apply(rows.values(), now)
        if lines:
            self.position = lines[-1].position
            self.tail.extend(lines)
            self._news.set_result(None)
            self._news = asyncio.get_running_loop().create_future()
        for waiting, outcome in zip(group, outcomes, strict=True):
            self._answer(waiting, outcome, now)

    def _answer(self, waiting: _Waiting, outcome: _Outcome, now: int) -> None:
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
        """Commands are refused; reports are facts and wait, in their order, until there is room again."""
        if not self.storage_full:
            log.error("ledger.storage_full")
        self.storage_full = True
        reports = [waiting for waiting in group if isinstance(waiting.message, Report)]
        self._reports.extendleft(reversed(reports))
        for waiting in group:
            if waiting not in reports:
                waiting.fail(
                    Refused("storage_full", hint="Make room on the disk of the ledger; work resumes by itself.")
                )
        await asyncio.sleep(STORAGE_RETRY_S)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in (*self._reports, *self._commands):
            waiting.fail(Refused("not_running", "The daemon is stopping."))
        self._thread.shutdown(wait=True)

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

    def _expire(self, key: str, waiting: _Waiting) -> None:
        question = self.questions.get(key)
        if question is not None and waiting in question.waiting:
            question.waiting.remove(waiting)
            waiting.fail(_unanswered(question))

    # ---- out

    def news(self) -> asyncio.Future[None]:
        """Done at the next commit that appends something."""
        return self._news

    def in_trouble(self, lane: str) -> bool:
        return self.owed.in_trouble(lane)

    def probe_soon(self, lane: str) -> None:
        self.owed.probe_soon(lane, self._steady_ms())
        self._wake.set()

    def _start_effects(self) -> None:
        for effect in self.owed.take(self._steady_ms()):
            self._spawn(self._do(effect))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, effect: Effect) -> None:
        """A worker that dies is logged; what it should have done is still owed and tried again later."""
        key: EffectKey = effect.key
        assert self._perform is not None  # noqa: S101 (set by run, before any effect is taken)
        try:
            await self._perform(effect)
        except Exception:
            log.exception("effect.died", effect=list(key))
        finally:
            self.owed.done(key, self._steady_ms())
            self._wake.set()


def _unanswered(question: Question) -> Refused:
    return Refused(
        "series_unanswered",
        f"A store could not say which numbers it holds: {question.reason}.",
        hint='Repeat the request later, or set first_use = "trust" if the stores are known to be empty.',
    )


def _decide_group(
    ledger: Ledger, messages: list[Message], now: tuple[int, Policy]
) -> tuple[list[_Outcome], list[Line]]:
    """One group, in the writer's thread. Raises only what makes the whole group not have happened."""
    now_ms, policy = now
    with ledger.group() as lines:
        outcomes = [_decide_one(ledger, message, now_ms, policy) for message in messages]
    return outcomes, lines


def _decide_one(ledger: Ledger, message: Message, now_ms: int, policy: Policy) -> _Outcome:
    try:
        with ledger.message():
            state = ledger.load(needs(message))
            decision = decide(state, message, now_ms, ledger.head.position, policy)
            ledger.write(decision.recorded, state, _texts(message))
    except Refused as refusal:
        return _Outcome(error=refusal)
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        return _Outcome(error=error)
    return _Outcome(answer=decision.answer, rows=tuple(state.changed.values()))


def _texts(message: Message) -> Iterable[Blob]:
    """The texts that the events of a message name; written only if there are events."""
    match message:
        case SubmitBatch():
            return (message.template, *message.texts)
        case OpenSeries():
            return ()
        case _:
            words = getattr(message, "words", None)
            return (words,) if isinstance(words, Blob) else ()
