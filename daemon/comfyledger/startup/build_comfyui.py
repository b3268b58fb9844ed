"""Builds all that belongs to one ComfyUI: client, watcher, history cleanup, node classes and renderer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from comfyledger import wire
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.kept_connections import KeptConnections
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.server_version import ServerVersion
from comfyledger.comfyui.transfer import NotReached, unreached_text
from comfyledger.comfyui.watch import Watcher
from comfyledger.comfyui.workflow_checks import WorkflowChecks
from comfyledger.core import results
from comfyledger.core.reports import InputSending
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.core.values import LoadedFile, backend_lane
from comfyledger.queries.embeddings import Embeddings
from comfyledger.queries.progress import ProgressFeed
from comfyledger.settings import ComfyUI as Section
from comfyledger.settings import Secret, Settings
from comfyledger.startup.greeting import ComfyUISeen
from comfyledger.startup.open_state import State
from comfyledger.workers.backends.guard import address_of
from comfyledger.workers.comfyui.fetch import Bounds
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.comfyui.input_files import InputFiles
from comfyledger.workers.comfyui.node_check import NodeCheck, held_batches
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.comfyui.throughput import Throughput
from comfyledger.workers.comfyui.warm_models import WarmModels
from comfyledger.workers.inputs.loaded_bytes import LoadedBytes
from comfyledger.workers.reporting import Reporter, Secrets
from comfyledger.workers.row_cache import RowCache

FIRST_ANSWER_S: Final = 1.0
"""How long the first lines at a terminal wait for the answer of a ComfyUI."""

Keys = Mapping[str, Secret]
"""The `extra_data` of a ComfyUI, for paid nodes."""


class Wanted(msgspec.Struct, frozen=True):
    """How a ComfyUI is to be: its section, and the secrets that the section names.

    `is_added`: a client added it, so the address of each connection is judged. `gets_secrets`: it gets workflows that
    have secrets.
    """

    section: Section
    keys: Keys = {}
    is_added: bool = False
    gets_secrets: bool = True


class Backend(msgspec.Struct, frozen=True):
    """One ComfyUI, as it was wanted."""

    name: str
    wanted: Wanted
    client: ComfyUI
    watcher: Watcher
    cleanup: HistoryCleanup
    node_classes: NodeClasses
    version: ServerVersion
    warm: WarmModels
    embeddings: Embeddings
    renderer: Renderer

    @property
    def section(self) -> Section:
        return self.wanted.section

    async def run(self) -> None:
        """Watch it, and remove what is used up there, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watcher.run())
            group.create_task(self.cleanup.run())

    def info(self, standing: OpenWorkSummary, throughput: Throughput) -> wire.BackendInfo:
        """How it is now, as the wire shows it. `problem` is only the code of its trouble."""
        work = self._work(standing, throughput)
        return wire.BackendInfo(
            self.name,
            self.client.url,
            connected=self.watcher.is_up,
            version=self.version.text,
            reconnects=max(0, self.watcher.connects - 1),
            deaf=self.watcher.deaf,
            sweeps=self.watcher.sweeps,
            node_classes=len(info) if (info := self.node_classes.current()) is not None else None,
            state=self._state(standing, work),
            problem=standing.troubles.get(backend_lane(self.name), "" if self.watcher.is_up else "not_reached"),
            move_after_s=self.section.move_after_s,
            work=work,
            tags=sorted(self.section.tags),
            warm=list(self.warm.names) if self.warm.names is not None else None,
        )

    def _work(self, standing: OpenWorkSummary, throughput: Throughput) -> wire.BackendWork:
        there = standing.at_backends.get(self.name, 0)
        running = min(there, int(self.watcher.runs_one))
        return wire.BackendWork(
            standing.places.get(self.name, 0),
            running,
            there - running,
            standing.fetching.get(self.name, 0),
            throughput.ended(self.name),
            throughput.images_per_hour(self.name),
            throughput.images(self.name),
            standing.busy_ms.get(self.name, 0) / 1000,
            standing.model_changes.get(self.name, 0),
            standing.strays.get(self.name, 0),
            standing.unfit.get(self.name, 0),
        )

    def _state(self, standing: OpenWorkSummary, work: wire.BackendWork) -> wire.BackendState:
        lane = backend_lane(self.name)
        if lane in standing.paused:
            return "draining" if work.running + work.waiting + work.fetching + work.strays else "paused"
        return "connected" if self.watcher.is_up and lane not in standing.troubles else "away"


