"""What one image may cost, counted and not timed: a machine's mood changes none of it.

One batch goes through the whole daemon in this process, against the stand-in. The bounds are what it costs now and a
little more: whoever needs more of something says so here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger import app as composition
from comfyledger import settings, wire
from comfyledger.admission import dispatch
from comfyledger.engine import Engine
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.sim.comfyui.server import SimOptions, serve
from support.waiting import until

IMAGES = 20
EVENTS = {"prompt_submitting", "prompt_accepted", "prompt_finished", "image_kept", "upload_started", "image_uploaded"}
"""Of each image, where each prompt renders one."""
STATEMENTS_MAX = 50
"""Of SQLite for each image, reading beside the writer not counted."""
CALLS_MAX = 4.5
"""Of HTTP to ComfyUI for each image: the prompt, its history, the file, at most the entry that is removed, and now and
then a lookup."""
LOGGED_BYTES_MAX = 1_700
"""In the log for each image, hashes not counted."""


class Counted:
    """What was done, by kind."""

    def __init__(self) -> None:
        self.statements = self.groups = self.commits = 0
        self.kinds: Counter[str] = Counter()
        self.bytes = 0

    def committed(self, one: Committed) -> None:
        self.groups += 1
        self.kinds.update(line.kind for line in one.lines)
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

    def opening(cls: type[Ledger], path: Path) -> Ledger:
        found.append(original(cls, path))
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


def _told(sync: Callable[[int], None], found: Counter[str]) -> Callable[[int], None]:
    def told(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        found["spool" if "/spool" in path else "images" if "/images" in path else "other"] += 1
        sync(fd)

    return told


async def test_an_image_costs_so_much_and_no_more(tmp_path: Path, opened: list[Ledger], syncs: Counter[str]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        sim = await stack.enter_async_context(await serve(SimOptions(output=tmp_path / "output")))
        config = tmp_path / "config.toml"
        stores = '[stores.folder]\nkind = "folder"\nroot = "images"\n'
        config.write_text(f'state_dir = "state"\nfirst_use = "trust"\n[comfyui.main]\nurl = "{sim.url}"\n{stores}')
        daemon = await composition.build(settings.load(config), stack)
        tasks = [asyncio.create_task(work) for work in daemon.loops()]
        await until(lambda: all(backend.watcher.is_up for backend in daemon.backends.values()), "ComfyUI is connected")
        syncs.clear()
        called = len(sim.ledger.requests)
        with counting(daemon.context.engine, opened[0]._connection) as counted:
            await _batch(daemon.context)
            await until(lambda: counted.kinds["batch_settled"] == 1, "all are stored")
        calls = len(sim.ledger.requests) - called
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    _check(counted, calls, syncs)


def _check(counted: Counted, calls: int, syncs: Counter[str]) -> None:
    assert counted.commits <= counted.groups, "more than one fsync a group"
    assert {kind: count for kind, count in counted.kinds.items() if count == IMAGES} == dict.fromkeys(EVENTS, IMAGES)
    assert sum(counted.kinds.values()) - IMAGES * len(EVENTS) <= 3
    assert counted.statements / IMAGES <= STATEMENTS_MAX
    assert counted.bytes / IMAGES <= LOGGED_BYTES_MAX
    assert calls / IMAGES <= CALLS_MAX
    assert syncs["spool"] / IMAGES <= 2.1, "a file and its folder"
    assert syncs["images"] / IMAGES <= 6.2, "a file, and each folder down to it, until those have settled"


async def _batch(context: Any) -> None:
    """Images that differ, so that ComfyUI has to render each."""
    images = [wire.ImageAsked(inputs={"color": number, "width": 64, "height": 64}) for number in range(IMAGES)]
    asked = wire.SubmitBatch("r", "Areg", "Opal Fever", images=images)
    await dispatch.submit(context, "app", asked, msgspec.json.encode(asked))
