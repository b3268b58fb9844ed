"""What one webhook has to deliver: which event is next, what its outcome means, and how far the webhook has come.

    log ──offer──▶ window ──take──▶ delivery ──delivered, failed──▶ progress

Events of one stream go one after the other, streams beside each other. A fault of the endpoint holds everything, and
one delivery at a time tries whether it works again, each time one of another stream. An event that its endpoint alone
does not take is put aside (`owed`), with what follows in its stream, so that the others go on. Nothing is skipped.

Pure: times are in milliseconds since 1970 and come as arguments, as `chance` does, a random number from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from comfyledger.core.webhooks import OwedDelivery, WebhookProgress, retry_delay_s

RUNNING_MAX: Final = 4
"""Deliveries at the same time."""
OWED_RUNNING_MAX: Final = 2
"""Those of them that were put aside, so that slow ones do not keep the others waiting."""
WINDOW: Final = 256
"""Events that wait or were delivered out of turn. More are not read from the log."""
OWED_MAX: Final = 1_000
"""Events that are put aside. Beyond it the webhook waits, and nothing is lost."""
REFUSED_MAX: Final = 3
"""So many streams in a row that are refused are the endpoint's fault, not that of the events."""
PROBE_OTHERS_S: Final = 60.0
"""While only a few streams have failed, another one is tried after this time: perhaps it is not the endpoint."""

Whose = Literal["endpoint", "event", "gone"]


class Fault(msgspec.Struct, frozen=True):
    """Why an event was not taken. `gone`: the endpoint wants nothing any more. `text` is for people."""

    whose: Whose
    code: str
    text: str
    retry_after_s: float = 0.0


class Offered(msgspec.Struct, frozen=True, gc=False):
    """An event of the log that is to be delivered."""

    position: int
    stream: str
    at_ms: int


class _Failure(msgspec.Struct, frozen=True, gc=False):
    """The failed tries of an event that is not put aside."""

    tries: int
    at_ms: int


