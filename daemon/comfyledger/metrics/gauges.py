"""The gauges of the present state, and the counters that are kept elsewhere, made for each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.metrics.help_texts import HELP
from comfyledger.wire import BackendInfo, BackendWork, WebhookInfo

BATCH_STATES: Final = ("open", "held")
PROMPT_STATES: Final = ("queued", "waiting", "submitting", "accepted", "finished", "cancelling", "strays")


STORE_CALLS: Final = (
    "prepare",
    "highest_number",
    "put",
    "check",
    "delete",
    "fetch",
    "page",
    "thumbnail_url",
    "file_url",
    "space",
    "caveat",
    "close",
)
"""The calls that the daemon makes to a plugin of a store."""


THUMBNAILS: Final = ("made", "cached", "failed")
"""What became of thumbnails that were asked for."""

DELIVERIES: Final = (
    "delivered",
    "http_3xx",
    "http_4xx",
    "http_5xx",
    "timeout",
    "not_reached",
    "tls",
    "address_not_allowed",
    "internal",
)
"""What came of a try of a webhook."""
PAUSES: Final = ("paused", "gone", "dead", "not_allowed")
"""The states in which a webhook delivers nothing."""


class DiskNow(msgspec.Struct, frozen=True):
    """The disk of one folder, in bytes. `free_min`: nothing new is taken while fewer are free."""

    free: int
    size: int
    free_min: int


class FleetNow(msgspec.Struct, frozen=True):
    """A box and its fleet. `behind`: events that the box lacked when it last looked."""

    is_member: bool
    present: int
    behind: int


class Now(msgspec.Struct, frozen=True):
    """The daemon at one moment. `lanes`: those that are always shown. `disks`: by what their folders are for."""

    version: str = ""
    position: int = 0
    standing: OpenWorkSummary = OpenWorkSummary()
    queued: dict[str, int] = {}
    lanes: tuple[str, ...] = ()
    backends: tuple[BackendInfo, ...] = ()
    stores: dict[str, bool] = {}
    connections: int = 0
    taking: bool = False
    disks: dict[str, DiskNow] = {}
    log_lines_dropped: int = 0
    notifications_dropped: int = 0
    plugin_errors: dict[str, dict[str, int]] = {}
    """Errors of the plugin of each store, by call."""
    inputs: int = 0
    inputs_bytes: int = 0
    removals: dict[str, int] = {}
    """Inputs that are still to be removed, by lane."""
    input_uploads: dict[str, tuple[int, int]] = {}
    """Files and bytes that went into the input folder of each ComfyUI, by name."""
    thumbnails: dict[str, int] = {}
    """How many were asked for, by outcome."""
    thumbnails_bytes: int = 0
    webhooks: tuple[WebhookInfo, ...] = ()
    fleet: FleetNow | None = None
    deliveries: dict[str, dict[str, int]] = {}
    """Tries of each webhook since the start, by what came of them: `delivered`, or the code of the fault."""


class Gauges(Collector):
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
        for field in DiskNow.__struct_fields__:
            amounts = {disk: getattr(one, field) for disk, one in now.disks.items()}
            yield _gauge(f"disk_{field}_bytes", _by(amounts), "disk")
        yield _gauge("inputs", {(): now.inputs})
        yield _gauge("inputs_bytes", {(): now.inputs_bytes})
        yield _gauge("input_removals", _by(now.removals), "lane")
        yield _thumbnails(now)
        yield _gauge("thumbnails_bytes", {(): now.thumbnails_bytes})
        yield _gauge("store_usable", _by(now.stores), "store")
        yield _plugin_errors(now)
        yield _total("log_lines_dropped", now.log_lines_dropped)
        yield _total("notifications_dropped", now.notifications_dropped)
        yield from _webhooks(now)
        yield from _fleet(now.fleet)
        yield from self._work(now.standing)
        yield from self._lanes(now)
        yield from self._comfyui(now.backends)
        for place, name in enumerate(("comfyui_input_uploads", "comfyui_input_bytes")):
            yield _counter(name, {backend: sent[place] for backend, sent in now.input_uploads.items()})

    def _work(self, standing: OpenWorkSummary) -> Iterator[Metric]:
        oldest = {} if standing.oldest_ms is None else {(): standing.oldest_ms / 1000}
        yield _gauge("oldest_owed_image_timestamp_seconds", oldest)
        yield _gauge("batches", _by(standing.batches, BATCH_STATES), "state")
        yield _gauge("owed_images", _by(standing.images), "state")
        yield _gauge("prompts", _by(standing.prompts, PROMPT_STATES), "state")
        yield _gauge("calls_running", _by(standing.running), "kind")
        queued_s = {one.label: one.queued_s for one in standing.demand if one.queued_s is not None}
        yield _gauge("queued_prompts", _by({one.label: one.queued for one in standing.demand}), "needs")
        yield _gauge("queued_seconds", _by(queued_s), "needs")
        yield _gauge("backends_wanted", _by({one.label: one.wanted for one in standing.demand}), "needs")

    def _lanes(self, now: Now) -> Iterator[Metric]:
        standing = now.standing
        users = sum(lane.startswith("user/") for lane in standing.paused)
        paused = {(lane, "person"): lane in standing.paused for lane in now.lanes}
        troubled = {(lane, "trouble"): lane in standing.troubles for lane in now.lanes}
        yield _gauge("lane_paused", paused | troubled, "lane", "cause")
        yield _gauge("users_paused", {(): users})

    def _comfyui(self, backends: tuple[BackendInfo, ...]) -> Iterator[Metric]:
        def counted(name: str, field: str) -> Metric:
            return _counter(f"comfyui_{name}", {backend.name: getattr(backend, field) for backend in backends})

        connected = {(backend.name,): backend.connected for backend in backends}
        yield _gauge("comfyui_connected", connected, "backend")
        yield _gauge("comfyui_places", _places(backends), "backend", "state")
        yield _ended(backends)
        work = {one.name: one.work for one in backends if one.work is not None}
        yield _counter("comfyui_busy_seconds", {name: one.busy_s for name, one in work.items()})
        yield _counter("comfyui_images", {name: one.images for name, one in work.items()})
        yield _counter("comfyui_model_changes", {name: one.model_changes for name, one in work.items()})
        yield _gauge("comfyui_strays", _by({name: one.strays for name, one in work.items()}), "backend")
        yield _gauge("comfyui_unfit", _by({name: one.unfit for name, one in work.items()}), "backend")
        yield counted("reconnects", "reconnects")
        yield counted("deaf_sockets", "deaf")
        yield counted("sweeps", "sweeps")


def _counter(name: str, samples: Mapping[str, float]) -> Metric:
    """A counter of each ComfyUI, by name."""
    family = CounterMetricFamily(f"comfyledger_{name}", HELP[name], labels=("backend",))
    for backend, count in samples.items():
        family.add_metric((backend,), count)
    return family


def _gauge(name: str, samples: Mapping[Any, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"comfyledger_{name}", HELP[name], labels=labels)
    for values, amount in samples.items():
        family.add_metric(values, float(amount))
    return family


def _fleet(fleet: FleetNow | None) -> Iterator[Metric]:
    """Without samples if there is no fleet."""
    found = {} if fleet is None else msgspec.structs.asdict(fleet)
    for field in FleetNow.__struct_fields__:
        yield _gauge(f"box_{field}", {(): found[field]} if found else {})


def _plugin_errors(now: Now) -> Metric:
    """With a sample for each call of each store, so that the first error is visible as an increase."""
    family = CounterMetricFamily("comfyledger_plugin_errors", HELP["plugin_errors"], labels=("store", "call"))
    for store in now.stores:
        for call in STORE_CALLS:
            family.add_metric((store, call), now.plugin_errors.get(store, {}).get(call, 0))
    return family


def _thumbnails(now: Now) -> Metric:
    family = CounterMetricFamily("comfyledger_thumbnails", HELP["thumbnails"], labels=("outcome",))
    for outcome in THUMBNAILS:
        family.add_metric((outcome,), now.thumbnails.get(outcome, 0))
    return family


def _webhooks(now: Now) -> Iterator[Metric]:
    """With a sample for each outcome and each cause, so that the first one is visible as an increase."""
    family = CounterMetricFamily(
        "comfyledger_webhook_deliveries", HELP["webhook_deliveries"], labels=("webhook", "outcome")
    )
    for name, codes in now.deliveries.items():
        counts = dict.fromkeys(DELIVERIES, 0)
        for code, count in codes.items():
            counts[_outcome(code)] += count
        for outcome, count in counts.items():
            family.add_metric((name, outcome), count)
    yield family
    yield _gauge("webhook_lag_events", {(one.name,): one.behind for one in now.webhooks}, "webhook")
    yield _gauge("webhook_lag_seconds", {(one.name,): one.behind_s for one in now.webhooks}, "webhook")
    yield _gauge("webhook_put_aside", {(one.name,): one.owed for one in now.webhooks}, "webhook")
    paused = {(one.name, cause): one.state == cause for one in now.webhooks for cause in PAUSES}
    yield _gauge("webhook_paused", paused, "webhook", "cause")


def _outcome(code: str) -> str:
    """The label for a code. An endpoint answers with any status, so statuses are counted by their hundreds."""
    label = f"{code[:6]}xx" if code.startswith("http_") else code
    return label if label in DELIVERIES else "internal"


def _places(backends: Iterable[BackendInfo]) -> dict[tuple[str, str], float]:
    """How many places of each ComfyUI are taken and free."""
    found: dict[tuple[str, str], float] = {}
    for backend in backends:
        work = backend.work or BackendWork(0)
        found[backend.name, "running"] = work.running
        found[backend.name, "waiting"] = work.waiting
        found[backend.name, "free"] = max(0, work.places - work.running - work.waiting)
    return found


def _ended(backends: Iterable[BackendInfo]) -> Metric:
    family = CounterMetricFamily("comfyledger_comfyui_prompts", HELP["comfyui_prompts"], labels=("backend", "outcome"))
    for backend in backends:
        for outcome, count in (backend.work.ended if backend.work else {}).items():
            family.add_metric((backend.name, outcome), count)
    return family


def _total(name: str, count: int) -> Metric:
    """A counter that is kept elsewhere."""
    return CounterMetricFamily(f"comfyledger_{name}", HELP[name], value=count)


def _by(found: Mapping[str, float], always: Iterable[str] = ()) -> dict[tuple[str, ...], float]:
    """Samples of one label. The values in `always` are 0 if there is no sample."""
    return {(key,): found.get(key, 0) for key in (*always, *(key for key in found if key not in always))}
