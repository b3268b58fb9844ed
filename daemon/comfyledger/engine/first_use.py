"""Commands for a series that was never used: they wait until the stores have said which numbers they hold.

    command ─▶ decide: SeriesUnknown ─▶ parked ─▶ the stores are asked, once for each series
                  ▲                        │
                  └── decided again ◀──────┴── they have answered, or an import said what they hold
                                           └── refused: the wait is over, or nobody asks any more

Nothing of it is on disk: a command that waits was not acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import structlog

from comfyledger.core.commands import OpenSeries, SubmitBatch
from comfyledger.core.results import SeriesUnknown
from comfyledger.core.rows import Row, SeriesRow
from comfyledger.engine.inbox import Waiting
from comfyledger.errors import Refused

HINT_LATER: Final = 'Repeat the request later, or set first_use = "trust" if the stores are known to be empty.'

log = structlog.get_logger("comfyledger.engine")

Ask = Callable[[SeriesUnknown], Coroutine[Any, Any, None]]
"""Asks the stores and reports their answers. It ends early once no command waits."""


class Question(msgspec.Struct, frozen=True):
    """A series that the stores are being asked about. `reason`: why not all of them have answered.

    `labels`: of the clients whose commands wait, one for each command, the first one first.
    """

    unknown: SeriesUnknown
    since_ms: int
    labels: tuple[str, ...] = ()
    reason: str = "asking the stores"
    hint: str = HINT_LATER


class _Parked:
    """A question and the commands that wait for its answer."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.waiting: dict[Waiting, None] = {}
        """In the order in which they came."""

    def shown(self) -> Question:
        messages = (waiting.message for waiting in self.waiting)
        labels = tuple(one.label for one in messages if isinstance(one, SubmitBatch | OpenSeries))
        return msgspec.structs.replace(self.question, labels=labels)

    def refusal(self) -> Refused:
        return Refused(
            "series_unanswered",
            f"A store could not say which numbers it holds: {self.question.reason}.",
            hint=self.question.hint,
        )


class FirstUse:
    """The commands that wait for stores. `wait_s`: for how long each waits at most.

    `take_up` gets commands that are to be decided again, before all others. `spawn` runs a coroutine until the engine
    ends. `run` of the engine sets `ask`.
    """

    def __init__(
        self,
        wait_s: float,
        wall_ms: Callable[[], int],
        take_up: Callable[[Sequence[Waiting]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.ask: Ask | None = None
        self._wait_s = wait_s
        self._wall_ms = wall_ms
        self._take_up_commands = take_up
        self._spawn = spawn
        self._parked: dict[str, _Parked] = {}

    # ---- read

    @property
    def waiting(self) -> int:
        """How many commands wait."""
        return len({waiting for parked in self._parked.values() for waiting in parked.waiting})

    def questions(self) -> dict[str, Question]:
        """What is being asked, by the key of the series."""
        return {key: parked.shown() for key, parked in self._parked.items()}

    def question(self, key: str) -> Question | None:
        """What is being asked about this series."""
        parked = self._parked.get(key)
        return parked.shown() if parked is not None else None

    # ---- changed

    def park(self, waiting: Waiting, unknown: SeriesUnknown) -> None:
        """Let a command wait for all of its series. The stores are asked if nobody asks them about one of these yet."""
        for one in (unknown, *unknown.also):
            parked = self._parked.get(one.series.key)
            if parked is None:
                parked = self._parked[one.series.key] = _Parked(Question(one, self._wall_ms()))
                self._spawn(self._ask_stores(parked))
            parked.waiting[waiting] = None
        asyncio.get_running_loop().call_later(self._wait_s, self._expire, waiting)

    def take_up(self, key: str) -> None:
        """Have all commands of a series decided again that wait for no other series."""
        parked = self._parked.pop(key, None)
        if parked is not None:
            commands, parked.waiting = parked.waiting, {}
            self._take_up_commands([one for one in commands if next(self._waited_for(one), None) is None])

    def take_up_decided(self, rows: Iterable[Row]) -> None:
        """After a commit: an import may have said what a store holds of a series, so that it need not be asked."""
        for row in rows if self._parked else ():
            if isinstance(row, SeriesRow) and row.key in self._parked:
                asked = self._parked[row.key].question.unknown.stores
                if row.open or any(store.identity in row.known for store in asked):
                    self.take_up(row.key)

    def explain(self, key: str, reason: str, hint: str) -> None:
        """Say why the stores have not answered yet. Does nothing if nobody asks about this series any more."""
        parked = self._parked.get(key)
        if parked is not None:
            parked.question = msgspec.structs.replace(parked.question, reason=reason, hint=hint)

    def refuse_all(self, refusal: Refused) -> None:
        """Refuse every command that waits, because the engine stops."""
        for parked in self._parked.values():
            for waiting in parked.waiting:
                waiting.fail(refusal)

    async def _ask_stores(self, parked: _Parked) -> None:
        assert self.ask is not None  # noqa: S101 (set by Engine.run, before any message is taken)
        unknown = parked.question.unknown
        try:
            await self.ask(unknown)
        except Exception:
            log.exception("question.died", series=unknown.series.key)
        finally:
            if self._parked.get(unknown.series.key) is parked:
                del self._parked[unknown.series.key]
            for waiting in list(parked.waiting):
                self._give_up(waiting, parked.refusal())

    def _expire(self, waiting: Waiting) -> None:
        parked = next(self._waited_for(waiting), None)
        if parked is not None:
            self._give_up(waiting, parked.refusal())

    def _give_up(self, waiting: Waiting, refusal: Refused) -> None:
        for parked in list(self._waited_for(waiting)):
            del parked.waiting[waiting]
        waiting.fail(refusal)

    def _waited_for(self, waiting: Waiting) -> Iterator[_Parked]:
        return (parked for parked in self._parked.values() if waiting in parked.waiting)
