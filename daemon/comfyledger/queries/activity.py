"""What happened in each span of time: images requested, rendered, stored, parked and failed, and how long they waited.

It is counted from the log, newest lines first, in cells of five minutes. Hours that are over are remembered for each
label in memory, so that a repeat reads the newest hour alone. One request reads a limited number of short pages; what
is older comes with the next request.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

import msgspec

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import LogWanted
from comfyledger.queries.activity_counts import Cell, Cells, Known
from comfyledger.queries.dependencies import Dependencies

CELL_MS: Final = 300_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
SPAN_MAX_MS: Final = 31 * DAY_MS
BUCKETS_MAX: Final = 1_000
PAGE_LINES: Final = 2_000
"""A page of lines that are counted. Its JSON takes some 10 ms to read."""
PAGES_MAX: Final = 300
HOURS_KEPT: Final = 31 * 24
SETTLED_MS: Final = 120_000
"""An hour is over so long after its end: what is written meanwhile may still belong to it."""
_BINS: Final = 20
"""Bins of waiting times for each factor of e: a median is right within 5 %."""
_KINDS: Final = frozenset(
    {
        "batch_requested",
        "prompt_submitting",
        "image_kept",
        "image_uploaded",
        "image_parked",
        "image_failed",
        "files_waiting",
    }
)


async def activity(context: Dependencies, message: wire.GetActivity, now_ms: int) -> wire.Activity:
    """Raises Refused(invalid_field)."""
    since_ms, until_ms = _span(message, now_ms)
    known = context.activity.of(context.view.epoch, context.only)
    async with known.lock:
        cells, counted_from_ms = await _cells(context, known, since_ms, until_ms, now_ms)
    step_ms = message.step_s * 1_000
    first = max(since_ms, -(-counted_from_ms // step_ms) * step_ms)
    buckets = {at_ms: Cell() for at_ms in range(first, until_ms, step_ms)}
    for at_ms, cell in cells.items():
        if (bucket := buckets.get(at_ms - at_ms % step_ms)) is not None:
            bucket.add(cell)
    return wire.Activity(
        message.step_s, [_bucket(at_ms, one) for at_ms, one in buckets.items()], more=counted_from_ms > since_ms
    )


def _span(message: wire.GetActivity, now_ms: int) -> tuple[int, int]:
    """The span that is asked for, in whole steps."""
    step_ms = message.step_s * 1_000
    until_ms = min(now_ms if message.until_ms is None else message.until_ms, now_ms)
    since_ms = until_ms - DAY_MS if message.since_ms is None else message.since_ms
    since_ms, until_ms = since_ms - since_ms % step_ms, -(-until_ms // step_ms) * step_ms
    wide = until_ms - since_ms > SPAN_MAX_MS + step_ms
    if since_ms >= until_ms or wide or (until_ms - since_ms) // step_ms > BUCKETS_MAX:
        text = f"From `since_ms` to `until_ms` there may be 1 to {BUCKETS_MAX} steps, and 31 days at most."
        raise Refused("invalid_field", text, hint="Ask for less, or for longer steps.", path="$.data.since_ms")
    return since_ms, until_ms


async def _cells(context: Dependencies, known: Known, since_ms: int, until_ms: int, now_ms: int) -> tuple[Cells, int]:
    """The cells of a span, and from when on they are complete: what is remembered, and what is read now."""
    hours = range(since_ms - since_ms % HOUR_MS, until_ms, HOUR_MS)
    counting = _Counting(context)
    complete_ms = hours[0]
    for first, last in reversed(_runs([hour for hour in hours if hour not in known.hours])):
        complete_ms = await counting.read(first, last + HOUR_MS)
        if complete_ms > first:
            break
        complete_ms = hours[0]
    await counting.look_up()
    for hour in hours:
        if hour >= complete_ms and hour not in known.hours and hour + HOUR_MS + SETTLED_MS <= now_ms:
            known.hours[hour] = {at: cell for at, cell in counting.cells.items() if hour <= at < hour + HOUR_MS}
    while len(known.hours) > HOURS_KEPT:
        del known.hours[min(known.hours)]
    remembered = {at: cell for hour in hours for at, cell in known.hours.get(hour, {}).items()}
    return counting.cells | remembered, max(since_ms, complete_ms)


def _runs(hours: list[int]) -> list[tuple[int, int]]:
    """The first and last of those that follow one another."""
    runs: list[tuple[int, int]] = []
    for hour in hours:
        if runs and runs[-1][1] + HOUR_MS == hour:
            runs[-1] = (runs[-1][0], hour)
        else:
            runs.append((hour, hour))
    return runs


class _Counting:
    """Lines counted from the newest to the oldest. What a line says of an earlier one waits until that one comes: the
    backend of an image for the begin of its attempt, and the wait of a prompt for the request of its batch.
    """

    def __init__(self, context: Dependencies) -> None:
        self._reader = context.reader
        self._pages = PAGES_MAX
        self.cells: Cells = {}
        self._kept: dict[tuple[str, int, int], list[int]] = {}
        self._begun: dict[str, list[int]] = {}
        self._uploaded: dict[str, list[tuple[int, str]]] = {}

    async def read(self, since_ms: int, until_ms: int) -> int:
        """Count a span, and say from when on it is complete: `since_ms`, unless there was too much to read."""
        wanted = LogWanted(kinds=_KINDS, since_ms=since_ms, until_ms=until_ms - 1, reverse=True, limit=PAGE_LINES)
        reached_ms = until_ms
        while self._pages > 0:
            self._pages -= 1
            page = await self._reader.log_lines(wanted)
            for line in page.lines:
                self._count(line)
            if page.lines:
                reached_ms = min(reached_ms, page.lines[-1].at_ms)
            if not page.more:
                reached_ms = since_ms
                break
            wanted = msgspec.structs.replace(wanted, upto=page.position - 1)
        return -(-reached_ms // HOUR_MS) * HOUR_MS

    def _count(self, line: Line) -> None:
        cell, data = self._cell(line.at_ms), msgspec.json.decode(line.data)
        match line.kind:
            case "batch_requested":
                cell.requested += len(data["images"])
                self._requested(line.stream, line.at_ms, [store["name"] for store in data["stores"]])
            case "prompt_submitting":
                self._submitting(line, data)
            case "image_kept":
                self._kept.setdefault((line.stream, data["prompt"], data["attempt"]), []).append(line.at_ms)
            case "image_uploaded":
                self._uploaded.setdefault(line.stream, []).append((line.at_ms, data["store"]))
            case "image_parked":
                cell.parked += 1
            case "files_waiting":
                cell.parked += len(data["images"])
            case _:
                cell.failed += len(data["images"])

    def _cell(self, at_ms: int) -> Cell:
        return self.cells.setdefault(at_ms - at_ms % CELL_MS, Cell())

    def _submitting(self, line: Line, data: dict[str, Any]) -> None:
        for at_ms in self._kept.pop((line.stream, data["prompt"], data["attempt"]), ()):
            self._cell(at_ms).backends[data["backend"]] += 1
        if data["attempt"] == 1:
            self._begun.setdefault(line.stream, []).append(line.at_ms)

    def _requested(self, batch_id: str, at_ms: int, stores: list[str]) -> None:
        for begun_ms in self._begun.pop(batch_id, ()):
            self._cell(begun_ms).waits[bin_of(begun_ms - at_ms)] += 1
        for uploaded_ms, store in self._uploaded.pop(batch_id, ()):
            self._cell(uploaded_ms).stored += store == stores[0] if stores else 0

    async def look_up(self) -> None:
        """Settle what still waits: what began before the span is in the rows."""
        for (batch_id, prompt, attempt), times in self._kept.items():
            row = await self._reader.prompt(batch_id, prompt)
            stray = row.stray(attempt) if row is not None else None
            backend = stray.backend if stray is not None else row.backend if row is not None else ""
            for at_ms in times:
                self._cell(at_ms).backends[backend] += 1
        for batch_id in {*self._begun, *self._uploaded}:
            batch = await self._reader.batch(batch_id)
            if batch is not None:
                self._requested(batch_id, batch.at_ms, [store.name for store in batch.stores])


def bin_of(ms: int) -> int:
    return round(_BINS * math.log(max(ms, 1)))


def wait_ms(waits: Counter[int], part: float) -> int | None:
    """So long waited at most this part of the prompts; None if none began."""
    left = math.ceil(part * waits.total())
    for place in sorted(waits):
        left -= waits[place]
        if left <= 0:
            return round(math.exp(place / _BINS))
    return None


def _bucket(at_ms: int, cell: Cell) -> wire.ActivityBucket:
    return wire.ActivityBucket(
        at_ms,
        cell.requested,
        cell.stored,
        cell.failed,
        cell.parked,
        wait_ms(cell.waits, 0.5),
        wait_ms(cell.waits, 0.95),
        dict(sorted(cell.backends.items())),
    )
