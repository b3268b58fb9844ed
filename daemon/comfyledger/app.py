"""The composition root: builds the rooms from the settings, runs them in one TaskGroup, ends them in order.

IdSource and clocks enter here and nowhere else. The order of birth: the ledger with its lock, the stores, the watchers,
the engine, the door, and in the same turn of the loop what serves those who found it open.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import structlog
from ulid import ULID

from comfyledger import __version__, logs, wire
from comfyledger.admission.configured import keys_of_backends, prepare_workflows, secrets_of_workflows
from comfyledger.client.finding import find_state_dir
from comfyledger.comfyui.client import ComfyUI, NotReached, unreached_text
from comfyledger.comfyui.watch import Watcher
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.scheduling.pending_work import Limits
from comfyledger.core.urls import reached
from comfyledger.core.values import SEED_MADE_UP_MAX, backend_lane
from comfyledger.engine import Engine
from comfyledger.errors import Refused, Unusable
from comfyledger.ledger.observers import Observer
from comfyledger.ledger.sqlite.locking import Hold
from comfyledger.ledger.sqlite.reader import BatchFilter, Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.metrics import Metrics
from comfyledger.plugins import OpenedStore, open_stores, store_kinds
from comfyledger.queries.dependencies import AdmissionPolicy, ConfiguredWorkflow, IdSource
from comfyledger.queries.progress import ProgressFeed
from comfyledger.queries.subscription import FrameCache
from comfyledger.server.access import access_of
from comfyledger.server.app_keys import Context
from comfyledger.server.listen import Entrances, announce, listen, withdraw
from comfyledger.server.tokens import Keyring, find_token
from comfyledger.settings import ComfyUI as ComfyUISettings
from comfyledger.settings import Invalid, Settings
from comfyledger.startup import local_socket
from comfyledger.startup.greeting import ComfyUISeen, greeting
from comfyledger.startup.usable import refuse_mistakes
from comfyledger.workers.batch_log import BatchLog
from comfyledger.workers.comfyui.fetch import SLOW_TIMES, Bounds
from comfyledger.workers.comfyui.history_cleanup import HistoryCleanup
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.dispatch import Workers
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.process import signal_handlers
from comfyledger.workers.process.notify import READY, SILENT, STOPPING, Notifier, notifier_of, watchdog_s
from comfyledger.workers.process.watchdog import Watchdog, lanes_of
from comfyledger.workers.reporting import Reporter, Secrets
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.spool.disk_guard import DiskGuard, Needed
from comfyledger.workers.spool.folder_lock import hold_spool, hold_state
from comfyledger.workers.spool.retention import Outputs, Retention
from comfyledger.workers.spool.spool import Spool
from comfyledger.workers.stores.delete import Deleter, SpoolFollower
from comfyledger.workers.stores.first_use import Asker
from comfyledger.workers.stores.prepare import StorePreparer
from comfyledger.workers.stores.upload import Uploader

EXIT_UNUSABLE: Final = 5
SEEN_S: Final = 1.0
"""For a ComfyUI to answer before a person is told what was found."""

log = structlog.get_logger("comfyledger.app")


def run(settings: Settings) -> int:
    """Run the daemon until it is told to stop. Returns the exit code: 0 stopped, 1 refused, 5 a disk failed.

    Settings that cannot be used are refused before anything is made, in the words of `config check`.
    """
    logs.occupy_standard_files()
    logs.configure(level=settings.logging.level, layout=settings.logging.format)
    logs.take_in_libraries()
    try:
        refuse_mistakes(settings, os.environ)
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            runner.run(_run(settings))
    except (Refused, Unusable) as error:
        return _last_words([error])
    except BaseExceptionGroup as group:
        expected, other = group.split((Refused, Unusable))
        if expected is None or other is not None:
            raise
        return _last_words(_flat(expected))
    return 0


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the extra `speed` is installed; else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _last_words(errors: Sequence[BaseException]) -> int:
    for error in errors:
        for mistake in error.mistakes if isinstance(error, Invalid) else ():
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
    signal_handlers.install_signal_handlers(settings, stop, notifier)
    async with AsyncExitStack() as stack:
        daemon = await build(settings, stack, notifier)
        async with asyncio.TaskGroup() as group:
            comfyui = await _seen(daemon.context) if logs.speaks_to_people() else []
            entrances = await open_door(settings, daemon.context, stack)
            _say_ready(settings, daemon.context, entrances, comfyui)
            tasks = [group.create_task(work) for work in daemon.endless()]
            watchdog = Watchdog(
                notifier, daemon.context.engine, lanes_of(settings), watchdog_s(os.environ, os.getpid())
            )
            notifier.say(READY)
            tasks.append(group.create_task(watchdog.run()))
            await stop.wait()
            notifier.say(STOPPING)
            log.info("daemon.stopping")
            withdraw(settings.door_path)
            for task in tasks:
                task.cancel()


async def _seen(context: Context) -> list[ComfyUISeen]:
    """Each ComfyUI, asked once. Only a person who looks on waits for that; the watchers find out by themselves."""
    return await asyncio.gather(*(_seen_one(one, context.comfyui[one.name]) for one in context.backends()))


async def _seen_one(backend: wire.BackendInfo, server: ComfyUI) -> ComfyUISeen:
    try:
        async with asyncio.timeout(SEEN_S):
            await _learn(server)
    except NotReached as trouble:
        return ComfyUISeen(backend.name, backend.url, trouble=trouble.text)
    except TimeoutError as late:
        return ComfyUISeen(backend.name, backend.url, trouble=unreached_text(late))
    return ComfyUISeen(backend.name, backend.url, server.version)


def _say_ready(settings: Settings, context: Context, door: Entrances, comfyui: Sequence[ComfyUISeen]) -> None:
    """For a person in a few lines, and as facts."""
    if logs.speaks_to_people():
        width = shutil.get_terminal_size().columns
        for line in greeting(__version__, door, comfyui, context.stores, _command(settings), width):
            logs.say(line)
    log.info(
        "daemon.ready",
        url=door.url,
        socket=door.socket,
        position=context.engine.position,
        ledger=str(settings.ledger_path),
    )
    for one in context.backends():
        log.info("comfyui.used", comfyui=one.name, url=one.url)
    for name, store in context.stores.items():
        log.info("store.used", store=name, place=store.identity or store.problem)
    for name in context.policy.workflows:
        log.info("workflow.ready", workflow=name)


def _command(settings: Settings) -> str:
    """How the command line is called so that it finds this daemon."""
    found = find_state_dir(os.environ).absolute() == settings.state_path
    return "comfyledger" if found else f"comfyledger --state-dir {shlex.quote(str(settings.state_path))}"


class Daemon(msgspec.Struct, frozen=True):
    """The rooms, built and not yet running."""

    context: Context
    workers: Workers
    asker: Asker
    retention: Retention
    follower: SpoolFollower
    disk_guard: DiskGuard
    preparer: StorePreparer
    watchers: dict[str, Watcher]

    def endless(self) -> list:  # type: ignore[type-arg]
        """What runs until it is cancelled."""
        engine = self.context.engine.run(self.workers.perform, self.asker.ask)
        watching = [watcher.run() for watcher in self.watchers.values()]
        own = [self.retention.run(), self.follower.run(), self.disk_guard.run(), self.preparer.run()]
        return [engine, *own, self.context.metrics.watch_loop(), *watching]


async def build(settings: Settings, stack: AsyncExitStack, notifier: Notifier = SILENT) -> Daemon:
    workflows = prepare_workflows(settings)
    with _in_state_folder(settings):  # before all else, so that a second daemon changes nothing of the first one's
        _hold(stack, hold_state(settings.state_path))
    with notifier.extending():
        ledger = Ledger.open(settings.ledger_path)
    stack.callback(ledger.close)
    if ledger.foreign:
        log.warning("ledger.foreign_objects", objects=ledger.foreign)
    spool = Spool(settings.spool_path, settings.limits.poison_strikes_max)
    _hold(stack, hold_spool(settings.spool_path, ledger.ledger_id, settings.ledger_path))
    with _in_state_folder(settings):
        keyring = _keyring(settings)
    reader = Reader(settings.ledger_path)
    stack.push_async_callback(reader.close)
    session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
    engine = _engine(settings, ledger)
    stores = open_stores(store_kinds(), settings.stores, settings.state_path)
    for opened in stores.values():
        if opened.waiting is not None:
            stack.push_async_callback(opened.close)
    keys = keys_of_backends(settings, os.environ)
    hidden = [*(key for its in keys.values() for key in its.values()), *_passwords(settings)]
    filled_in = Secrets(secrets_of_workflows(settings, workflows, os.environ), hidden)
    reporter = Reporter(engine, _salt, settings.limits.foreign_text_chars_max, filled_in)
    preparer = StorePreparer(stores, reader, reporter, random.Random())  # noqa: S311 (jitter)
    await preparer.first()
    progress = ProgressFeed(engine.owed.user_of)
    servers = {name: _server(session, one, keys[name]) for name, one in settings.comfyui.items()}
    cleanup = {name: HistoryCleanup(one, reader) for name, one in servers.items()}
    watchers = {
        name: _watcher(settings.comfyui[name], name, one, progress, reporter, cleanup[name])
        for name, one in servers.items()
    }
    row_cache, bounds = RowCache(engine.owed, reader), _bounds(settings)
    renderers = {
        name: Renderer(
            one,
            watchers[name],
            row_cache,
            cleanup[name],
            spool,
            reporter,
            bounds,
            filled_in,
            fetches_max=settings.limits.fetches_max,
        )
        for name, one in servers.items()
    }
    progress.abouts.extend(renderer.about for renderer in renderers.values())
    newest = await reader.batches(BatchFilter(limit=1))
    batch_ids = BatchIds(newest[0].batch_id if newest else None)
    context = _context(
        settings, keyring, engine, reader, progress, stores, servers, watchers, workflows, batch_ids, spool, notifier
    )
    disk_guard = DiskGuard(engine, reporter, reader, spool, settings.ledger_path.parent, _needed(settings))
    deleter = Deleter(stores, row_cache, reporter)
    workers = Workers(renderers, Uploader(stores, row_cache, spool, reporter), deleter, reporter, disk_guard)
    retention = Retention(spool, reader, settings.spool.keep_days, time.time, _outputs(settings, reader))
    await retention.sweep_at_start()
    await disk_guard.look()
    asker = Asker(stores, engine, random.Random())  # noqa: S311 (jitter)
    return Daemon(
        context, workers, asker, retention, SpoolFollower(engine, reader, spool), disk_guard, preparer, watchers
    )


def _passwords(settings: Settings) -> Iterator[str]:
    """Of the servers' URLs: what stands before ComfyUI may quote them."""
    for one in settings.comfyui.values():
        yield reached(one.url).password


