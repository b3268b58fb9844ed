"""The metrics for Prometheus: counters of what was committed, and gauges of the present state.

Names and units follow Prometheus's conventions; docs/metrics.md lists them all. A scrape reads no files and no ledger:
`Now` is what the daemon has in memory. No name that a user typed becomes a label.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, get_args

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
from comfyledger.core.media import Medium, medium_of
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
PROMPT_STATES: Final = ("queued", "waiting", "submitting", "accepted", "finished", "cancelling")
ATTEMPTS: Final = {
    "prompt_finished": "finished",
    "prompt_failed": "failed",
    "prompt_refused": "refused",
    "prompt_lost": "lost",
    "prompt_removed": "removed",
}
_HELP: Final = {
    "build_info": "The running version; always 1.",
    "log_position": "Position of the last event of the log.",
    "accepting": "1 if new batches are accepted, 0 while they are refused as storage_full or the daemon stops.",
    "door_connections": "Open websockets of clients.",
    "messages_waiting": (
        "Messages that wait for a decision: report from workers, command from clients, and first_use for batches of a "
        "new series, while the stores are asked for its numbers."
    ),
    "disk_free_bytes": (
        "Free bytes on the disks of ledger, spool and inputs; no sample for a disk that cannot be read."
    ),
    "inputs": "Input files that the daemon keeps.",
    "inputs_bytes": "Bytes of the input files that the daemon keeps.",
    "input_removals": (
        "Input files that nothing needs and that are still to be removed, by lane: inputs (the daemon's own folder) or "
        "backend/NAME."
    ),
    "log_lines_dropped": (
        "Log lines that were dropped because they could not be written to standard error: its reader is gone or "
        "does not read, or its disk is full."
    ),
    "notifications_dropped": "Messages to systemd (sd_notify) that could not be sent.",
    "store_usable": "1 if the store can be used, 0 if its plugin is broken or it is not prepared yet.",
    "plugin_errors": (
        "Calls to the store's plugin that failed: the plugin raised an undocumented error, gave an invalid answer, or "
        "gave no answer in time."
    ),
    "oldest_owed_image_timestamp_seconds": (
        "When the oldest unfinished batch was accepted, in seconds since 1970. Held batches do not count; no "
        "sample if there is none."
    ),
    "batches": "Batches that are not settled: open or held.",
    "owed_images": "Images of open batches: pending (to be rendered) or kept (to be stored).",
    "prompts": (
        "Prompts that are not done: queued wait here for their turn, waiting for images that they are made from; "
        "submitting, accepted and cancelling are or may be at ComfyUI; the files of finished are being fetched."
    ),
    "calls_running": "Calls under way, by kind: submit, follow, fetch, cancel, upload, delete, sources, input.",
    "lane_paused": (
        "1 while the lane is paused, by cause: person or trouble. Lanes: everything, spool, inputs, backend/NAME, "
        "store/NAME."
    ),
    "users_paused": "Users whose work a person paused.",
    "comfyui_connected": "1 while ComfyUI's websocket is connected.",
    "comfyui_reconnects": "Connections to ComfyUI after the first.",
    "comfyui_deaf_sockets": "Websockets that were replaced because they were open and silent.",
    "comfyui_sweeps": "How often prompts were looked up because the websocket said nothing about them.",
    "events": "Events appended to the log, by kind.",
    "numbers_given": "Numbers given to images, including new numbers of renamed ones.",
    "images": (
        "Images that entered a state: pending (accepted, lost or retried), kept, stored (by the last of its "
        "stores), parked, failed, cancelled, forgotten."
    ),
    "prompt_attempts": "Runs at ComfyUI that ended: finished, failed, refused, lost (ComfyUI was restarted), removed.",
    "uploads": (
        "Answers of stores about an image: stored, found (the file was in the store before) or parked. A fault of "
        "the store itself pauses its lane instead."
    ),
    "lane_pauses": "How often a lane was paused, by cause: person or trouble.",
    "kept_bytes": "Bytes of images that were written to the spool.",
    "kept_media_bytes": "Bytes of files that were written to the spool, by medium: image, video, audio, model or file.",
    "uploaded_bytes": "Bytes of images that the store accepted; files that it had before do not count.",
    "commit_duration_seconds": "Seconds from the start of a group of messages until it is on stable storage.",
    "commit_messages": "Messages that one commit decided.",
    "event_loop_lag_seconds": "Seconds by which the event loop woke a task too late, measured twice a second.",
}
"""What `HELP` says of each metric, by name without prefix and `_total`: the same as in docs/metrics.md."""
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


STORE_CALLS: Final = ("prepare", "highest_number", "put", "check", "delete", "fetch", "page", "close")
"""The calls that the daemon makes to a plugin of a store."""


class Now(msgspec.Struct, frozen=True):
    """The daemon at one moment. `lanes`: those that are always shown. `free`: free space of the disks in bytes."""

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
    """Errors of the plugin of each store, by call."""
    inputs: int = 0
    inputs_bytes: int = 0
    removals: dict[str, int] = {}
    """Inputs that are still to be removed, by lane."""


class Metrics:
    """All metrics of one daemon, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = _Gauges()
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
        counter = Counter(f"comfyledger_{name}", _HELP[name], names, registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _histogram(self, name: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(f"comfyledger_{name}", _HELP[name], registry=self.registry, buckets=tuple(buckets))

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


class _Gauges(Collector):
    """The gauges, made for each scrape from what `page` was given."""

    def __init__(self) -> None:
        self.now = Now()

    def collect(self) -> Iterable[Metric]:
        now = self.now
        yield _gauge("build_info", {(now.version,): 1}, "version")
        yield _gauge("log_position", {(): now.position})
        yield _gauge("accepting", {(): now.taking})
        yield _gauge("door_connections", {(): now.connections})
        yield _gauge("messages_waiting", _by(now.queued), "lane")
        yield _gauge("disk_free_bytes", _by(now.free), "disk")
        yield _gauge("inputs", {(): now.inputs})
        yield _gauge("inputs_bytes", {(): now.inputs_bytes})
        yield _gauge("input_removals", _by(now.removals), "lane")
        yield _gauge("store_usable", _by(now.stores), "store")
        yield _plugin_errors(now)
        yield _total("log_lines_dropped", now.log_lines_dropped)
        yield _total("notifications_dropped", now.notifications_dropped)
        yield from self._work(now.standing)
        yield from self._lanes(now)
        yield from self._comfyui(now.backends)

    def _work(self, standing: OpenWorkSummary) -> Iterator[Metric]:
        oldest = {} if standing.oldest_ms is None else {(): standing.oldest_ms / 1000}
        yield _gauge("oldest_owed_image_timestamp_seconds", oldest)
        yield _gauge("batches", _by(standing.batches, BATCH_STATES), "state")
        yield _gauge("owed_images", _by(standing.images), "state")
        yield _gauge("prompts", _by(standing.prompts, PROMPT_STATES), "state")
        yield _gauge("calls_running", _by(standing.running), "kind")

    def _lanes(self, now: Now) -> Iterator[Metric]:
        standing = now.standing
        users = sum(lane.startswith("user/") for lane in standing.paused)
        paused = {(lane, "person"): lane in standing.paused for lane in now.lanes}
        troubled = {(lane, "trouble"): lane in standing.troubles for lane in now.lanes}
        yield _gauge("lane_paused", paused | troubled, "lane", "cause")
        yield _gauge("users_paused", {(): users})

    def _comfyui(self, backends: tuple[BackendInfo, ...]) -> Iterator[Metric]:
        def counted(name: str, field: str) -> Metric:
            family = CounterMetricFamily(f"comfyledger_comfyui_{name}", _HELP[f"comfyui_{name}"], labels=("backend",))
            for backend in backends:
                family.add_metric((backend.name,), getattr(backend, field))
            return family

        connected = {(backend.name,): backend.connected for backend in backends}
        yield _gauge("comfyui_connected", connected, "backend")
        yield counted("reconnects", "reconnects")
        yield counted("deaf_sockets", "deaf")
        yield counted("sweeps", "sweeps")


def _gauge(name: str, samples: Mapping[Any, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"comfyledger_{name}", _HELP[name], labels=labels)
    for values, amount in samples.items():
        family.add_metric(values, float(amount))
    return family


def _plugin_errors(now: Now) -> Metric:
    """With a sample for each call of each store, so that the first error is visible as an increase."""
    family = CounterMetricFamily("comfyledger_plugin_errors", _HELP["plugin_errors"], labels=("store", "call"))
    for store in now.stores:
        for call in STORE_CALLS:
            family.add_metric((store, call), now.plugin_errors.get(store, {}).get(call, 0))
    return family


def _total(name: str, count: int) -> Metric:
    """A counter that is kept elsewhere."""
    return CounterMetricFamily(f"comfyledger_{name}", _HELP[name], value=count)


def _by(found: Mapping[str, float], always: Iterable[str] = ()) -> dict[tuple[str, ...], float]:
    """Samples of one label. The values in `always` are 0 if there is no sample."""
    return {(key,): found.get(key, 0) for key in (*always, *(key for key in found if key not in always))}
