"""The composition root: builds the parts of the daemon from the settings, runs them in one TaskGroup and ends them.

Clocks and randomness enter here and in `startup` and nowhere else. The order of a start: the ledger with its locks, the
engine, the stores, the watchers, the workers, the server, and in the same turn of the loop what serves its clients.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shlex
import shutil
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from comfyledger import __version__, logs
from comfyledger.admission.characters.known import configured_inputs, read_characters
from comfyledger.admission.configured import read_workflows, secrets_of_workflows
from comfyledger.admission.workflows import fitting
from comfyledger.client.finding import find_state_dir
from comfyledger.comfyui.kept_connections import KeptConnections
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.engine import Engine
from comfyledger.errors import Refused, Unusable
from comfyledger.ledger.observers import Observer
from comfyledger.ledger.ports import Ledger
from comfyledger.metrics import Metrics
from comfyledger.plugins import OpenedStore, open_stores, store_kinds
from comfyledger.queries.activity_counts import ActivityCounts
from comfyledger.queries.characters import Characters
from comfyledger.queries.dependencies import AdmissionPolicy, WorkflowSource, WorkflowTools, workflow_tools
from comfyledger.queries.progress import ProgressFeed
from comfyledger.queries.subscription import FrameCache
from comfyledger.queries.webhook_payload import Payloads
from comfyledger.server.access import access_of
from comfyledger.server.app_keys import Context
from comfyledger.server.file_urls import FileUrls
from comfyledger.server.listen import Entrances, announce, listen, socket_paths, withdraw
from comfyledger.server.salted_key import SaltedKey
from comfyledger.server.sessions import PURPOSE
from comfyledger.settings import Invalid, Settings
from comfyledger.startup import digests
from comfyledger.startup.all_backends import AllBackends
from comfyledger.startup.backends import Backends
from comfyledger.startup.build_comfyui import Builder, first_answers
from comfyledger.startup.build_workers import Background, build_background, input_copies
from comfyledger.startup.fleet import Loop, fleet_loops
from comfyledger.startup.greeting import ComfyUISeen, greeting
from comfyledger.startup.ids import id_source, salt, wall_ms
from comfyledger.startup.open_state import State, in_state_folder, open_state
from comfyledger.startup.reload import Reload, secrets_of, wanted_of
from comfyledger.startup.usable import refuse_mistakes
from comfyledger.workers.backends.added import AddedBackends
from comfyledger.workers.backends.guard import guarded_session
from comfyledger.workers.batch_log import BatchLog
from comfyledger.workers.comfyui.fetch import SLOW_TIMES
from comfyledger.workers.comfyui.throughput import Throughput
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.fleet.about import About
from comfyledger.workers.fleet.heard import Heard
from comfyledger.workers.fleet.peer_key import PeerKey
from comfyledger.workers.fleet.peers import Peers
from comfyledger.workers.inputs.fetch import InputFetcher
from comfyledger.workers.inputs.loaded_bytes import LoadedBytes
from comfyledger.workers.process import signal_handlers
from comfyledger.workers.process.notify import READY, SILENT, STOPPING, Notifier, notifier_of, watchdog_s
from comfyledger.workers.process.watchdog import Watchdog, lanes_of
from comfyledger.workers.reporting import Reporter, Secrets
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.stores.prepare import StorePreparer
from comfyledger.workers.thumbnails.cache import Cache
from comfyledger.workers.thumbnails.thumbnails import Thumbnails
from comfyledger.workers.webhooks.target import configured as configured_webhooks
from comfyledger.workers.webhooks.webhooks import Webhooks

EXIT_UNUSABLE: Final = 5
NEW_OBJECTS: Final = 10_000
"""The garbage collector runs after so many. Python's own 700 are those of a few requests."""

log = structlog.get_logger("comfyledger.app")


# ---- run


