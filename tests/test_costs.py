"""What one image may cost, counted and not timed: a machine's mood changes none of it.

One batch goes through the whole daemon in this process, against the stand-in in a process of its own. The bounds are
what it costs now and a little more: whoever needs more of something says so here, and whoever needs less lowers them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger import app as composition
from comfyledger import settings, wire
from comfyledger.admission import dispatch
from comfyledger.engine import Engine
from comfyledger.ledger.connection_thread import LedgerThread
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.comfyui import history_cleanup
from support.processes import StandIn
from support.waiting import DEADLINE_S, until

IMAGES = 40
EVENTS = {"prompt_submitting", "prompt_accepted", "prompt_finished", "image_kept", "upload_started", "image_uploaded"}
"""Of each image, where each prompt renders one."""
MESSAGES_MAX = 6.1
"""To the engine for each image."""
COMMITS_MAX = 2.3
"""For each image. The busier the machine, the fewer messages come together in one group, so the best of some runs
counts."""
RUNS = 5
"""At most. Only the commits, and with them the ways to the writer, differ from run to run."""
STATEMENTS_MAX = 26
"""Of SQLite for each image. Each row that is written counts as one. Not counted are reading beside the writer, and what
each group needs."""
OF_A_GROUP = 3
"""Statements that each group needs: its begin, a look whether another program has written, its commit."""
CALLS_MAX = {"POST /prompt": 1.0, "GET /view": 1.0, "GET /history": 0.1, "POST /history": 0.1}
"""Of HTTP to ComfyUI for each image, by kind: the prompt, the file, how the prompt ended if the socket did not tell it,
and the deletion of many entries at once. No other call is made, except a lookup now and then."""
LOOKUPS_MAX = 0.2
THREADS_MAX = {"writer": COMMITS_MAX, "reader": 0.5, "executor": 2.2}
"""How often work is given to a thread for each image. Most of it is a trip there and back, which may wait for the
interpreter twice."""
IN_AIOHTTP = int(find_spec("httptools") is None)
"""Whether aiohttp makes the calls that every image needs: so it is without the extra `speed`."""
TASKS_MAX = 4.2 + IN_AIOHTTP
"""Of the event loop for each image: one for each effect, and one in aiohttp's client."""
TIMERS_MAX = 4.2 + 2 * IN_AIOHTTP
"""Of the event loop for each image, most of which never fire."""
LOGGED_BYTES_MAX = 1_700
"""In the log for each image, hashes not counted."""


class Counted:
    """What was done, by kind."""

    def __init__(self) -> None:
        self.statements = self.groups = self.commits = self.messages = 0
        self.kinds: Counter[str] = Counter()
        self.bytes = 0
        self.settled = asyncio.Event()
        """Not polled for, because each look would be a timer."""

    def committed(self, one: Committed) -> None:
        self.groups += 1
        self.messages += one.messages
        self.kinds.update(line.kind for line in one.lines)
        if self.kinds["batch_settled"]:
            self.settled.set()
        self.bytes += sum(len(line.data) + len(line.stream) + len(line.kind) for line in one.lines)

    def statement(self, sql: str) -> None:
        self.statements += 1
        self.commits += sql == "COMMIT"


