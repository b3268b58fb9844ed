"""The gauges of the present state, and the counters that are kept elsewhere, made for each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.metrics.help_texts import HELP
from comfyledger.wire import BackendInfo, BackendWork

BATCH_STATES: Final = ("open", "held")
PROMPT_STATES: Final = ("queued", "waiting", "submitting", "accepted", "finished", "cancelling")


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
    input_uploads: dict[str, tuple[int, int]] = {}
    """Files and bytes that went into the input folder of each ComfyUI, by name."""


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
        for place, name in enumerate(("comfyui_input_uploads", "comfyui_input_bytes")):
            yield _counter(name, {backend: sent[place] for backend, sent in now.input_uploads.items()})

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
            return _counter(f"comfyui_{name}", {backend.name: getattr(backend, field) for backend in backends})

        connected = {(backend.name,): backend.connected for backend in backends}
        yield _gauge("comfyui_connected", connected, "backend")
        yield _gauge("comfyui_places", _places(backends), "backend", "state")
        yield _ended(backends)
        yield counted("reconnects", "reconnects")
        yield counted("deaf_sockets", "deaf")
        yield counted("sweeps", "sweeps")


def _counter(name: str, samples: Mapping[str, int]) -> Metric:
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


def _plugin_errors(now: Now) -> Metric:
    """With a sample for each call of each store, so that the first error is visible as an increase."""
    family = CounterMetricFamily("comfyledger_plugin_errors", HELP["plugin_errors"], labels=("store", "call"))
    for store in now.stores:
        for call in STORE_CALLS:
            family.add_metric((store, call), now.plugin_errors.get(store, {}).get(call, 0))
    return family


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