def run(settings: Settings) -> int:
    """Run the daemon until it is stopped. Returns the exit code: 0 stopped, 1 refused, 5 a disk failed.

    Settings that cannot be used are refused before anything is made, with the messages of `config check`.
    """
    logs.occupy_standard_files()
    logs.configure(level=settings.logging.level, layout=settings.logging.format)
    logs.take_in_libraries()
    try:
        refuse_mistakes(settings, os.environ)
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            runner.run(_run(settings))
    except (Refused, Unusable) as error:
        return _report_end([error])
    except BaseExceptionGroup as group:
        expected, other = group.split((Refused, Unusable))
        if expected is None or other is not None:
            raise
        return _report_end(_flat(expected))
    return 0


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the extra `speed` is installed; else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _report_end(errors: Sequence[BaseException]) -> int:
    for error in errors:
        for mistake in error.key_mistakes if isinstance(error, Invalid) else ():
            logs.say(f"{mistake.path}: {mistake.message}")
            logs.say(f"  {mistake.hint}")
        log.error("daemon.ended", error=str(error))
    return EXIT_UNUSABLE if any(isinstance(error, Unusable) for error in errors) else 1


def _flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _run(settings: Settings) -> None:
    stop, notifier = asyncio.Event(), notifier_of(os.environ)
    reloading = signal_handlers.Reloading(settings, notifier)
    signal_handlers.install_signal_handlers(stop, reloading)
    async with AsyncExitStack() as stack:
        daemon = await build(settings, stack, notifier)
        context = daemon.context
        reloading.built(daemon.reload.take_in)
        async with asyncio.TaskGroup() as group:
            comfyui = await first_answers(daemon.backends.all.values()) if logs.speaks_to_people() else []
            entrances = await open_server(settings, context, stack)
            tasks = [group.create_task(loop) for loop in daemon.loops()]
            await _report_ready(settings, context, entrances, comfyui)
            lanes = partial(lanes_of, daemon.backends.sections, context.stores)
            watchdog = Watchdog(notifier, context.view, lanes, watchdog_s(os.environ, os.getpid()))
            _spare_collector()
            notifier.say(READY)
            tasks.append(group.create_task(watchdog.run()))
            await stop.wait()
            notifier.say(STOPPING)
            log.info("daemon.stopping")
            withdraw(settings.door_path)
            for task in tasks:
                task.cancel()


def _spare_collector() -> None:
    """What the start has made stays until the end, so the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


async def _report_ready(
    settings: Settings, context: Context, entrances: Entrances, comfyui: Sequence[ComfyUISeen]
) -> None:
    """A few lines for a person at a terminal, and named facts for everybody else."""
    unfit = await fitting.unfit(context)
    if logs.speaks_to_people():
        width = shutil.get_terminal_size().columns
        for line in greeting(__version__, entrances, comfyui, context.stores, unfit, _command(settings), width):
            logs.say(line)
    log.info(
        "daemon.ready",
        url=entrances.url,
        socket=entrances.socket,
        position=context.view.position,
        ledger=str(settings.ledger_path),
    )
    for one in context.backends(context.view.open_work()):
        log.info("comfyui.used", comfyui=one.name, url=one.url)
    for name, store in context.stores.items():
        log.info("store.used", store=name, place=store.identity or store.problem)
    for name in context.policy.workflows:
        log.info("workflow.ready", workflow=name)
    for name, why in unfit.items():
        log.warning("workflow.unfit", workflow=name, error=why)


def _command(settings: Settings) -> str:
    """The command line that finds this daemon, with --state-dir where it would not find it by itself."""
    found = find_state_dir(os.environ).absolute() == settings.state_path
    return "comfyledger" if found else f"comfyledger --state-dir {shlex.quote(str(settings.state_path))}"


# ---- build


class Daemon(msgspec.Struct, frozen=True):
    """All parts of a daemon, built and not yet running."""

    context: Context
    backends: Backends
    added: AddedBackends
    reload: Reload
    background: Background
    preparer: StorePreparer
    of_fleet: list[Loop]

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until it is cancelled, or has nothing more to do."""
        engine = self.context.engine.run(self.background.workers.perform, self.background.asker.ask)
        released, lag = self.background.workers.release_removed(), self.context.metrics.watch_loop()
        return [
            self.context.webhooks.run(),  # first, so that where each begins is saved before anything is decided
            engine,
            released,
            *self.background.loops(),
            self.preparer.run(),
            lag,
            self.context.thumbnails.sweep(),
            self.backends.run(),
            self.added.run(),
            *(loop() for loop in self.of_fleet),
        ]


