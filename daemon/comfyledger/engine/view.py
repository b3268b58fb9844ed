"""What everything outside the engine may see of it: the log's end, pending work, what waits, and why nothing is taken.

Queries, admission, the server and the workers read this and nothing else. Each property says what is so at the moment
of the call. Nothing here changes the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from comfyledger.core.boxes import BoxRow
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.moves import Attempt
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.engine.first_use import FirstUse, Question
from comfyledger.engine.inbox import Inbox
from comfyledger.engine.state import State
from comfyledger.ledger.commit_group import Shortage
from comfyledger.ledger.eventlog import Line


class EngineView:
    """An engine, read-only. `Engine.view` makes it once; it lives as long as the engine."""

    __slots__ = ("_first_use", "_inbox", "_state")

    def __init__(self, state: State, inbox: Inbox, first_use: FirstUse) -> None:
        self._state = state
        self._inbox = inbox
        self._first_use = first_use

    # ---- the log

    @property
    def ledger_id(self) -> str:
        return self._state.ledger_id

    @property
    def epoch(self) -> str:
        return self._state.epoch

    @property
    def secret(self) -> bytes:
        """The key of the digests by which a repeated request is known. It never leaves the daemon."""
        return self._state.secret

    @property
    def position(self) -> int:
        """The position of the last event on stable storage; 0 if there is none."""
        return self._state.position

    def news(self) -> asyncio.Future[None]:
        """Done at the next commit that appends something. All callers share it: shield it before you wait."""
        return self._state.news

    def lines_after(self, position: int, limit: int) -> list[Line] | None:
        """At most `limit` lines that follow `position`, from memory. None if memory no longer has the first of them."""
        tail = self._state.tail
        if not tail or tail[0].position > position + 1:
            return None
        start = position + 1 - tail[0].position  # positions have no gaps
        return [tail[place] for place in range(start, min(start + limit, len(tail)))]

    # ---- pending work

    def batch(self, batch_id: str) -> BatchRow | None:
        """An open batch; None if it is over or unknown."""
        return self._state.owed.batch(batch_id)

    def prompt(self, batch_id: str, index: int) -> PromptRow | None:
        """A prompt that is not done."""
        return self._state.owed.prompt(batch_id, index)

    @property
    def fit(self) -> Fit:
        """Which backends may run what. Only the engine changes it."""
        return self._state.owed.fit

    def attempts_at(self, backend: str) -> list[Attempt]:
        """The live attempts that were sent to a backend, and why some of them stay there."""
        return self._state.owed.moves.at(backend)

    def moves_due(self) -> list[PromptRow]:
        """The prompts whose live attempts are to be left behind now, because their backends do not work."""
        return self._state.owed.moves_due(self._state.steady_ms())

    def given_up(self) -> list[PromptRow]:
        """The attempts that nobody will be asked about, because their boxes of the fleet were given up."""
        return self._state.owed.moves.given_up()

    def orphans_due(self) -> list[ImageRow]:
        """The images that a box alone keeps which left, and that this box is to take up now."""
        return self._state.owed.orphans_due(self._state.steady_ms())

    def boxes_overdue(self) -> list[str]:
        """The boxes that left and are not waited for any longer, by a clock that never jumps."""
        return self._state.owed.boxes_overdue(self._state.steady_ms())

    @property
    def move_after_ms(self) -> Mapping[str, int]:
        """By backend: after how long a trouble the prompts that it has go to others; 0 or no value for never."""
        return self._state.owed.move_after_ms

    def image(self, batch_id: str, index: int) -> ImageRow | None:
        """An image that stores are owed, or are to delete."""
        return self._state.owed.image(batch_id, index)

    def user_of(self, batch_id: str) -> str | None:
        """The user of an open batch."""
        return self._state.owed.user_of(batch_id)

    def open_counts(self, label: str | None = None) -> dict[str, int]:
        """How many batches, prompts and uploads are open, and how many effects are running; of one label or of all."""
        owed = self._state.owed
        return owed.open_counts() if label is None else owed.open_counts_of(label)

    def open_work(self) -> OpenWorkSummary:
        """The open work by state, its age, and the lanes that are paused or in trouble."""
        return self._state.owed.standing(self._state.steady_ms())

    def is_paused(self, lane: str) -> bool:
        """Whether a person paused this lane."""
        return self._state.owed.paused(lane)

    def lane_here(self, lane: str) -> str:
        """As which lane a trouble is reported: one with a store or a disk is of this box alone."""
        return self._state.owed.lane_here(lane)

    def in_trouble(self, lane: str) -> bool:
        return self._state.owed.in_trouble(lane)

    # ---- what waits, and why nothing is taken

    @property
    def queued(self) -> dict[str, int]:
        """Messages that wait for the next group, and for the stores to answer."""
        return {
            "report": len(self._inbox.reports),
            "command": len(self._inbox.commands),
            "first_use": self._first_use.waiting,
        }

    @property
    def questions(self) -> Mapping[str, Question]:
        """The series that the stores are being asked about, by key, as of now."""
        return self._first_use.questions()

    def question(self, key: str) -> Question | None:
        """What the stores are being asked about this series."""
        return self._first_use.question(key)

    @property
    def shortage(self) -> Shortage | None:
        """Why the engine takes no new work; None if it does."""
        return self._state.shortage

    @property
    def brake(self) -> Shortage | None:
        """The part of `shortage` that `Engine.set_brake` set."""
        return self._state.brake

    @property
    def is_locked(self) -> bool:
        """Whether another program's lock, or a shared log that cannot be reached, keeps the engine from writing."""
        return self._state.lock.is_met

    @property
    def lock_text(self) -> str:
        """Who holds that lock, or why the log cannot be reached, as a sentence; empty if there is neither."""
        return self._state.lock.text

    @property
    def lock_code(self) -> str:
        """`ledger_locked` or `log_unreachable`."""
        return self._state.lock.code

    def boxes(self) -> list[BoxRow]:
        """The boxes of the fleet, those that have left among them, by name."""
        return [row for _, row in sorted(self._state.boxes.items())]

    @property
    def is_member(self) -> bool:
        """Whether this box takes part in its fleet; true without one. One that was taken for dead must join again."""
        return self._state.is_member

    @property
    def term(self) -> int:
        """In which this box takes part in its fleet, or took part last; 0 without one."""
        return self._state.term

    @property
    def is_running(self) -> bool:
        """False from the moment at which the engine refuses all messages because it stops."""
        return not self._state.stopped

    @property
    def oldest_job_s(self) -> float:
        """For how long the oldest job of the writer's thread has been waiting or at work; 0 if it has none."""
        jobs = self._state.jobs
        return (self._state.steady_ms() - jobs[0]) / 1000 if jobs else 0.0
