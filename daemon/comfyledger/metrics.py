"""What Prometheus is told: counters fed with what was committed, and the state of the house as it is when asked.

Names and units follow Prometheus's conventions; docs/metrics.md has every one of them. Nothing is looked up for a
scrape: `Now` is what the daemon has in memory. No name that a user typed becomes a label.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
from comfyledger.core.rows import ImageRow, Row, RowId
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.wire import BackendInfo

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LAG_EVERY_S: Final = 0.5
COMMIT_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
GROUP_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LAG_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

BATCH_STATES: Final = ("open", "held")
IMAGE_STATES: Final = ("pending", "kept", "stored", "parked", "failed", "cancelled", "forgotten")
PROMPT_STATES: Final = ("queued", "submitting", "accepted", "finished", "cancelling")
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
"""Else each counter is told twice: once more with the time at which the process began to count."""


class Line(Protocol):
    """A line of the log that was just written."""

    @property
    def kind(self) -> str: ...

    @property
    def data(self) -> str: ...


STORE_CALLS: Final = ("prepare", "highest_number", "put", "check", "delete", "fetch", "page", "close")
"""What the daemon asks of a store's plugin."""


class Now(msgspec.Struct, frozen=True):
    """The house at one moment. `lanes` are those that are always shown; `free` is the room of the disks, in bytes."""

    version: str = ""
    position: int = 0
    standing: OpenWorkSummary = OpenWorkSummary()
    queued: dict[str, int] = {}
    lanes: tuple[str, ...] = ()
    backends: tuple[BackendInfo, ...] = ()
    stores: dict[str, bool] = {}
    connections: int = 0
    taking: bool = False
    free: dict[str, int] = {}
    log_lines_dropped: int = 0
    notifications_dropped: int = 0
    plugin_errors: dict[str, dict[str, int]] = {}
    """Of each store, how often its plugin died, by call."""


class Metrics:
    """All metrics of one daemon, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._house = _House()
        self.registry.register(self._house)
        ProcessCollector(registry=self.registry)
        self._events = self._counter("events", "Events appended to the log.", "kind", KINDS)
        self._numbers = self._counter("numbers_given", "Numbers given to images.")
        self._images = self._counter("images", "Images that came into a state.", "state", IMAGE_STATES)
        self._attempts = self._counter("prompt_attempts", "Runs that ended.", "outcome", ATTEMPTS.values())
        self._uploads = self._counter("uploads", "Answers of stores about an image.", ("store", "outcome"))
        self._pauses = self._counter("lane_pauses", "Times that a lane came to stand still.", ("lane", "cause"))
        self._kept_bytes = self._counter("kept_bytes", "Bytes of images kept in the spool.")
        self._uploaded_bytes = self._counter("uploaded_bytes", "Bytes of images that stores took.", "store")
        self._commit = self._histogram("commit_duration_seconds", "Groups from begin to fsync.", COMMIT_BUCKETS_S)
        self._group = self._histogram("commit_messages", "Messages decided in one commit.", GROUP_BUCKETS)
        self._lag = self._histogram("event_loop_lag_seconds", "How late the loop woke a sleeper.", LAG_BUCKETS_S)

    def _counter(self, name: str, text: str, labels: str | tuple[str, ...] = (), values: Iterable[str] = ()) -> Counter:
        """With a sample of 0 for each of the values, so that the first increase is seen as one."""
        names = (labels,) if isinstance(labels, str) else labels
        counter = Counter(f"comfyledger_{name}", text, names, registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _histogram(self, name: str, text: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(f"comfyledger_{name}", text, registry=self.registry, buckets=tuple(buckets))

    def page(self, now: Now) -> bytes:
        """Everything in Prometheus's text format."""
        self._house.now = now
        return generate_latest(self.registry)

    async def watch_loop(self) -> None:
        """Measure until cancelled how much later than asked the event loop comes back."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._lag.observe(max(0.0, loop.time() - due))

    def committed(self, lines: Sequence[Line], rows: Mapping[RowId, Row], messages: int, seconds: float) -> None:
        """Count what one commit made true. `rows` are those that it changed, as they are after it."""
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
            case ImageKept(size_bytes=size_bytes):
                self._images.labels("kept").inc()
                self._kept_bytes.inc(size_bytes)
            case ImageUploaded() | ImageParked():
                self._count_upload(event, rows)
            case LanePaused(lane=lane, cause=cause):
                self._pauses.labels(_lane_in_short(lane), cause).inc()
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
    """The images that an event about stores brought to their end: when the last store has answered."""
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


def _lane_in_short(lane: str) -> str:
    """All users' lanes as one: their names are theirs, and there is no end of them."""
    return "user" if lane.startswith("user/") else lane