async def build(settings: Settings, stack: AsyncExitStack, notifier: Notifier = SILENT) -> Daemon:
    """Everything but the sockets of the server. `stack` closes it. Raises Refused, Unusable."""
    workflows = read_workflows(settings)
    characters = Characters(read_characters(settings, workflows, settings.default_workflow))
    state = open_state(settings, os.environ, stack, notifier)
    session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
    kept = KeptConnections()
    stack.callback(kept.close)
    engine = _engine(settings, state.ledger)
    stack.push_async_callback(engine.stop)
    stores = open_stores(store_kinds(), settings.stores, settings.state_path)
    for opened in stores.values():
        if opened.waiting is not None:
            stack.push_async_callback(opened.close)
    wanted = wanted_of(settings, os.environ)
    secrets = Secrets(secrets_of_workflows(settings, workflows, os.environ), secrets_of(wanted.values()))
    reporter = Reporter(engine, salt, settings.limits.foreign_text_chars_max, secrets)
    preparer = StorePreparer(stores, state.reader, reporter, random.Random())  # noqa: S311 (jitter)
    await preparer.first()
    progress = ProgressFeed(engine.view.batch)
    tools = workflow_tools(settings.limits.check_workflows, settings.limits.graph_bytes_max)
    stack.push_async_callback(tools.converter.close)
    fleet, peer_key = Heard(settings.box_name), PeerKey(engine.view.secret, time.time)
    peers = Peers(fleet, session, peer_key) if settings.box_name else None
    images = FileSource(stores, state.reader, state.spool, peers)
    cache = Cache(settings.thumbnails_path, settings.thumbnails.quota_bytes)
    thumbnails = Thumbnails(images, state.reader, cache, lambda: engine.view.shortage is None)
    stack.push_async_callback(thumbnails.close)
    configured = partial(configured_inputs, workflows, characters)
    rows = RowCache(engine, state.reader)
    copies = input_copies(settings, state, engine, peers)
    held = LoadedBytes(state.inputs, images, rows, copies)
    guarded = await stack.enter_async_context(guarded_session())
    builder = Builder(settings, session, kept, guarded, progress, reporter, state, secrets, rows, held, tools.checks)
    backends = Backends(builder, engine, reporter, progress, fleet)
    running = AllBackends(backends, wanted, settings.backends.trusted)
    added = AddedBackends(running, state.reader, reporter, settings.backends.allowed, settings.box_name)
    await added.start()
    engine.observe(added.committed)
    file_urls = FileUrls(engine.view.secret, settings.file_urls_path, settings.door, time.time, stores)
    webhooks = await _webhooks(settings, engine, state, reporter, file_urls)
    background = build_background(
        settings, state, engine, stores, backends, rows, reporter, configured, time.time, copies
    )
    context = await _context(
        settings,
        state,
        engine,
        progress,
        stores,
        backends,
        added,
        webhooks,
        file_urls,
        workflows,
        characters,
        tools,
        images,
        thumbnails,
        notifier,
        background,
        fleet,
        peer_key if settings.box_name else None,
    )
    await background.sweep_and_check(is_current=state.ledger.is_current)
    await engine.load()
    place = digests.of_place(settings.state_path)
    about = partial(_about, context, digests.of_configuration(settings, workflows), place)
    of_fleet = fleet_loops(settings, os.environ, engine, state.ledger, fleet, webhooks, about, place)
    return Daemon(context, backends, added, Reload(context, running, secrets), background, preparer, of_fleet)


def _about(context: Context, configured: Mapping[str, str], place: str) -> str:
    """What the other boxes of the fleet are told."""
    no_secrets = [name for name, gets in context.policy.gets_secrets.items() if not gets and name in context.comfyui]
    delivers, same = context.webhooks.delivers, {**configured, **digests.of_stores(context.stores)}
    standing = context.backends(context.view.open_work())
    return About(context.version, standing, no_secrets, delivers, same, place, wall_ms() / 1000).encoded()


async def _webhooks(
    settings: Settings, engine: Engine, state: State, reporter: Reporter, file_urls: FileUrls
) -> Webhooks:
    """Raises Refused(config_invalid) for a secret that cannot be had."""
    payloads = Payloads(engine.view, state.reader, file_urls.for_anybody)
    targets = configured_webhooks(settings.webhooks, os.environ)
    made = Webhooks(targets, settings.webhooks_allowed, engine.view, state.reader, reporter, payloads.of, wall_ms)
    await made.start()
    engine.observe(made.committed)
    return made


