"""The metrics for Prometheus: counters of what was committed, and gauges of the present state.

Names and units follow Prometheus's conventions; docs/metrics.md lists them all. A scrape reads no files and no ledger:
`Now` is what the daemon has in memory. No name that a user typed becomes a label.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    StoreDropped,
)
from comfyledger.core.media import Medium, medium_of
from comfyledger.core.rows import ImageRow, Row, RowId
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
        self._events = self._counter("events", "kind", KINDS)
        self._numbers = self._counter("numbers_given")
        self._images = self._counter("images", "state", IMAGE_STATES)
        self._attempts = self._counter("prompt_attempts", "outcome", ATTEMPTS.values())
        self._uploads = self._counter("uploads", ("store", "outcome"))
        self._pauses = self._counter("lane_pauses", ("lane", "cause"))
        self._kept_bytes = self._counter("kept_bytes")
        self._kept_media_bytes = self._counter("kept_media_bytes", "medium", get_args(Medium))
        self._uploaded_bytes = self._counter("uploaded_bytes", "store")
        self._commit = self._histogram("commit_duration_seconds", COMMIT_BUCKETS_S)
        self._group = self._histogram("commit_messages", GROUP_BUCKETS)
        self._lag = self._histogram("event_loop_lag_seconds", LAG_BUCKETS_S)

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
        kinds = Counts(line.kind for line in lines)
        for kind, times in kinds.items():
            self._events.labels(kind).inc(times)
            if kind in ATTEMPTS:
                self._attempts.labels(ATTEMPTS[kind]).inc(times)
        for line in lines:
            if line.kind in _DECODERS:
                event: Event = _DECODERS[line.kind].decode(line.data)
                self._count(event, rows)
                ended.update({(row.batch_id, row.index): row for row in _ended(event, rows)})
        for row in ended.values():
            self._images.labels(row.state).inc()

    def _count(self, event: Event, rows: Mapping[RowId, Row]) -> None:
        match event:
            case BatchRequested(images=images):
                self._numbers.inc(len(images))
                self._images.labels("pending").inc(len(images))
            case BatchReopened(images=images, upload=upload):
                self._images.labels("pending").inc(len(images))
                self._images.labels("kept").inc(len(upload))
            case ImageRenumbered():
                self._numbers.inc()
            case ImageAdded():
                self._numbers.inc()
                self._images.labels("parked").inc()
            case ImageKept(size_bytes=size_bytes, extension=extension):
                self._images.labels("kept").inc()
                self._kept_bytes.inc(size_bytes)
                self._kept_media_bytes.labels(medium_of(extension)).inc(size_bytes)
            case ImageUploaded() | ImageParked():
                self._count_upload(event, rows)
            case LanePaused(lane=lane, cause=cause):
                self._pauses.labels(_lane_label(lane), cause).inc()
            case _:
                self._count_end(event)

    def _count_end(self, event: Event) -> None:
        match event:
            case ImageLost(images=images):
                self._images.labels("pending").inc(len(images))
            case FilesWaiting(images=images):
                self._images.labels("parked").inc(len(images))
            case FilesTaken(images=images):
                self._images.labels("pending").inc(len(images))
            case ImageFailed(images=images):
                self._images.labels("failed").inc(len(images))
            case ImageCancelled(images=images):
                self._images.labels("cancelled").inc(len(images))
            case ImageForgotten(images=images):
                self._images.labels("forgotten").inc(len(images))
            case _:
                pass

    def _count_upload(self, event: ImageUploaded | ImageParked, rows: Mapping[RowId, Row]) -> None:
        if isinstance(event, ImageParked):
            self._uploads.labels(event.store, "parked").inc()
            return
        self._uploads.labels(event.store, "found" if event.replayed else "stored").inc()
        image = rows.get(("image", event.batch_id, event.image))
        if isinstance(image, ImageRow) and not event.replayed:
            self._uploaded_bytes.labels(event.store).inc(image.size_bytes)


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