class Builder:
    """Makes backends, which share what it is given. `session`, `kept`: of the configured ones; `guarded`: of the added
    ones."""

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession,
        kept: KeptConnections,
        guarded: aiohttp.ClientSession,
        progress: ProgressFeed,
        reporter: Reporter,
        state: State,
        secrets: Secrets,
        rows: RowCache,
        held: LoadedBytes,
        checks: WorkflowChecks,
    ) -> None:
        self._settings = settings
        self._session, self._kept, self._guarded = session, kept, guarded
        self._progress = progress
        self._reporter = reporter
        self._state = state
        self._secrets = secrets
        self._rows = rows
        self._held = held
        self._checks = checks
        self._unfit = held_batches()

    def build(self, name: str, wanted: Wanted, before: Backend | None = None) -> Backend:
        """Nothing of it runs yet. `before`: takes the place of this connection to the same server."""
        section, client = wanted.section, self._client(wanted)
        cleanup = HistoryCleanup(client, name, self._state.reader)
        kept_at = self._settings.node_classes_path / f"{name}.json.gz"
        node_classes = NodeClasses(client, kept_at, partial(self._reporter.learned, name))
        version, warm = ServerVersion(client), before.warm if before is not None else WarmModels()
        watcher = self._watcher(section, name, client, cleanup, node_classes, version)
        renderer = Renderer(
            client,
            watcher,
            self._rows,
            cleanup,
            self._state.spool,
            self._reporter,
            self._bounds,
            self._secrets if wanted.gets_secrets else self._secrets.masking_only(),
            wants_previews=self._progress.wants_previews,
            node_check=NodeCheck(node_classes, self._checks, self._unfit),
            version=version,
            input_files=self._input_files(section, name, client, node_classes),
            warm=warm,
            fetches_max=self._settings.limits.fetches_max,
            posting=before.renderer.posting if before is not None else None,
        )
        watching = (client, watcher, cleanup)
        return Backend(name, wanted, *watching, node_classes, version, warm, Embeddings(client), renderer)

    @property
    def _bounds(self) -> Bounds:
        spool = self._settings.spool
        return Bounds(spool.image_bytes_max, spool.pixels_max, spool.strip_metadata, spool.file_bytes_max)

    def _client(self, wanted: Wanted) -> ComfyUI:
        section = wanted.section
        return ComfyUI(
            self._guarded if wanted.is_added else self._session,
            section.url,
            connect_timeout_s=section.connect_timeout_s,
            request_timeout_s=section.request_timeout_s,
            transfer_min_bytes_per_s=section.transfer_min_bytes_per_s,
            extra_data=wanted.keys,
            address_of=address_of if wanted.is_added else None,
            kept=None if wanted.is_added else self._kept,
        )

    def _watcher(
        self,
        section: Section,
        name: str,
        client: ComfyUI,
        cleanup: HistoryCleanup,
        node_classes: NodeClasses,
        version: ServerVersion,
    ) -> Watcher:
        reporter, lane = self._reporter, backend_lane(name)

        async def connected() -> None:
            node_classes.renew(asyncio.get_running_loop().time())
            version.renew()
            reporter.probe_soon(lane)
            await reporter.works(lane)
            await cleanup.forget_left()

        async def stuck(trouble: NotReached) -> None:
            await reporter.stuck(lane, trouble.code, trouble.text)

        return Watcher(
            client,
            self._progress,
            sweep_interval_s=section.sweep_interval_s,
            connect_timeout_s=section.connect_timeout_s,
            render_timeout_s=section.render_timeout_s,
            client_ids=lambda: secrets.token_hex(16),
            connected=connected,
            stuck=stuck,
        )

    def _input_files(self, section: Section, name: str, client: ComfyUI, node_classes: NodeClasses) -> InputFiles:
        async def intend(load: LoadedFile, placed_as: str) -> bool:
            report = InputSending(load.sha256, load.extension, load.size_bytes, name, placed_as, load.source)
            answer = await self._reporter.report(report)
            return isinstance(answer, results.Wanted) and answer.go

        folder = Path(section.input_dir) if section.input_dir else None
        return InputFiles(client, node_classes, self._held, intend, folder)


async def first_answers(backends: Iterable[Backend]) -> list[ComfyUISeen]:
    """What each ComfyUI answers within `FIRST_ANSWER_S`. Asked for a person at a terminal only."""
    return await asyncio.gather(*map(_first_answer, backends))


async def _first_answer(backend: Backend) -> ComfyUISeen:
    client = backend.client
    try:
        async with asyncio.timeout(FIRST_ANSWER_S):
            await backend.version.learn()
    except NotReached as trouble:
        return ComfyUISeen(backend.name, client.url, trouble=trouble.text)
    except TimeoutError as late:
        return ComfyUISeen(backend.name, client.url, trouble=unreached_text(late))
    await backend.node_classes.fresh(asyncio.get_running_loop().time(), FIRST_ANSWER_S)
    return ComfyUISeen(backend.name, client.url, backend.version.text)