class _House(Collector):
    """The gauges, made anew for each scrape from what `page` was given."""

    def __init__(self) -> None:
        self.now = Now()

    def collect(self) -> Iterable[Metric]:
        now = self.now
        yield _gauge("build_info", "Which version runs; always 1.", {(now.version,): 1}, "version")
        yield _gauge("log_position", "Position of the last event.", {(): now.position})
        yield _gauge("accepting", "1 if new batches are taken, 0 while a disk is short.", {(): now.taking})
        yield _gauge("door_connections", "Open websockets.", {(): now.connections})
        yield _gauge("messages_waiting", "Messages that wait to be decided.", _by(now.queued), "lane")
        yield _gauge("disk_free_bytes", "Room left on the disk.", _by(now.free), "disk")
        yield _gauge("store_usable", "1 if the store can be used at all.", _by(now.stores), "store")
        yield _plugin_errors(now)
        yield _total("log_lines_dropped", "Log lines that could not be written.", now.log_lines_dropped)
        yield _total("notifications_dropped", "Messages to systemd that could not be sent.", now.notifications_dropped)
        yield from self._work(now.standing)
        yield from self._lanes(now)
        yield from self._comfyui(now.backends)

    def _work(self, standing: OpenWorkSummary) -> Iterator[Metric]:
        oldest = {} if standing.oldest_ms is None else {(): standing.oldest_ms / 1000}
        text = "When the oldest batch was accepted that is not held and owes an image; none if nothing is owed."
        yield _gauge("oldest_owed_image_timestamp_seconds", text, oldest)
        yield _gauge("batches", "Batches that are not settled.", _by(standing.batches, BATCH_STATES), "state")
        yield _gauge("owed_images", "Images that are not at their end.", _by(standing.images), "state")
        yield _gauge("prompts", "Prompts that are not done.", _by(standing.prompts, PROMPT_STATES), "state")
        yield _gauge("calls_running", "Calls to ComfyUI and stores under way.", _by(standing.running), "kind")

    def _lanes(self, now: Now) -> Iterator[Metric]:
        standing = now.standing
        users = sum(lane.startswith("user/") for lane in standing.paused)
        paused = {(lane, "person"): lane in standing.paused for lane in now.lanes}
        troubled = {(lane, "trouble"): lane in standing.troubles for lane in now.lanes}
        yield _gauge("lane_paused", "1 while the lane stands still.", paused | troubled, "lane", "cause")
        yield _gauge("users_paused", "Users whose work a person paused.", {(): users})

    def _comfyui(self, backends: tuple[BackendInfo, ...]) -> Iterator[Metric]:
        def counted(name: str, text: str, field: str) -> Metric:
            family = CounterMetricFamily(f"comfyledger_comfyui_{name}", text, labels=("backend",))
            for backend in backends:
                family.add_metric((backend.name,), getattr(backend, field))
            return family

        connected = {(backend.name,): backend.connected for backend in backends}
        yield _gauge("comfyui_connected", "1 while its websocket stands.", connected, "backend")
        yield counted("reconnects", "Connections after the first.", "reconnects")
        yield counted("deaf_sockets", "Websockets replaced because they stood and said nothing.", "deaf")
        yield counted("sweeps", "Times that prompts were looked up because nothing was heard of them.", "sweeps")


def _gauge(name: str, text: str, samples: Mapping[Any, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"comfyledger_{name}", text, labels=labels)
    for values, amount in samples.items():
        family.add_metric(values, float(amount))
    return family


def _plugin_errors(now: Now) -> Metric:
    """Each call of each store has a sample, so that the first error shows as a rise."""
    family = CounterMetricFamily(
        "comfyledger_plugin_errors", "Calls in which a store's plugin died.", labels=("store", "call")
    )
    for store in now.stores:
        for call in STORE_CALLS:
            family.add_metric((store, call), now.plugin_errors.get(store, {}).get(call, 0))
    return family


def _total(name: str, text: str, count: int) -> Metric:
    """A counter that somebody else keeps."""
    return CounterMetricFamily(f"comfyledger_{name}", text, value=count)


def _by(found: Mapping[str, float], always: Iterable[str] = ()) -> dict[tuple[str, ...], float]:
    """Samples of one label; what is always shown is 0 if nothing was found."""
    return {(key,): found.get(key, 0) for key in (*always, *(key for key in found if key not in always))}
