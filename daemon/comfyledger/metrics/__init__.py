"""The metrics for Prometheus: counters of what was committed, and gauges of the present state.

Names and units follow Prometheus's conventions; docs/metrics.md lists them all. A scrape reads no files and no ledger:
`Now` is what the daemon has in memory. No name that a user typed becomes a label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Final, Protocol, get_args

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from comfyledger.core.events import (
    KINDS,
    BackendRemoved,
    BatchReopened,
    BatchRequested,
    Event,
    FilesTaken,
    FilesWaiting,
    ImageAdded,
    ImageCancelled,
    ImageFailed,
    ImageForgotten,
    ImageKept,
    ImageLost,
    ImageParked,
    ImageRenumbered,
    ImageUploaded,
    LanePaused,
    PromptMoved,
    StoreDropped,
)
from comfyledger.core.media import Medium, medium_of
from comfyledger.core.rows import ImageRow, Row, RowId
from comfyledger.core.values import MoveReason, backend_lane
from comfyledger.metrics.gauges import Gauges, Now
from comfyledger.metrics.help_texts import HELP

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LAG_EVERY_S: Final = 0.5
COMMIT_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
GROUP_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LAG_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

IMAGE_STATES: Final = ("pending", "kept", "stored", "parked", "failed", "cancelled", "forgotten")
ATTEMPTS: Final = {
    "prompt_finished": "finished",
    "prompt_failed": "failed",
    "prompt_refused": "refused",
    "prompt_lost": "lost",
    "prompt_removed": "removed",
    "prompt_moved": "moved",
}
_COUNTED: Final = (
    BatchRequested,
    BatchReopened,
    FilesWaiting,
    FilesTaken,
    ImageAdded,
    ImageKept,
    ImageLost,
    ImageFailed,
    ImageCancelled,
    ImageForgotten,
    ImageRenumbered,
    ImageUploaded,
    ImageParked,
    StoreDropped,
    LanePaused,
    BackendRemoved,
    PromptMoved,
)
_DECODERS: Final = {kind: msgspec.json.Decoder(made) for kind, made in KINDS.items() if made in _COUNTED}

disable_created_metrics()  # type: ignore[no-untyped-call]
"""Otherwise each counter would appear twice, the second time as the time at which it began."""


class Line(Protocol):
    """A line of the log that was just committed."""

    @property
    def kind(self) -> str: ...

    @property
    def data(self) -> str: ...


class Metrics:
    """All metrics of one daemon, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = Gauges()
        self.registry.register(self._gauges)
        ProcessCollector(registry=self.registry)
        self._events = self._samples("events", "kind", KINDS)
        self._numbers = self._counter("numbers_given")
        self._images = self._samples("images", "state", IMAGE_STATES)
        self._attempts = self._samples("prompt_attempts", "outcome", tuple(ATTEMPTS.values()))
        self._moved = self._counter("prompts_moved", "reason", get_args(MoveReason))
        self._uploads = cache(self._counter("uploads", ("store", "outcome")).labels)
        self._pauses = self._counter("lane_pauses", ("lane", "cause"))
        self._kept_bytes = self._counter("kept_bytes")
        self._kept_media_bytes = self._samples("kept_media_bytes", "medium", get_args(Medium))
        self._uploaded_bytes = cache(self._counter("uploaded_bytes", "store").labels)
        self._commit = self._histogram("commit_duration_seconds", COMMIT_BUCKETS_S)
        self._group = self._histogram("commit_messages", GROUP_BUCKETS)
        self._lag = self._histogram("event_loop_lag_seconds", LAG_BUCKETS_S)

    def _samples(self, name: str, label: str, values: Iterable[str]) -> dict[str, Counter]:
        """The samples of a counter by the value of its label, each from 0: every commit counts in some of them."""
        counter = self._counter(name, label, values)
        return {value: counter.labels(value) for value in values}

    def _counter(self, name: str, labels: str | tuple[str, ...] = (), values: Iterable[str] = ()) -> Counter:
        """With a sample of 0 for each value, so that the first increase is visible as one."""
        names = (labels,) if isinstance(labels, str) else labels
        counter = Counter(f"comfyledger_{name}", HELP[name], names, registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _histogram(self, name: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(f"comfyledger_{name}", HELP[name], registry=self.registry, buckets=tuple(buckets))

    def page(self, now: Now) -> bytes:
        """Everything in Prometheus's text format."""
        self._gauges.now = now
        return generate_latest(self.registry)

    async def watch_loop(self) -> None:
        """Measure until cancelled how late the event loop wakes a task."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._lag.observe(max(0.0, loop.time() - due))

    def committed(self, lines: Sequence[Line], rows: Mapping[RowId, Row], messages: int, seconds: float) -> None:
        """Count one commit. `rows`: the rows that it changed, in their new state."""
        if messages:
            self._commit.observe(seconds)
            self._group.observe(messages)
        ended: dict[tuple[str, int], ImageRow] = {}
        kinds: dict[str, int] = {}
        for line in lines:
            kinds[line.kind] = kinds.get(line.kind, 0) + 1
        for kind, times in kinds.items():
            self._events[kind].inc(times)
            if kind in ATTEMPTS:
                self._attempts[ATTEMPTS[kind]].inc(times)
        for line in lines:
            if line.kind in _DECODERS:
                event: Event = _DECODERS[line.kind].decode(line.data)
                self._count(event, rows)
                ended.update({(row.batch_id, row.index): row for row in _ended(event, rows)})
        for row in ended.values():
            self._images[row.state].inc()

    def _count(self, event: Event, rows: Mapping[RowId, Row]) -> None:
        match event:
            case BatchRequested(images=images):
                self._numbers.inc(len(images))
                self._images["pending"].inc(len(images))
            case BatchReopened(images=images, upload=upload):
                self._images["pending"].inc(len(images))
                self._images["kept"].inc(len(upload))
            case ImageRenumbered():
                self._numbers.inc()
            case ImageAdded():
                self._numbers.inc()
                self._images["parked"].inc()
            case ImageKept(size_bytes=size_bytes, extension=extension):
                self._images["kept"].inc()
                self._kept_bytes.inc(size_bytes)
                self._kept_media_bytes[medium_of(extension)].inc(size_bytes)
            case ImageUploaded() | ImageParked():
                self._count_upload(event, rows)
            case PromptMoved(reason=reason):
                self._moved.labels(reason).inc()
            case LanePaused(lane=lane, cause=cause):
                self._pauses.labels(_lane_label(lane), cause).inc()
            case BackendRemoved(name=name):
                self._forget_pauses(backend_lane(name))
            case _:
                self._count_end(event)

    def _forget_pauses(self, lane: str) -> None:
        """Machines that come and go have ever new names: what is counted for each would grow for ever."""
        for cause in ("person", "trouble"):
            with suppress(KeyError):
                self._pauses.remove(lane, cause)

    def _count_end(self, event: Event) -> None:
        match event:
            case ImageLost(images=images):
                self._images["pending"].inc(len(images))
            case FilesWaiting(images=images):
                self._images["parked"].inc(len(images))
            case FilesTaken(images=images):
                self._images["pending"].inc(len(images))
            case ImageFailed(images=images):
                self._images["failed"].inc(len(images))
            case ImageCancelled(images=images):
                self._images["cancelled"].inc(len(images))
            case ImageForgotten(images=images):
                self._images["forgotten"].inc(len(images))
            case _:
                pass

    def _count_upload(self, event: ImageUploaded | ImageParked, rows: Mapping[RowId, Row]) -> None:
        if isinstance(event, ImageParked):
            self._uploads(event.store, "parked").inc()
            return
        self._uploads(event.store, "found" if event.replayed else "stored").inc()
        image = rows.get(("image", event.batch_id, event.image))
        if isinstance(image, ImageRow) and not event.replayed:
            self._uploaded_bytes(event.store).inc(image.size_bytes)


def _ended(event: Event, rows: Mapping[RowId, Row]) -> Iterator[ImageRow]:
    """The images that an event of a store settled, because the last of their stores has answered."""
    match event:
        case ImageKept() | ImageUploaded() | ImageParked():
            indexes: tuple[int, ...] = (event.image,)
            ends = {"stored", "parked"}
        case StoreDropped(images=images):
            indexes, ends = images, {"stored"}
        case _:
            return
    for index in indexes:
        row = rows.get(("image", event.batch_id, index))
        if isinstance(row, ImageRow) and row.state in ends:
            yield row


def _lane_label(lane: str) -> str:
    """The lanes of all users as one: their names are private, and their number has no limit."""
    return "user" if lane.startswith("user/") else lane
