"""A subscription: a cursor over the log. Past events first, then new ones, without gaps or duplicates.

Near the head, lines come from the engine's memory; otherwise from the log in short pages. For a slow client one page is
kept, and the next one is read when this one is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.core.events import KINDS
from comfyledger.core.naming.slugs import fold
from comfyledger.engine import EngineView
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Reader
from comfyledger.queries.serialize import texts_of

PAGE_LINES: Final = 200
FRAMES_KEPT_MAX: Final = 1_024
REACHED_S: Final = 5.0
"""So long a box waits for what another box of its fleet has."""
_WORDS: Final = re.compile(r'"words":"([0-9a-f]{64})"')

Send = Callable[[bytes], Awaitable[None]]
"""Sends one frame."""
Write = Callable[[Line, bytes], bytes]
"""The frame of a line, for one subscriber. What is the same for all is made already: see `wire.event_rest`."""


class FrameCache:
    """Frames of the newest events, encoded once for all subscribers. Events with texts are left out: texts can be
    forgotten.
    """

    def __init__(self) -> None:
        self._rests: OrderedDict[int, bytes] = OrderedDict()

    def get(self, position: int) -> bytes | None:
        return self._rests.get(position)

    def put(self, position: int, rest: bytes) -> None:
        self._rests[position] = rest
        if len(self._rests) > FRAMES_KEPT_MAX:
            self._rests.popitem(last=False)


class Filter(msgspec.Struct, frozen=True):
    """The lines that a subscription wants; None means all."""

    batch_id: str | None = None
    user_key: str | None = None
    kinds: frozenset[str] | None = None

    def takes(self, line: Line) -> bool:
        return (
            (self.batch_id is None or line.stream == self.batch_id)
            and (self.user_key is None or line.user == self.user_key)
            and (self.kinds is None or line.kind in self.kinds)
        )


async def reached(message: wire.Subscribe, view: EngineView, box: str) -> None:
    """Wait until a box of a fleet has a position that another box has told, at most `REACHED_S`. Raises Refused(behind)
    if it does not have it by then. `box`: its name; empty without a fleet, where no position is beyond the log.
    """
    if not box or message.epoch != view.epoch or message.after <= view.position:
        return
    try:
        async with asyncio.timeout(REACHED_S):
            while message.after > view.position:
                await asyncio.shield(view.news())
    except TimeoutError:
        text = f"The box {box} has the log up to {view.position}, and does not have {message.after} yet."
        hint = "Ask again in a moment, or ask another box."
        raise Refused("behind", text, hint=hint, path="$.data.after", retry_after_s=1.0) from None


def checked(message: wire.Subscribe, view: EngineView) -> tuple[int, Filter]:
    """The position at which a subscription begins, and its filter.

    Raises Refused(epoch_changed, unknown_position, invalid_field) with the present epoch or position.
    """
    if message.epoch is None and message.after > 0:
        hint = "Give the `epoch` that came with the position."
        raise Refused("invalid_field", "A position has no meaning without its epoch.", hint=hint, path="$.data.epoch")
    if message.epoch is not None and message.epoch != view.epoch:
        raise Refused(
            "epoch_changed",
            f"The ledger is in epoch {view.epoch}, not in {message.epoch[:64]!r}.",
            hint="Forget the positions of the earlier epoch and subscribe from 0.",
            path="$.data.epoch",
        )
    if message.after > view.position:
        raise Refused(
            "unknown_position",
            f"The log ends at {view.position}; there is no position {message.after}.",
            hint="Subscribe after a position from an event or a reply.",
            path="$.data.after",
        )
    unknown = set(message.kinds or ()) - set(KINDS)
    if unknown:
        hint = f"Known: {', '.join(KINDS)}."
        raise Refused("invalid_field", f"There is no event {min(unknown)[:64]!r}.", hint=hint, path="$.data.kinds")
    user = fold(message.username) if message.username is not None else None
    kinds = frozenset(message.kinds) if message.kinds is not None else None
    after = view.position if message.after == -1 else message.after
    return after, Filter(message.batch_id, user, kinds)


def frames_for(subscription: str) -> Write:
    """Frames of a websocket."""
    return lambda _, rest: wire.event_frame(subscription, rest)


class Cursor:
    """The progress of one subscription through the log."""

    def __init__(
        self, write: Write, view: EngineView, reader: Reader, frames: FrameCache, after: int, wanted: Filter
    ) -> None:
        self._write = write
        self._view = view
        self._reader = reader
        self._frames = frames
        self._position = after
        self._wanted = wanted

    async def run(self, send: Send) -> None:
        """Send until cancelled, or until `send` raises."""
        while True:
            news = self._view.news()
            lines = await self._reader.seen(await self._next())
            for line in lines:
                await send(await self._frame(line))
            if not lines and self._position >= self._view.position:
                await asyncio.shield(news)

    async def _next(self) -> list[Line]:
        page = self._view.lines_after(self._position, PAGE_LINES)
        if page is None:
            return await self._from_log()
        if page:
            self._position = page[-1].position
        return [line for line in page if self._wanted.takes(line)]

    async def _from_log(self) -> list[Line]:
        head = self._view.position
        page = await self._reader.page(
            after=self._position, limit=PAGE_LINES, stream=self._wanted.batch_id, user=self._wanted.user_key, upto=head
        )
        self._position = page[-1].position if len(page) == PAGE_LINES else head
        return [line for line in page if self._wanted.takes(line)]

    async def _frame(self, line: Line) -> bytes:
        rest = self._frames.get(line.position)
        if rest is None:
            found = _WORDS.search(line.data)
            texts = await texts_of(self._reader, [found[1]]) if found else {}
            rest = wire.event_rest(self._shown(line, texts))
            if not found:
                self._frames.put(line.position, rest)
        return self._write(line, rest)

    def _shown(self, line: Line, texts: dict[str, str]) -> wire.LoggedEvent:
        return wire.LoggedEvent(
            subscription="",
            epoch=self._view.epoch,
            position=line.position,
            kind=line.kind,
            at_ms=line.at_ms,
            stream=line.stream,
            raw=msgspec.Raw(line.data.encode()),
            texts=texts,
        )