@contextlib.contextmanager
def counting(engine: Engine, ledger: sqlite3.Connection) -> Iterator[Counted]:
    counted = Counted()
    engine.observe(counted.committed)
    ledger.set_trace_callback(counted.statement)
    yield counted
    ledger.set_trace_callback(None)
    engine._observers.remove(counted.committed)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Ledger]:
    """The ledgers that are opened."""
    found: list[Ledger] = []
    original = Ledger.open.__func__  # type: ignore[attr-defined]

    def opening(cls: type[Ledger], path: Path, *, replica: bool = False) -> Ledger:
        found.append(original(cls, path, replica=replica))
        return found[-1]

    monkeypatch.setattr(Ledger, "open", classmethod(opening))
    return found


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files and folders were synced by us, by folder."""
    found: Counter[str] = Counter()
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _told(getattr(os, name), found))
    return found


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often work was given to a thread, by the kind of thread."""
    found: Counter[str] = Counter()
    call, submit = LedgerThread.call, ThreadPoolExecutor.submit

    def called(thread: LedgerThread, work: Callable[[], Any]) -> asyncio.Future[Any]:
        found[thread._thread.name.removeprefix("ledger-")] += 1
        return call(thread, work)

    def submitted(pool: ThreadPoolExecutor, work: Callable[..., Any], /, *words: Any, **named: Any) -> Future[Any]:
        found["executor"] += 1
        return submit(pool, work, *words, **named)

    monkeypatch.setattr(LedgerThread, "call", called)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", submitted)
    return found


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many tasks and timers the event loop made."""
    found: Counter[str] = Counter()
    for name in ("create_task", "call_at"):
        monkeypatch.setattr(asyncio.BaseEventLoop, name, _counted(getattr(asyncio.BaseEventLoop, name), name, found))
    return found


def _counted(call: Callable[..., Any], name: str, found: Counter[str]) -> Callable[..., Any]:
    def counted(*words: Any, **named: Any) -> Any:
        found[name] += 1
        return call(*words, **named)

    return counted


def _told(sync: Callable[[int], None], found: Counter[str]) -> Callable[[int], None]:
    def told(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        found["spool" if "/spool" in path else "images" if "/images" in path else "other"] += 1
        sync(fd)

    return told


async def test_an_image_costs_so_much_and_no_more(
    tmp_path: Path,
    opened: list[Ledger],
    syncs: Counter[str],
    visits: Counter[str],
    loops: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history_cleanup, "GATHER_S", 600.0)  # a slow machine gathers as many as a fast one
    for run in range(RUNS):
        folder = tmp_path / str(run)
        folder.mkdir()
        async with contextlib.AsyncExitStack() as stack:
            sim = StandIn(folder, 0.0)
            stack.callback(sim.end)
            await sim.begin()
            daemon = await _daemon(folder, sim, stack)
            asked_before = sim.requests()
            for counts in (syncs, visits, loops):
                counts.clear()
            with counting(daemon.context.engine, opened[-1]._connection) as counted:
                await _batch(daemon.context)
                async with asyncio.timeout(DEADLINE_S):
                    await counted.settled.wait()
            steps = Counter(loops)
            asked = sim.requests()[len(asked_before) :]
        if counted.commits / IMAGES <= COMMITS_MAX:
            break
    _check(counted)
    _check_calls(Counter(f"{one['method']} /{one['path'].split('/')[1]}" for one in asked))
    _check_files_and_threads(syncs, visits)
    assert steps["create_task"] / IMAGES <= TASKS_MAX
    assert steps["call_at"] / IMAGES <= TIMERS_MAX


async def _daemon(folder: Path, sim: StandIn, stack: contextlib.AsyncExitStack) -> Any:
    """A daemon that is connected to ComfyUI, until the stack ends."""
    config = folder / "config.toml"
    stores = '[stores.folder]\nkind = "folder"\nroot = "images"\n'
    config.write_text(f'state_dir = "state"\nfirst_use = "trust"\n[comfyui.main]\nurl = "{sim.url}"\n{stores}')
    daemon = await composition.build(settings.load(config), stack)
    tasks = [asyncio.create_task(work) for work in daemon.loops()]
    stack.push_async_callback(_ended, tasks)
    await until(lambda: all(backend.watcher.is_up for backend in daemon.backends.all.values()), "ComfyUI is connected")
    return daemon


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _check(counted: Counted) -> None:
    assert counted.commits <= counted.groups, "more than one fsync a group"
    assert {kind: count for kind, count in counted.kinds.items() if count == IMAGES} == dict.fromkeys(EVENTS, IMAGES)
    assert sum(counted.kinds.values()) - IMAGES * len(EVENTS) <= 3
    assert counted.messages / IMAGES <= MESSAGES_MAX
    assert counted.commits / IMAGES <= COMMITS_MAX
    assert (counted.statements - OF_A_GROUP * counted.groups) / IMAGES <= STATEMENTS_MAX
    assert counted.bytes / IMAGES <= LOGGED_BYTES_MAX


def _check_calls(calls: Counter[str]) -> None:
    found = {kind: calls[kind] / IMAGES for kind in CALLS_MAX}
    assert {kind: found[kind] for kind, most in CALLS_MAX.items() if found[kind] > most} == {}
    assert calls.total() / IMAGES - sum(found.values()) <= LOOKUPS_MAX


def _check_files_and_threads(syncs: Counter[str], visits: Counter[str]) -> None:
    assert syncs["spool"] / IMAGES <= 2.1, "a file and its folder"
    assert syncs["images"] / IMAGES <= 5.1, "a file and its folder; for a moment, each folder down to it"
    assert set(visits) <= set(THREADS_MAX)
    assert {kind: count / IMAGES for kind, count in visits.items() if count / IMAGES > THREADS_MAX[kind]} == {}


async def _batch(context: Any) -> None:
    """Images that differ, so that ComfyUI has to render each."""
    images = [wire.ImageAsked(inputs={"color": number, "width": 64, "height": 64}) for number in range(IMAGES)]
    asked = wire.SubmitBatch("r", "Areg", "Opal Fever", images=images)
    await dispatch.submit(context, "app", asked, msgspec.json.encode(asked))