def _engine(settings: Settings, ledger: Ledger) -> Engine:
    limits = settings.limits
    return Engine(
        ledger,
        policy=Policy(limits.render_attempts_max, limits.poison_strikes_max, settings.box_name),
        limits=Limits(
            queue_depths={},
            fetches_max=limits.fetches_max * SLOW_TIMES,
            fetches_user_max=limits.fetches_max * SLOW_TIMES // 2,
            uploads_max=limits.uploads_max,
            priority_age_ms=int(limits.priority_age_s * 1000),
            model_quantum_ms=int(settings.scheduling.model_quantum_s * 1000),
            wanted_wait_ms=max(1, int(settings.scheduling.wanted_wait_s * 1000)),
            box=settings.box_name,
            orphan_after_ms=int(settings.box.orphan_after_s * 1000),
        ),
        open_images_max=limits.open_images_max,
        first_use_wait_s=limits.first_use_wait_s,
        wall_ms=wall_ms,
        steady_ms=lambda: time.monotonic_ns() // 1_000_000,
    )


async def _context(
    settings: Settings,
    state: State,
    engine: Engine,
    progress: ProgressFeed,
    stores: dict[str, OpenedStore],
    backends: Backends,
    added: AddedBackends,
    webhooks: Webhooks,
    file_urls: FileUrls,
    workflows: dict[str, WorkflowSource],
    characters: Characters,
    tools: WorkflowTools,
    images: FileSource,
    thumbnails: Thumbnails,
    notifier: Notifier,
    background: Background,
    fleet: Heard,
    peer_key: PeerKey | None,
) -> Context:
    """What the server answers from."""
    started, metrics = time.monotonic(), Metrics()
    throughput = Throughput(engine.view.prompt, time.monotonic)
    engine.observe(_counting(metrics), BatchLog(), throughput)
    return Context(
        engine=engine,
        view=engine.view,
        reader=state.reader,
        unlimited=state.reader,
        access=access_of(
            settings.door,
            state.keyring,
            SaltedKey(engine.view.secret, settings.file_urls_path, PURPOSE),
            wall_ms,
            urlsplit(settings.box.url).hostname or "",
        ),
        file_urls=file_urls,
        door=settings.door,
        policy=_policy(settings, workflows, backends),
        ids=await id_source(state.reader),
        progress=progress,
        event_frames=FrameCache(),
        stores=stores,
        inputs=state.inputs,
        input_fetcher=InputFetcher(settings.inputs.origins),
        comfyui=backends.clients,
        node_classes=backends.node_classes,
        embeddings=backends.embeddings,
        added=added,
        webhooks=webhooks,
        tools=tools,
        characters=characters,
        backends=lambda standing: [backend.info(standing, throughput) for backend in backends.all.values()],
        move_away=background.mover.move,
        disks=background.disks,
        activity=ActivityCounts(),
        state=settings.state_path,
        uptime_s=lambda: int(time.monotonic() - started),
        version=__version__,
        metrics=metrics,
        file_source=images,
        thumbnails=thumbnails,
        fleet=fleet,
        peer_key=peer_key,
        notifier=notifier,
    )


def _counting(metrics: Metrics) -> Observer:
    """Count in the metrics what is committed."""
    return lambda committed: metrics.committed(committed.lines, committed.rows, committed.messages, committed.seconds)


def _policy(settings: Settings, workflows: dict[str, WorkflowSource], backends: Backends) -> AdmissionPolicy:
    return AdmissionPolicy(
        templates=settings.naming.templates,
        workflows=workflows,
        default_workflow=settings.default_workflow,
        backends=backends.every_tag,
        gets_secrets=backends.every_trust,
        webhooks=settings.webhooks,
        quantity_max=settings.limits.quantity_max,
        graph_bytes_max=settings.limits.graph_bytes_max,
        node_classes_denied=settings.limits.node_classes_denied,
        chain_depth_max=settings.limits.chain_depth_max,
        trust=settings.first_use == "trust",
    )


async def open_server(settings: Settings, context: Context, stack: AsyncExitStack) -> Entrances:
    """Listen, and tell clients of this machine where. Raises Refused, Unusable."""
    local = socket_paths(settings.state_path, os.environ, os.geteuid())
    entrances = await listen(settings.door, local, context, stack)
    with in_state_folder(settings):
        announce(settings.door_path, entrances, settings.source)
    return entrances
