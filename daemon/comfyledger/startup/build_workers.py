"""Builds what carries out the engine's effects and what cleans up beside it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from comfyledger.engine import Engine
from comfyledger.plugins import OpenedStore
from comfyledger.settings import ComfyUI as Section
from comfyledger.settings import Settings
from comfyledger.startup.backends import Backends
from comfyledger.startup.open_state import State
from comfyledger.workers.backends.mover import Mover
from comfyledger.workers.dispatch import Workers
from comfyledger.workers.fleet.orphans import Orphans
from comfyledger.workers.fleet.peers import Peers
from comfyledger.workers.inputs.copies import InputCopies
from comfyledger.workers.inputs.known import Known, lost_to
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.inputs.retention import InputRetention
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.sources import SourceFinder
from comfyledger.workers.spool.disk_guard import DiskGuard, Needed
from comfyledger.workers.spool.disks import Disks, Use, Watched
from comfyledger.workers.spool.retention import Outputs, Retention
from comfyledger.workers.stores.delete import Deleter, SpoolFollower
from comfyledger.workers.stores.first_use import Asker
from comfyledger.workers.stores.restore_file import FileRestorer
from comfyledger.workers.stores.upload import Uploader


class Background(msgspec.Struct, frozen=True):
    """What runs beside the engine from the start to the end."""

    workers: Workers
    mover: Mover
    asker: Asker
    retention: Retention
    follower: SpoolFollower
    disk_guard: DiskGuard
    disks: Disks
    inputs: InputStore
    input_retention: InputRetention
    inputs_lost: Known
    orphans: Orphans | None
    copies: InputCopies | None

    async def sweep_and_check(self, *, is_current: bool) -> None:
        """Once before the first batch: remove what a crash left of files, and check the room on the disks.

        `is_current`: whether the ledger has all of the log. Otherwise it may not know yet which files are kept.
        """
        if is_current:
            await self.retention.sweep_at_start()
            await self.inputs.sweep(self.inputs_lost)
        await self.disk_guard.look()

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Each runs until it is cancelled."""
        of_disks, of_inputs = (
            [self.disk_guard.run(), self.disks.run()],
            [self.inputs.watch(), self.input_retention.run()],
        )
        of_fleet = [self.orphans.run()] if self.orphans is not None else []
        of_fleet += [self.copies.run(self.workers.input_remover)] if self.copies is not None else []
        return [self.mover.run(), self.retention.run(), self.follower.run(), *of_disks, *of_inputs, *of_fleet]


def input_copies(settings: Settings, state: State, engine: Engine, peers: Peers | None) -> InputCopies | None:
    """Of inputs that other boxes keep; None without a fleet."""
    if peers is None:
        return None
    view = engine.view
    made = InputCopies(state.inputs, state.reader, peers, view.boxes, settings.box.name, view.boxes_overdue)
    engine.observe(made.committed)
    return made


def build_background(
    settings: Settings,
    state: State,
    engine: Engine,
    stores: dict[str, OpenedStore],
    backends: Backends,
    rows: RowCache,
    reporter: Reporter,
    configured_inputs: Callable[[], Collection[str]],
    now_s: Callable[[], float],
    copies: InputCopies | None = None,
) -> Background:
    """Nothing of it runs yet. `configured_inputs`: those that the configuration names, by SHA-256. `now_s`: the wall
    clock, to which the age of files is compared.
    """
    reader, spool = state.reader, state.spool
    disks = Disks(_folders(settings), stores)
    disk_guard = DiskGuard(engine, reporter, reader, spool, settings.ledger_path.parent, _needed(settings), disks)
    uploader, deleter = Uploader(stores, rows, spool, reporter), Deleter(stores, rows, reporter)
    outputs = partial(_outputs, backends.sections, state, now_s)
    sources, remover = SourceFinder(rows, reporter), InputRemover(state.inputs, reporter, settings.box_name)
    workers = Workers(backends.renderers, uploader, deleter, sources, remover, reporter, disk_guard, settings.box_name)
    return Background(
        workers=workers,
        mover=Mover(engine.view, reporter, workers.was_running),
        asker=Asker(stores, engine, random.Random()),  # noqa: S311 (jitter)
        retention=Retention(spool, reader, settings.spool.keep_days, now_s, outputs, settings.box_name),
        follower=SpoolFollower(engine.view, reader, spool),
        disk_guard=disk_guard,
        disks=disks,
        inputs=state.inputs,
        input_retention=_input_retention(settings, state, engine, reporter, remover, now_s, configured_inputs, copies),
        copies=copies,
        inputs_lost=lost_to(reader),
        orphans=Orphans(engine.view, FileRestorer(stores, rows, spool), reporter) if settings.box_name else None,
    )


def _input_retention(
    settings: Settings,
    state: State,
    engine: Engine,
    reporter: Reporter,
    remover: InputRemover,
    now_s: Callable[[], float],
    configured: Callable[[], Collection[str]],
    copies: InputCopies | None,
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
        copies,
    )
    engine.observe(made.committed)
    return made


def _outputs(sections: Mapping[str, Section], state: State, now_s: Callable[[], float]) -> Iterator[Outputs]:
    """ComfyUI's own output folders, where their sections name them. One that several share stays as long as the
    most patient of them says."""
    days: dict[str, float] = {}
    for one in sections.values():
        if one.output_dir:
            folder = os.path.realpath(one.output_dir)
            days[folder] = max(days.get(folder, 0.0), one.output_keep_days)
    for folder, keep_days in days.items():
        yield Outputs(Path(folder), state.reader, keep_days, now_s)


def _needed(settings: Settings) -> Needed:
    spool = settings.spool
    return Needed(spool.free_min_bytes, settings.ledger.free_min_bytes, spool.parked_max_bytes)


def _folders(settings: Settings) -> dict[Use, Watched]:
    """The daemon's own folders, and what must be free there."""
    spool_min = settings.spool.free_min_bytes
    return {
        "ledger": Watched(settings.ledger_path.parent, settings.ledger.free_min_bytes),
        "spool": Watched(settings.spool_path, spool_min),
        "inputs": Watched(settings.inputs_path, spool_min),
    }
