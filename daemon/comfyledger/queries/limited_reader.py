"""A reader that shows the work of one label: what a token without `read_all` may see.

What belongs to another label is answered exactly as what does not exist, with as much work. Events of lanes, of series
and of the ledger itself belong to no label and are not shown. A series is there once the label has a batch in it. Its
next number then counts the images of every label, and positions count the events of every label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from comfyledger.core.backends import BackendRow
from comfyledger.core.inputs import InputRow
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, RequestRow, SeriesRow
from comfyledger.core.values import USER_LANES
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.ledger.eventlog import Head, Line
from comfyledger.ledger.ports import (
    BatchFilter,
    Dependents,
    Descent,
    ImageCounts,
    ImageFilter,
    InputFilter,
    LogLines,
    LogWanted,
    Reader,
    Turns,
)
from comfyledger.wire.requests.reading import CountBy

WINDOW: Final = 4_000
"""Positions in one read of the log: fewer than the lines that one read may examine, so that no read ends early because
of lines that are not shown."""
WINDOWS_MAX: Final = 10
"""Reads for one page."""
PAGE_LINES: Final = 500
OWNERS_KEPT_MAX: Final = 4_096
NO_STREAM: Final = ""
"""No event has this stream."""
NO_BATCH: Final = ""
"""Looked up in place of the batch of a name that nothing has, so that both take the same time."""


class LimitedReader(Reader):
    """The rows and events of one label's batches."""

    def __init__(self, reader: Reader, label: str) -> None:
        self._reader = reader
        self._label = label
        self._owned: dict[str, bool] = {}

    async def _owns(self, batch_id: str) -> bool:
        """Whether a batch is the label's. One of another label is looked up each time, like one that does not exist:
        a quick answer would show that it is there.
        """
        return self._owned.get(batch_id) or await self._look_up(batch_id)

    async def _wrote(self, stream: str) -> bool:
        """The same of a line in the log, whose stream nobody guessed. The label of a batch never changes."""
        known = self._owned.get(stream)
        if known is None:
            known = await self._look_up(stream)
            self._remember(stream, known)
        return known

    async def _look_up(self, batch_id: str) -> bool:
        owned = await self._reader.batch(batch_id, self._label) is not None
        if owned:
            self._remember(batch_id, owned)
        return owned

    def _remember(self, batch_id: str, owned: bool) -> None:
        if len(self._owned) >= OWNERS_KEPT_MAX:
            self._owned.clear()
        self._owned[batch_id] = owned

    async def _has_user(self, user_key: str) -> bool:
        return bool(await self._reader.batches(BatchFilter(username_key=user_key, label=self._label, limit=1)))

    # ---- the log

    async def seen(self, lines: list[Line]) -> list[Line]:
        return [line for line in lines if await self._wrote(line.stream)]

    async def head(self) -> Head:
        return await self._reader.head()

    async def page(
        self, *, after: int, limit: int, stream: str | None = None, user: str | None = None, upto: int | None = None
    ) -> list[Line]:
        if not await self._may_match(stream, user):
            stream, user = NO_STREAM, None
        kept: list[Line] = []
        while len(kept) < limit:
            lines = await self._reader.page(after=after, limit=PAGE_LINES, stream=stream, user=user, upto=upto)
            kept += await self.seen(lines)
            if len(lines) < PAGE_LINES:
                break
            after = lines[-1].position
        return kept[:limit]

    async def _may_match(self, stream: str | None, user: str | None) -> bool:
        return (stream is None or await self._owns(stream)) and (user is None or await self._has_user(user))

    async def log_lines(self, wanted: LogWanted) -> LogLines:
        """Parts of the log with a fixed number of positions are read, so a page ends where it would without others."""
        nothing = msgspec.structs.replace(wanted, stream=NO_STREAM, user=None, series=None)
        if not await self._may_match(wanted.stream, wanted.user):
            return await self._reader.log_lines(nothing)
        first = (await self._reader.log_lines(msgspec.structs.replace(nothing, reverse=True))).position - 1
        last = (await self._reader.log_lines(msgspec.structs.replace(nothing, reverse=False))).position
        low, high = first, last
        own = msgspec.structs.replace(wanted, label=self._label)
        found = await self._reader.log_lines(nothing)
        for _ in range(WINDOWS_MAX):
            if low >= high:
                break
            part = (max(low, high - WINDOW), high) if wanted.reverse else (low, min(high, low + WINDOW))
            found = await self._reader.log_lines(msgspec.structs.replace(own, after=part[0], upto=part[1]))
            low, high = (low, part[0]) if wanted.reverse else (part[1], high)
            if found.lines:
                break
        return LogLines(found.lines, found.position, found.more or low < high)

    async def texts(self, digests: list[str], bytes_max: int | None = None) -> dict[str, bytes]:
        """Digests come from rows and events that are shown; they are salted, so nobody guesses one."""
        return await self._reader.texts(digests, bytes_max)

    # ---- batches and images

    async def request(self, label: str, request_id: str) -> RequestRow | None:
        return await self._reader.request(label, request_id) if label == self._label else None

    async def batch(self, batch_id: str, label: str | None = None) -> BatchRow | None:
        return await self._reader.batch(batch_id, self._label)

    async def batches(self, wanted: BatchFilter) -> list[BatchRow]:
        return await self._reader.batches(msgspec.structs.replace(wanted, label=self._label))

    async def prompt(self, batch_id: str, prompt: int) -> PromptRow | None:
        return await self._reader.prompt(batch_id, prompt) if await self._owns(batch_id) else None

    async def prompts(self, batch_id: str) -> list[PromptRow]:
        return await self._reader.prompts(batch_id) if await self._owns(batch_id) else []

    async def image(self, batch_id: str, index: int) -> ImageRow | None:
        return await self._reader.image(batch_id, index) if await self._owns(batch_id) else None

    async def images(self, wanted: ImageFilter) -> list[ImageRow]:
        if wanted.batch_id is not None and not await self._owns(wanted.batch_id):
            return []
        return await self._reader.images(msgspec.structs.replace(wanted, label=self._label))

    async def count_images(self, wanted: ImageFilter, by: CountBy | None = None, every: int = 0) -> ImageCounts:
        return await self._reader.count_images(msgspec.structs.replace(wanted, label=self._label), by, every)

    async def these_images(self, batch_id: str, indexes: tuple[int, ...]) -> list[ImageRow]:
        return await self._reader.these_images(batch_id, indexes) if await self._owns(batch_id) else []

    async def image_named(self, public_id: str) -> ImageRow | None:
        place = await self.name_place(fold(public_id))
        return None if place is None else await self._reader.image(*place)

    async def name_place(self, key: str) -> tuple[str, int] | None:
        return await self._own(await self._reader.name_place(key))

    async def prompt_place(self, prompt_id: str, after: int, upto: int) -> tuple[str, int] | None:
        return await self._own(await self._reader.prompt_place(prompt_id, after, upto))

    async def _own(self, place: tuple[str, int] | None) -> tuple[str, int] | None:
        owned = await self._owns(place[0] if place is not None else NO_BATCH)
        return place if owned else None

    # ---- inputs

    async def input(self, sha256: str, label: str | None = None) -> InputRow | None:
        return await self._reader.input(sha256, self._label)

    async def these_inputs(self, sha256s: Sequence[str], label: str | None = None) -> list[InputRow]:
        return await self._reader.these_inputs(sha256s, self._label)

    async def inputs(self, wanted: InputFilter) -> list[InputRow]:
        return await self._reader.inputs(msgspec.structs.replace(wanted, label=self._label))

    async def inputs_kept(self, after: str = "", limit: int = 1_000) -> list[InputRow]:
        """These are lists for the daemon itself. A label has `inputs`."""
        return []

    async def inputs_unused(self, ended_before_ms: int, limit: int) -> list[InputRow]:
        return []

    # ---- series, lanes and counts

    async def series(self, key: str) -> SeriesRow | None:
        used = await self._reader.batches(BatchFilter(series=key, label=self._label, limit=1))
        return await self._reader.series(key) if used else None

    async def series_ending(self, end: str, label: str | None = None) -> list[SeriesRow]:
        return await self._reader.series_ending(end, self._label)

    async def turns(self, batch_id: str, label: str | None = None) -> Turns:
        return await self._reader.turns(batch_id, self._label) if await self._owns(batch_id) else Turns()

    async def descent(self, batch_id: str, image: int | None, label: str | None = None) -> Descent:
        owned = await self._owns(batch_id)
        return await self._reader.descent(batch_id, image, self._label) if owned else Descent()

    async def dependents(self, batch_id: str, images: Sequence[int] | None) -> Dependents:
        """With the levels that lead through batches of others left out of the answer, not of the search."""
        if not await self._owns(batch_id):
            return Dependents()
        every = await self._reader.dependents(batch_id, images)
        own = [one for one in every.found if await self._owns(one.batch_id)]
        return msgspec.structs.replace(every, found=tuple(own))

    async def parked_bytes(self, batch_ids: list[str]) -> int:
        return await self._reader.parked_bytes([one for one in batch_ids if await self._owns(one)])

    async def owing(self, store: str) -> dict[str, int]:
        found = await self._reader.owing(store)
        return {batch_id: count for batch_id, count in found.items() if await self._owns(batch_id)}

    async def inputs_at(self, backend: str) -> dict[str, int]:
        """None: a copy is of every label that has the same bytes."""
        return {}

    async def backends(self) -> list[BackendRow]:
        """Every client may see which ComfyUIs there are."""
        return await self._reader.backends()

    async def webhooks(self) -> list[WebhookRow]:
        """None: they deliver the events of all labels."""
        return []

    async def webhook_progress(self) -> list[WebhookProgress]:
        """None, as `webhooks`."""
        return []

    async def lanes(self) -> list[LaneRow]:
        """Lanes of users that the label has batches of, and all others. Their texts may quote other names."""
        return [
            msgspec.structs.replace(lane, words=None)
            for lane in await self._reader.lanes()
            if not lane.name.startswith(USER_LANES) or await self._has_user(lane.name.removeprefix(USER_LANES))
        ]
