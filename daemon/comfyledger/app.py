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
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from secrets import randbelow
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from ulid import ULID

from comfyledger import __version__, logs
from comfyledger.admission.characters.known import configured_inputs, read_characters
from comfyledger.admission.configured import keys_of_backends, read_workflows, secrets_of_workflows
from comfyledger.admission.workflows import fitting
from comfyledger.client.finding import find_state_dir
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.urls import reached
from comfyledger.core.values import SEED_MADE_UP_MAX
from comfyledger.engine import Engine
from comfyledger.errors import Refused, Unusable
from comfyledger.ledger.observers import Observer
from comfyledger.ledger.ports import BatchFilter, Ledger, Reader
from comfyledger.metrics import Metrics
from comfyledger.plugins import OpenedStore, open_stores, store_kinds
from comfyledger.queries.characters import Characters
from comfyledger.queries.dependencies import AdmissionPolicy, IdSource, WorkflowSource, WorkflowTools, workflow_tools
from comfyledger.queries.embeddings import Embeddings
from comfyledger.queries.progress import ProgressFeed
from comfyledger.queries.subscription import FrameCache
from comfyledger.server.access import access_of
from comfyledger.server.app_keys import Context
from comfyledger.server.file_urls import FileUrls
from comfyledger.server.listen import Entrances, announce, listen, socket_paths, withdraw
from comfyledger.settings import Invalid, Secret, Settings
from comfyledger.startup.build_comfyui import Backend, build_backends, first_answers
from comfyledger.startup.build_workers import Background, build_background
from comfyledger.startup.greeting import ComfyUISeen, greeting
from comfyledger.startup.open_state import State, in_state_folder, open_state
from comfyledger.startup.usable import refuse_mistakes
from comfyledger.workers.batch_log import BatchLog
from comfyledger.workers.comfyui.fetch import SLOW_TIMES
from comfyledger.workers.comfyui.throughput import Throughput
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.inputs.fetch import InputFetcher
from comfyledger.workers.process import signal_handlers
from comfyledger.workers.process.notify import READY, SILENT, STOPPING, Notifier, notifier_of, watchdog_s
from comfyledger.workers.process.watchdog import Watchdog, lanes_of
from comfyledger.workers.reporting import Reporter, Secrets
from comfyledger.workers.stores.prepare import StorePreparer

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
        reloading.take_in = partial(reread_characters, context)
        async with asyncio.TaskGroup() as group:
            comfyui = await first_answers(daemon.backends.values()) if logs.speaks_to_people() else []
            entrances = await open_server(settings, context, stack)
            tasks = [group.create_task(loop) for loop in daemon.loops()]
            await _report_ready(settings, context, entrances, comfyui)
            watchdog = Watchdog(notifier, context.view, lanes_of(settings), watchdog_s(os.environ, os.getpid()))
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
    backends: dict[str, Backend]
    background: Background
    preparer: StorePreparer

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until it is cancelled, or has nothing more to do."""
        engine = self.context.engine.run(self.background.workers.perform, self.background.asker.ask)
        watching = [backend.watcher.run() for backend in self.backends.values()]
        released, lag = self.background.workers.release_removed(), self.context.metrics.watch_loop()
        return [engine, released, *self.background.loops(), self.preparer.run(), lag, *watching]


async def build(settings: Settings, stack: AsyncExitStack, notifier: Notifier = SILENT) -> Daemon:
    """Everything but the sockets of the server. `stack` closes it. Raises Refused, Unusable."""
    workflows = read_workflows(settings)
    characters = Characters(read_characters(settings, workflows, settings.default_workflow))
    state = open_state(settings, os.environ, stack, notifier)
    session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
    engine = _engine(settings, state.ledger)
    stack.push_async_callback(engine.stop)
    stores = open_stores(store_kinds(), settings.stores, settings.state_path)
    for opened in stores.values():
        if opened.waiting is not None:
            stack.push_async_callback(opened.close)
    keys = keys_of_backends(settings, os.environ)
    secrets = _secrets(settings, workflows, keys)
    reporter = Reporter(engine, salt, settings.limits.foreign_text_chars_max, secrets)
    preparer = StorePreparer(stores, state.reader, reporter, random.Random())  # noqa: S311 (jitter)
    await preparer.first()
    progress = ProgressFeed(engine.view.batch)
    backends = build_backends(settings, session, keys, progress, reporter, state.reader)
    tools = workflow_tools(settings.limits.check_workflows, settings.limits.graph_bytes_max)
    stack.push_async_callback(tools.converter.close)
    images = FileSource(stores, state.reader, state.spool)
    configured = partial(configured_inputs, workflows, characters)
    background = build_background(
        settings, state, engine, stores, backends, secrets, reporter, tools.checks, images, configured, time.time
    )
    progress.abouts.extend(renderer.about for renderer in background.renderers.values())
    context = await _context(
        settings, state, engine, progress, stores, backends, workflows, characters, tools, images, notifier
    )
    await background.sweep_and_check()
    await engine.load()
    return Daemon(context, backends, background, preparer)


def _engine(settings: Settings, ledger: Ledger) -> Engine:
    limits = settings.limits
    return Engine(
        ledger,
        policy=Policy(limits.render_attempts_max, limits.poison_strikes_max),
        limits=Limits(
            queue_depths={name: comfyui.queue_depth for name, comfyui in settings.comfyui.items()},
            tags=_tags(settings),
            fetches_max=limits.fetches_max * SLOW_TIMES,
            fetches_user_max=limits.fetches_max * SLOW_TIMES // 2,
            uploads_max=limits.uploads_max,
            priority_age_ms=int(limits.priority_age_s * 1000),
            model_quantum_ms=int(settings.scheduling.model_quantum_s * 1000),
        ),
        open_images_max=limits.open_images_max,
        first_use_wait_s=limits.first_use_wait_s,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        steady_ms=lambda: time.monotonic_ns() // 1_000_000,
    )


def _secrets(
    settings: Settings,
    workflows: Mapping[str, WorkflowSource],
    keys: Mapping[str, Mapping[str, Secret]],
) -> Secrets:
    """What is filled in before a prompt is sent, and all that no text may show. Raises Refused(config_invalid)."""
    hidden = [*(key for one in keys.values() for key in one.values()), *_passwords(settings)]
    return Secrets(secrets_of_workflows(settings, workflows, os.environ), hidden)


def _passwords(settings: Settings) -> Iterator[str]:
    """Of the URLs of ComfyUI: a proxy in front of it may quote them."""
    for one in settings.comfyui.values():
        yield reached(one.url).password


async def _context(
    settings: Settings,
    state: State,
    engine: Engine,
    progress: ProgressFeed,
    stores: dict[str, OpenedStore],
    backends: Mapping[str, Backend],
    workflows: dict[str, WorkflowSource],
    characters: Characters,
    tools: WorkflowTools,
    images: FileSource,
    notifier: Notifier,
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
        access=access_of(settings.door, state.keyring),
        file_urls=FileUrls(engine.view.secret, settings.file_urls_path, settings.door, time.time),
        door=settings.door,
        policy=_policy(settings, workflows),
        ids=await id_source(state.reader),
        progress=progress,
        event_frames=FrameCache(),
        stores=stores,
        inputs=state.inputs,
        input_fetcher=InputFetcher(settings.inputs.origins),
        comfyui={name: backend.client for name, backend in backends.items()},
        node_classes={name: backend.node_classes for name, backend in backends.items()},
        embeddings={name: Embeddings(backend.client) for name, backend in backends.items()},
        tools=tools,
        characters=characters,
        backends=lambda standing: [backend.info(standing, throughput) for backend in backends.values()],
        uptime_s=lambda: int(time.monotonic() - started),
        version=__version__,
        metrics=metrics,
        file_source=images,
        disks={"ledger": settings.ledger_path.parent, "spool": settings.spool_path, "inputs": settings.inputs_path},
        notifier=notifier,
    )


async def reread_characters(context: Context, load: Callable[[], Settings]) -> Settings:
    """Replace the characters by those of the configuration that `load` reads. Raises Refused, and changes nothing then.

    Requests continue meanwhile, with the characters of before.
    """
    policy, characters = context.policy, context.characters
    try:
        found = load()
        before = characters.now
        characters.now = await asyncio.to_thread(
            read_characters, found, policy.workflows, policy.default_workflow, before
        )
    except Refused as refusal:
        characters.not_reread = str(refusal)
        raise
    characters.not_reread = ""
    log.info("characters.read", characters=len(characters.now.by_slug), problems=len(characters.now.problems))
    return found


def _counting(metrics: Metrics) -> Observer:
    """Count in the metrics what is committed."""
    return lambda committed: metrics.committed(committed.lines, committed.rows, committed.messages, committed.seconds)


def _policy(settings: Settings, workflows: dict[str, WorkflowSource]) -> AdmissionPolicy:
    return AdmissionPolicy(
        templates=settings.naming.templates,
        workflows=workflows,
        default_workflow=settings.default_workflow,
        backends=_tags(settings),
        quantity_max=settings.limits.quantity_max,
        graph_bytes_max=settings.limits.graph_bytes_max,
        node_classes_denied=settings.limits.node_classes_denied,
        chain_depth_max=settings.limits.chain_depth_max,
        trust=settings.first_use == "trust",
    )


def _tags(settings: Settings) -> dict[str, frozenset[str]]:
    """Of each ComfyUI, in the order of the configuration."""
    return {name: frozenset(one.tags) for name, one in settings.comfyui.items()}


async def open_server(settings: Settings, context: Context, stack: AsyncExitStack) -> Entrances:
    """Listen, and tell clients of this machine where. Raises Refused, Unusable."""
    local = socket_paths(settings.state_path, os.environ, os.geteuid())
    entrances = await listen(settings.door, local, context, stack)
    with in_state_folder(settings):
        announce(settings.door_path, entrances, settings.source)
    return entrances


# ---- ids, salts and seeds


class BatchIds:
    """Makes ids that sort in the order in which they were made, also where the wall clock goes back.

    `newest` is the highest id so far, from an earlier run. Batches are listed, and resumed at a start, by their ids.
    """

    def __init__(self, newest: str | None) -> None:
        self._last = int(ULID.from_str(newest)) if newest else 0

    def __call__(self) -> str:
        self._last = max(self._last + 1, int(ULID()))
        return str(ULID.from_int(self._last))


async def id_source(reader: Reader) -> IdSource:
    """The source of a daemon whose earlier ids are in this ledger."""
    newest = await reader.batches(BatchFilter(limit=1))
    batch_id = BatchIds(newest[0].batch_id if newest else None)
    return IdSource(batch_id=batch_id, salt=salt, seed=lambda: randbelow(SEED_MADE_UP_MAX + 1))


def salt() -> bytes:
    """The same bytes as `secrets.token_bytes`, which takes four times as long because it makes a large number first."""
    return os.urandom(16)
