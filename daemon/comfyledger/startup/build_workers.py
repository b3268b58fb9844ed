"""Builds what carries out the engine's effects and what cleans up beside it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from comfyledger.comfyui.workflow_checks import WorkflowChecks
from comfyledger.core.reports import InputSending
from comfyledger.core.results import Wanted
from comfyledger.core.values import LoadedFile, backend_lane
from comfyledger.engine import Engine
from comfyledger.plugins import OpenedStore
from comfyledger.settings import Settings
from comfyledger.startup.build_comfyui import Backend
from comfyledger.startup.open_state import State
from comfyledger.workers.comfyui.fetch import Bounds
from comfyledger.workers.comfyui.input_files import InputFiles
from comfyledger.workers.comfyui.node_check import NodeCheck, held_batches
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.dispatch import Workers
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.inputs.known import Known, lost_to
from comfyledger.workers.inputs.loaded_bytes import LoadedBytes
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.inputs.retention import InputRetention
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.reporting import Reporter, Secrets
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.sources import SourceFinder
from comfyledger.workers.spool.disk_guard import DiskGuard, Needed
from comfyledger.workers.spool.retention import Outputs, Retention
from comfyledger.workers.stores.delete import Deleter, SpoolFollower
from comfyledger.workers.stores.first_use import Asker
from comfyledger.workers.stores.upload import Uploader


class Background(msgspec.Struct, frozen=True):
    """What runs beside the engine from the start to the end. `renderers` say which prompts are under way."""

    workers: Workers
    asker: Asker
    renderers: Mapping[str, Renderer]
    retention: Retention
    follower: SpoolFollower
    disk_guard: DiskGuard
    inputs: InputStore
    input_retention: InputRetention
    inputs_lost: Known

    async def sweep_and_check(self) -> None:
        """Once before the first batch: remove what a crash left of files, and check the room on the disks."""
        await self.retention.sweep_at_start()
        await self.inputs.sweep(self.inputs_lost)
        await self.disk_guard.look()

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Each runs until it is cancelled."""
        return [self.retention.run(), self.follower.run(), self.disk_guard.run(), *self._of_inputs()]

    def _of_inputs(self) -> list[Coroutine[Any, Any, None]]:
        return [self.inputs.watch(), self.input_retention.run()]


def build_background(
    settings: Settings,
    state: State,
    engine: Engine,
    stores: dict[str, OpenedStore],
    backends: Mapping[str, Backend],
    secrets: Secrets,
    reporter: Reporter,
    checks: WorkflowChecks,
    images: FileSource,
    configured_inputs: Callable[[], Collection[str]],
    now_s: Callable[[], float],
) -> Background:
    """Nothing of it runs yet. `configured_inputs`: those that the configuration names, by SHA-256. `now_s`: the wall
    clock, to which the age of files is compared.
    """
    reader, spool = state.reader, state.spool
    rows = RowCache(engine.view, reader)
    held = LoadedBytes(state.inputs, images, rows)
    unfit = held_batches()
    renderers = {
        name: _renderer(settings, one, rows, state, secrets, reporter, NodeCheck(one.node_classes, checks, unfit), held)
        for name, one in backends.items()
    }
    disk_guard = DiskGuard(engine, reporter, reader, spool, settings.ledger_path.parent, _needed(settings))
    uploader, deleter = Uploader(stores, rows, spool, reporter), Deleter(stores, rows, reporter)
    sources, remover = SourceFinder(rows, reporter), InputRemover(state.inputs, reporter)
    return Background(
        workers=Workers(renderers, uploader, deleter, sources, remover, reporter, disk_guard),
        asker=Asker(stores, engine, random.Random()),  # noqa: S311 (jitter)
        renderers=renderers,
        retention=Retention(spool, reader, settings.spool.keep_days, now_s, list(_outputs(settings, state, now_s))),
        follower=SpoolFollower(engine.view, reader, spool),
        disk_guard=disk_guard,
        inputs=state.inputs,
        input_retention=_input_retention(settings, state, engine, reporter, remover, now_s, configured_inputs),
        inputs_lost=lost_to(reader),
    )


def _input_retention(
    settings: Settings,
    state: State,
    engine: Engine,
    reporter: Reporter,
    remover: InputRemover,
    now_s: Callable[[], float],
    configured: Callable[[], Collection[str]],
) -> InputRetention:
    inputs = settings.inputs
    made = InputRetention(
        state.inputs,
        state.reader,
        reporter,
        remover,
        inputs.keep_days,
        inputs.quota_bytes,
        lambda: int(now_s() * 1_000),
        configured,
    )
    engine.observe(made.committed)
    return made


def _renderer(
    settings: Settings,
    backend: Backend,
    rows: RowCache,
    state: State,
    secrets: Secrets,
    reporter: Reporter,
    node_check: NodeCheck,
    held: LoadedBytes,
) -> Renderer:
    spool = settings.spool
    return Renderer(
        backend.client,
        backend.watcher,
        rows,
        backend.cleanup,
        state.spool,
        reporter,
        Bounds(spool.image_bytes_max, spool.pixels_max, spool.strip_metadata, spool.file_bytes_max),
        secrets,
        wants_previews=backend.wants_previews,
        node_check=node_check,
        version=backend.version,
        input_files=_input_files(settings, backend, reporter, held),
        fetches_max=settings.limits.fetches_max,
    )


def _input_files(settings: Settings, backend: Backend, reporter: Reporter, held: LoadedBytes) -> InputFiles:
    async def intend(load: LoadedFile, name: str) -> bool:
        report = InputSending(load.sha256, load.extension, load.size_bytes, backend.name, name, load.source)
        answer = await reporter.report(report)
        return isinstance(answer, Wanted) and answer.go

    folder = settings.comfyui[backend.name].input_dir
    return InputFiles(backend.client, backend.node_classes, held, intend, Path(folder) if folder else None)


def _outputs(settings: Settings, state: State, now_s: Callable[[], float]) -> Iterator[Outputs]:
    """ComfyUI's own output folders, where the configuration names them. One that several share stays as long as the
    most patient of them says."""
    days: dict[str, float] = {}
    for one in settings.comfyui.values():
        if one.output_dir:
            folder = os.path.realpath(one.output_dir)
            days[folder] = max(days.get(folder, 0.0), one.output_keep_days)
    for folder, keep_days in days.items():
        yield Outputs(Path(folder), state.reader, keep_days, now_s)


def _needed(settings: Settings) -> Needed:
    spool = settings.spool
    lanes = tuple(map(backend_lane, settings.comfyui))
    return Needed(spool.free_min_bytes, settings.ledger.free_min_bytes, spool.parked_max_bytes, lanes)