class Deliveries:
    """The state of one webhook. `scanned`: up to where the log was offered."""

    def __init__(self, progress: WebhookProgress) -> None:
        self.scanned = progress.position
        self._progress = progress
        self._waiting: dict[int, Offered] = {}
        self._ahead = {one for one in progress.ahead if one > progress.position}
        self._owed = {one.position: one for one in progress.owed}
        self._running: dict[int, str] = {}
        self._failures: dict[int, _Failure] = {}
        self._held = progress.tries > 0
        self._next_ms = 0
        """While it is held: when the next try is due. At a start at once."""
        self._last_try_ms = 0
        self._refused = 0
        self._changed = False

    # ---- in

    @property
    def has_room(self) -> bool:
        """Whether more may be offered. After a restart, all that was delivered out of turn must be offered again."""
        is_behind = self.scanned < max(self._ahead, default=0)
        return is_behind or len(self._waiting) + len(self._ahead) < WINDOW

    def offer(self, events: Iterable[Offered], scanned: int) -> None:
        """Take the events after `scanned` that are to be delivered, in their order. The log was read up to `scanned`.

        What was delivered out of turn, or put aside, before a restart is known and left out.
        """
        for one in events:
            if one.position not in self._ahead and one.position not in self._owed:
                self._waiting[one.position] = one
        self.scanned = scanned
        self._put_behind()
        self._drop_passed()

    # ---- out

    def take(self, now_ms: int) -> int | None:
        """The position of an event to deliver now; None if none is due."""
        position = self._probe(now_ms) if self._held else self._next(now_ms)
        if position is not None:
            self._running[position] = self._stream_of(position)
            self._last_try_ms = now_ms
        return position

    def _next(self, now_ms: int) -> int | None:
        if len(self._running) >= RUNNING_MAX:
            return None
        if sum(position in self._owed for position in self._running) < OWED_RUNNING_MAX:
            for one in self._owed_heads():
                if one.next_ms <= now_ms:
                    return one.position
        return next(self._heads(), None)

    def _probe(self, now_ms: int) -> int | None:
        """The event whose stream was tried least: if others are taken, it is not the endpoint."""
        if self._running or now_ms < self._probe_at_ms():
            return None
        owed = (one.position for one in self._owed_heads() if one.next_ms <= now_ms)
        heads = [*self._heads(), *owed]
        return min(heads, key=lambda position: (self._tries(position), position), default=None)

    def _probe_at_ms(self) -> int:
        tried = sum(self._tries(position) > 0 for position in self._waiting)
        is_untried = any(not self._tries(position) for position in self._heads())
        if tried and is_untried and tried < REFUSED_MAX:
            return min(self._next_ms, self._last_try_ms + int(PROBE_OTHERS_S * 1000))
        return self._next_ms

    def wake_at_ms(self) -> int | None:
        """When something is due that failed; None if nothing is. If that is over, it waits for an outcome."""
        owed_ms = min((one.next_ms for one in self._owed_heads()), default=None)
        if not self._held:
            return owed_ms
        if next(self._heads(), None) is not None:
            return self._probe_at_ms()
        return None if owed_ms is None else max(owed_ms, self._next_ms)

    def _heads(self) -> Iterator[int]:
        """The first event of each stream of which nothing runs and nothing is put aside, oldest first."""
        busy = {*self._running.values(), *(one.stream for one in self._owed.values())}
        for one in self._waiting.values():
            if one.stream not in busy:
                busy.add(one.stream)
                yield one.position

    def _owed_heads(self) -> Iterator[OwedDelivery]:
        busy = set(self._running.values())
        for one in sorted(self._owed.values(), key=lambda one: one.position):
            if one.stream not in busy:
                busy.add(one.stream)
                yield one

    def _stream_of(self, position: int) -> str:
        waiting = self._waiting.get(position)
        return waiting.stream if waiting is not None else self._owed[position].stream

    def _tries(self, position: int) -> int:
        owed, failure = self._owed.get(position), self._failures.get(position)
        return owed.tries if owed is not None else failure.tries if failure is not None else 0

    # ---- outcomes

    def delivered(self, position: int, now_ms: int) -> None:
        """The endpoint took an event: whatever was wrong with it is over."""
        self._running.pop(position, None)
        self._failures.pop(position, None)
        if self._waiting.pop(position, None) is not None:
            self._ahead.add(position)
            self._drop_passed()
        self._owed.pop(position, None)
        self._held, self._refused = False, 0
        self._note(delivered_ms=now_ms, failing_ms=0, tries=0, code="", text="")

    def failed(self, position: int, fault: Fault, now_ms: int, chance: float) -> None:
        """The endpoint did not take an event. `gone` is for the caller: it pauses the webhook."""
        self._running.pop(position, None)
        self._note(failing_ms=self._progress.failing_ms or now_ms, code=fault.code, text=fault.text)
        owed = self._owed.get(position)
        if owed is not None:
            self._owed[position] = self._again(owed, fault, now_ms, chance)
            if self._held:
                self._hold(fault, now_ms, chance)
        elif fault.whose != "gone" and not self._is_put_aside(position, fault, now_ms, chance):
            self._hold(fault, now_ms, chance)

    def _is_put_aside(self, position: int, fault: Fault, now_ms: int, chance: float) -> bool:
        """Put an event aside if it, and not the endpoint, is at fault, and if there is room for it."""
        before = self._failures.get(position)
        failure = _Failure(self._tries(position) + 1, now_ms)
        self._failures[position] = failure
        if fault.whose == "event":
            self._refused += 1
            is_its_own = not self._held and self._refused < REFUSED_MAX
        else:  # others were taken since it failed before
            is_its_own = before is not None and self._progress.delivered_ms > before.at_ms
        is_its_own = is_its_own or (before is not None and self._is_stuck)
        if not is_its_own or len(self._owed) >= OWED_MAX:
            return False
        event = self._waiting.pop(position)
        del self._failures[position]
        aside = OwedDelivery(position, event.stream, failure.tries - 1)
        self._owed[position] = self._again(aside, fault, now_ms, chance)
        self._put_behind()
        self._drop_passed()
        return True

    @property
    def _is_stuck(self) -> bool:
        """Whether later events were taken until the window was full, and each that is left to try has failed: then no
        other can show that it is not the endpoint.
        """
        return not self.has_room and bool(self._ahead) and all(self._tries(position) for position in self._heads())

    def _again(self, owed: OwedDelivery, fault: Fault, now_ms: int, chance: float) -> OwedDelivery:
        tries = owed.tries + 1
        next_ms = now_ms + int(retry_delay_s(tries, chance, fault.retry_after_s) * 1000)
        return replace(owed, tries=tries, next_ms=next_ms, code=fault.code)

    def _put_behind(self) -> None:
        """What follows an owed event of its stream waits behind it, as far as there is room."""
        streams = {one.stream for one in self._owed.values()}
        for one in [one for one in self._waiting.values() if one.stream in streams]:
            if len(self._owed) >= OWED_MAX:
                return
            self._owed[one.position] = OwedDelivery(one.position, one.stream)
            self._failures.pop(one.position, None)
            del self._waiting[one.position]
            self._changed = True

    def _drop_passed(self) -> None:
        """What the position has passed is no longer out of turn, and takes no room."""
        self._ahead = {one for one in self._ahead if one > self.position}

    def _hold(self, fault: Fault, now_ms: int, chance: float) -> None:
        """Several that fail together are one failure: the others ran before it was known."""
        if self._held and now_ms < self._next_ms:
            return
        tries = self._progress.tries + 1
        self._held = True
        self._next_ms = now_ms + int(retry_delay_s(tries, chance, fault.retry_after_s) * 1000)
        self._note(tries=tries)

    def _note(self, **changes: int | str) -> None:
        self._progress = replace(self._progress, **changes)
        self._changed = True

    def resumed(self) -> None:
        """A person says that it works again: the next try is due at once, and days of failing count anew."""
        self._held, self._next_ms, self._refused = False, 0, 0
        self._owed = {position: replace(one, next_ms=0) for position, one in self._owed.items()}
        self._note(failing_ms=0, tries=0)

    # ---- how far it has come

    @property
    def position(self) -> int:
        """Everything up to here is delivered or put aside."""
        return next(iter(self._waiting), self.scanned + 1) - 1

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save that `saved` did not have, but for events that are not delivered."""
        return self._changed

    @property
    def oldest(self) -> Offered | None:
        """The oldest event that is neither delivered nor put aside."""
        return next(iter(self._waiting.values()), None)

    @property
    def next_ms(self) -> int:
        """When something that failed is tried again; 0 if nothing failed."""
        at_ms = self.wake_at_ms() if self._held or self._owed else None
        return at_ms or 0

    def progress(self) -> WebhookProgress:
        """To be saved. What was delivered beyond `position` is named, so that it is not delivered again."""
        owed = tuple(self._owed[position] for position in sorted(self._owed))
        ahead = tuple(sorted(self._ahead))
        self._progress = replace(self._progress, position=self.position, ahead=ahead, owed=owed)
        return self._progress

    def saved(self) -> None:
        """To be called before what `progress` gave is saved."""
        self._changed = False

    def not_saved(self) -> None:
        """It could not be saved."""
        self._changed = True
