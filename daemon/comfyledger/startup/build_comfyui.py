"""Builds the connections to every configured ComfyUI: client, watcher and history cleanup of each."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import aiohttp
import msgspec
import structlog

from comfyledger import wire
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.server_version import ServerVersion
from comfyledger.comfyui.transfer import NotReached, unreached_text
from comfyledger.comfyui.watch import Watcher
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from comfyledger.core.values import backend_lane
from comfyledger.ledger.ports import Reader
from comfyledger.queries.progress import ProgressFeed
from comfyledger.settings import ComfyUI as ComfyUISettings
from comfyledger.settings import Secret, Settings
from comfyledger.startup.greeting import ComfyUISeen
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.comfyui.throughput import Throughput
from comfyledger.workers.reporting import Reporter

FIRST_ANSWER_S = 1.0
"""How long the first lines at a terminal wait for the answer of a ComfyUI."""

log = structlog.get_logger("comfyledger.app")


class Backend(msgspec.Struct, frozen=True):
    """One configured ComfyUI."""

    name: str
    client: ComfyUI
    watcher: Watcher
    cleanup: HistoryCleanup
    node_classes: NodeClasses
    version: ServerVersion
    wants_previews: Callable[[str], bool]
    """Whether somebody watches the pictures of a batch, by its id."""

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
            work=work,
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
        )

    def _state(self, standing: OpenWorkSummary, work: wire.BackendWork) -> wire.BackendState:
        lane = backend_lane(self.name)
        if lane in standing.paused:
            return "draining" if work.running + work.waiting + work.fetching else "paused"
        return "connected" if self.watcher.is_up and lane not in standing.troubles else "away"


def build_backends(
    settings: Settings,
    session: aiohttp.ClientSession,
    keys: Mapping[str, Mapping[str, Secret]],
    progress: ProgressFeed,
    reporter: Reporter,
    reader: Reader,
) -> dict[str, Backend]:
    """By name, in the order of the configuration. `keys`: the `extra_data` of each, for paid nodes."""

    def backend(name: str, one: ComfyUISettings) -> Backend:
        client = _client(session, one, keys[name])
        cleanup = HistoryCleanup(client, name, reader)
        kept_at = settings.node_classes_path / f"{name}.json.gz"
        node_classes = NodeClasses(client, kept_at, partial(reporter.learned, name))
        version = ServerVersion(client)
        watcher = _watcher(one, name, client, progress, reporter, cleanup, node_classes, version)
        return Backend(name, client, watcher, cleanup, node_classes, version, progress.wants_previews)

    return {name: backend(name, one) for name, one in settings.comfyui.items()}


def _client(session: aiohttp.ClientSession, settings: ComfyUISettings, keys: Mapping[str, Secret]) -> ComfyUI:
    return ComfyUI(
        session,
        settings.url,
        connect_timeout_s=settings.connect_timeout_s,
        request_timeout_s=settings.request_timeout_s,
        transfer_min_bytes_per_s=settings.transfer_min_bytes_per_s,
        extra_data=keys,
    )


def _watcher(
    settings: ComfyUISettings,
    name: str,
    client: ComfyUI,
    progress: ProgressFeed,
    reporter: Reporter,
    cleanup: HistoryCleanup,
    node_classes: NodeClasses,
    version: ServerVersion,
) -> Watcher:
    lane = backend_lane(name)

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
        progress,
        sweep_interval_s=settings.sweep_interval_s,
        connect_timeout_s=settings.connect_timeout_s,
        render_timeout_s=settings.render_timeout_s,
        client_ids=lambda: secrets.token_hex(16),
        connected=connected,
        stuck=stuck,
    )


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
