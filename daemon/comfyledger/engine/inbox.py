"""Messages that wait to be decided: reports of workers first, then commands, each in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from comfyledger.core.commands import JoinBox
from comfyledger.core.decide.decide import Message
from comfyledger.core.reports import Report
from comfyledger.errors import Refused

GROUP_MAX: Final = 256
"""Messages of one group, reports and commands together."""


class Waiting:
    """A message with the future of the caller that waits for its answer."""

    __slots__ = ("future", "is_refused", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.is_refused = False
        self.future: asyncio.Future[msgspec.Struct | None] = asyncio.get_running_loop().create_future()

    def answer(self, value: msgspec.Struct | None) -> None:
        """Give the caller its answer. Does nothing if the caller has left."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Have the caller raise `error`. Does nothing if the caller has left."""
        self.is_refused = True
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # nobody reads the error of a client that has left


class Inbox:
    """Two queues, of reports and of commands, and the event that wakes the engine. It sets no limit on either queue.

    `joining`: with what a box joins its fleet, for which everything else waits.
    """

    def __init__(self) -> None:
        self.joining: deque[Waiting] = deque()
        self.reports: deque[Waiting] = deque()
        self.commands: deque[Waiting] = deque()
        self.wake = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self.reports or self.commands)

    def add(self, message: Message) -> Waiting:
        """Put a message behind all others of its sort, and wake the engine."""
        waiting = Waiting(message)
        if isinstance(message, JoinBox):
            self.joining.append(waiting)
        else:
            (self.reports if isinstance(message, Report) else self.commands).append(waiting)
        self.wake.set()
        return waiting

    def take_joining(self) -> list[Waiting]:
        """Remove and return with what the box joins."""
        taken = list(self.joining)
        self.joining.clear()
        return taken

    def take_group(self, *, reports_alone: bool) -> list[Waiting]:
        """Remove and return the next group. `reports_alone`: no command joins a group that has reports."""
        group = [self.reports.popleft() for _ in range(min(GROUP_MAX, len(self.reports)))]
        room = 0 if group and reports_alone else GROUP_MAX - len(group)
        return group + [self.commands.popleft() for _ in range(min(room, len(self.commands)))]

    def put_back(self, group: Sequence[Waiting]) -> None:
        """Return the messages of a group to the front of their queues, in the order that they had."""
        if group and isinstance(group[0].message, JoinBox):
            self.joining.extendleft(reversed(group))
            return
        reports = [waiting for waiting in group if isinstance(waiting.message, Report)]
        self.reports.extendleft(reversed(reports))
        self.commands.extendleft(reversed(group[len(reports) :]))

    def refuse_commands(self, refusal: Refused) -> None:
        """Refuse every command that waits. Reports stay: they are facts."""
        while self.commands:
            self.commands.popleft().fail(refusal)