def _hold(stack: AsyncExitStack, held: Hold | None) -> None:
    """To the end; None where there are no locks."""
    if held is not None:
        stack.callback(held.close)


def _salt() -> bytes:
    """As `secrets.token_bytes` gives it, which goes the way over a large number: four times as long."""
    return os.urandom(16)


def _keyring(settings: Settings) -> Keyring:
    own, is_passed = find_token(settings.token_path, os.environ)
    return Keyring(own, None if is_passed else settings.token_path, settings.tokens_path)


@contextmanager
def _in_state_folder(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "Check folder, permissions and disk of state_dir."
        raise Unusable(f"{settings.state_path} cannot be used: {error.strerror}.", hint=hint) from error


def _engine(settings: Settings, ledger: Ledger) -> Engine:
    limits = settings.limits
    depth = min(comfyui.queue_depth for comfyui in settings.comfyui.values())
    return Engine(
        ledger,
        policy=Policy(limits.render_attempts_max, limits.poison_strikes_max),
        limits=Limits(
            queue_depth=depth,
            fetches_max=limits.fetches_max * SLOW_TIMES,
            fetches_user_max=limits.fetches_max * SLOW_TIMES // 2,
            uploads_max=limits.uploads_max,
            priority_age_ms=int(limits.priority_age_s * 1000),
        ),
        open_images_max=limits.open_images_max,
        first_use_wait_s=limits.first_use_wait_s,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        steady_ms=lambda: time.monotonic_ns() // 1_000_000,
    )


def _server(session: aiohttp.ClientSession, settings: ComfyUISettings, keys: Mapping[str, str]) -> ComfyUI:
    return ComfyUI(
        session,
        settings.url,
        connect_timeout_s=settings.connect_timeout_s,
        request_timeout_s=settings.request_timeout_s,
        transfer_min_bytes_per_s=settings.transfer_min_bytes_per_s,
        extra_data=keys,
    )


def _counting(metrics: Metrics) -> Observer:
    """Count in the metrics what is committed."""
    return lambda committed: metrics.committed(committed.lines, committed.rows, committed.messages, committed.seconds)


def _watcher(
    settings: ComfyUISettings,
    name: str,
    server: ComfyUI,
    progress: ProgressFeed,
    reporter: Reporter,
    cleanup: HistoryCleanup,
) -> Watcher:
    lane = backend_lane(name)

    async def connected() -> None:
        reporter.probe_soon(lane)
        await reporter.works(lane)
        await _learn_version(server)
        await cleanup.forget_left()

    async def stuck(trouble: NotReached) -> None:
        await reporter.stuck(lane, trouble.code, trouble.text)

    return Watcher(
        server,
        progress,
        sweep_interval_s=settings.sweep_interval_s,
        connect_timeout_s=settings.connect_timeout_s,
        render_timeout_s=settings.render_timeout_s,
        client_ids=lambda: secrets.token_hex(16),
        connected=connected,
        stuck=stuck,
    )


async def _learn_version(server: ComfyUI) -> None:
    """Ask for the version once for each connection: for people, nothing depends on it."""
    try:
        await _learn(server)
    except NotReached as trouble:
        log.info("comfyui.version_unknown", url=server.url, error=trouble.text)


async def _learn(server: ComfyUI) -> None:
    system = (await server.system_stats()).get("system")
    found = system.get("comfyui_version") if isinstance(system, dict) else None
    server.version = str(found or "")[:32]


def _bounds(settings: Settings) -> Bounds:
    spool = settings.spool
    return Bounds(spool.image_bytes_max, spool.pixels_max, spool.strip_metadata)


class BatchIds:
    """Makes ids that sort in the order in which they were made, also where the wall clock goes back.

    `newest` is the highest id so far, from an earlier run. Batches are listed, and taken up at a start, by their ids.
    """

    def __init__(self, newest: str | None) -> None:
        self._last = int(ULID.from_str(newest)) if newest else 0

    def __call__(self) -> str:
        self._last = max(self._last + 1, int(ULID()))
        return str(ULID.from_int(self._last))


def _outputs(settings: Settings, reader: Reader) -> list[Outputs]:
    return [
        Outputs(Path(one.output_dir), reader, one.output_keep_days, time.time)
        for one in settings.comfyui.values()
        if one.output_dir
    ]


def _needed(settings: Settings) -> Needed:
    spool = settings.spool
    lanes = tuple(map(backend_lane, settings.comfyui))
    return Needed(spool.free_min_bytes, settings.ledger.free_min_bytes, spool.parked_max_bytes, lanes)


def _context(
    settings: Settings,
    keyring: Keyring,
    engine: Engine,
    reader: Reader,
    progress: ProgressFeed,
    stores: dict[str, OpenedStore],
    servers: dict[str, ComfyUI],
    watchers: dict[str, Watcher],
    workflows: dict[str, ConfiguredWorkflow],
    batch_ids: BatchIds,
    spool: Spool,
    notifier: Notifier,
) -> Context:
    started, metrics = time.monotonic(), Metrics()
    engine.observers += [_counting(metrics), BatchLog()]
    policy = AdmissionPolicy(
        templates=settings.naming.templates,
        workflows=workflows,
        default_workflow=settings.default_workflow,
        backend=next(iter(settings.comfyui)),
        quantity_max=settings.limits.quantity_max,
        graph_bytes_max=settings.limits.graph_bytes_max,
        node_classes_denied=settings.limits.node_classes_denied,
        trust=settings.first_use == "trust",
    )
    return Context(
        engine=engine,
        reader=reader,
        access=access_of(settings.door, keyring),
        door=settings.door,
        policy=policy,
        ids=IdSource(
            batch_id=batch_ids,
            salt=_salt,
            seed=lambda: secrets.randbelow(SEED_MADE_UP_MAX + 1),
        ),
        progress=progress,
        event_frames=FrameCache(),
        stores=stores,
        comfyui=servers,
        backends=lambda: [_backend_info(name, servers[name], watcher) for name, watcher in watchers.items()],
        uptime_s=lambda: int(time.monotonic() - started),
        version=__version__,
        metrics=metrics,
        file_source=FileSource(stores, reader, spool),
        disks={"ledger": settings.ledger_path.parent, "spool": settings.spool_path},
        notifier=notifier,
    )


def _backend_info(name: str, server: ComfyUI, watcher: Watcher) -> wire.BackendInfo:
    return wire.BackendInfo(
        name,
        server.url,
        connected=watcher.is_up,
        version=server.version,
        reconnects=max(0, watcher.connects - 1),
        deaf=watcher.deaf,
        sweeps=watcher.sweeps,
    )


async def open_door(settings: Settings, context: Context, stack: AsyncExitStack) -> Entrances:
    local = local_socket.socket_paths(settings.state_path, os.environ, os.geteuid())
    entrances = await listen(settings.door, local, context, stack)
    with _in_state_folder(settings):
        announce(settings.door_path, entrances, settings.source)
    return entrances
