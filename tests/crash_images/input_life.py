"""A program of its own: input files come, are loaded by a batch, are forgotten or expire, and one comes again.

Its folder is recorded. What is acknowledged is noted in the record: that an input is kept, that this changes from now
on, and that it has gone. The last argument takes a durable step out.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

from msgspec.structs import replace
from PIL import Image

from comfyledger.core.commands import AddInput, CancelBatch, ForgetInput
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import InputUnused
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, RemoveInput
from comfyledger.core.values import LoadedFile
from comfyledger.engine import Engine
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.inputs import store as store_module
from comfyledger.workers.inputs.known import known_to
from comfyledger.workers.inputs.remove import InputRemover
from comfyledger.workers.inputs.room import Bounds
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.spool.checks import Checks
from support.ledger_builders import NOW_MS, submission
from support.waiting import until

LEDGER = "state/ledger.db"
INPUTS = "disk/inputs"
"""Two new folders: the first start makes them, and a power loss must not take them back."""
BOUNDS = Bounds(bytes_max=100_000, pixels_max=10_000, quota_bytes=1_000_000, free_min_bytes=0)


def note(**words: object) -> None:
    ctypes.CDLL(None).recorder_note(json.dumps(words).encode())


def picture(number: int) -> bytes:
    out = BytesIO()
    Image.new("RGB", (24, 24), (number, number, number)).save(out, "PNG")
    return out.getvalue()


class Adding:
    """A client that adds a file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def knows(self, _: str) -> bool:
        return False

    async def record(self, file: ProvedFile) -> str:
        about = (file.sha256, file.size_bytes, file.extension, file.width, file.height, file.checked)
        await self._engine.command(AddInput("app", *about))
        note(kept=file.sha256)
        return file.sha256


class Life:
    """An engine with its folder of inputs, of which nothing but removals is done."""

    def __init__(self, root: Path) -> None:
        self.reader = Reader(root / LEDGER)
        self.ledger = Ledger.open(root / LEDGER)
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=Limits(),
            first_use_wait_s=60,
            wall_ms=lambda: NOW_MS,
            steady_ms=lambda: 0,
        )
        self.store = InputStore(root / INPUTS, BOUNDS, Checks(), known_to(self.reader), strikes_max=3)
        self._remover = InputRemover(self.store, Reporter(self.engine, lambda: b"salt", 1_000))

    async def perform(self, effect: Effect) -> None:
        if isinstance(effect, RemoveInput):
            await self._remover.remove(effect.sha256)
            note(gone=effect.sha256)
        else:
            await asyncio.Event().wait()

    async def add(self, number: int) -> str:
        async def chunks() -> AsyncIterator[bytes]:
            content = picture(number)
            yield content[:50]
            yield content[50:]

        return await self.store.add(chunks(), "", Adding(self.engine))

    async def goes(self, name: str) -> None:
        async def has_gone() -> bool:
            row = await self.reader.input(name)
            return row is not None and row.here == ""

        await until(has_gone, "it has gone")


async def live(root: Path, step: str) -> None:
    life = Life(root)
    await life.store.sweep()
    running = asyncio.create_task(life.engine.run(life.perform, _never))
    first, second = await life.add(1), await life.add(2)
    asked = submission("r1", quantity=1)
    loads = (LoadedFile("5.image", sha256=first, extension="png"),)
    batch = replace(asked, prompts=tuple(replace(prompt, loads=loads) for prompt in asked.prompts))
    await life.engine.command(batch)
    await life.engine.command(ForgetInput("app", first))
    if step == "sync_folder of removals":
        without("sync_folder")
    note(changes=first)
    await life.engine.command(CancelBatch("app", batch.batch_id))
    await life.engine.report(InputUnused(first, "forgotten"))
    note(changes=second)
    await life.engine.report(InputUnused(second, "expired"))
    await life.goes(first)
    await life.goes(second)
    note(changes=first)
    await life.add(1)
    running.cancel()
    await asyncio.wait([running])
    await life.reader.close()
    life.ledger.close()


async def _never(_: object) -> None:
    raise AssertionError("the series is opened on trust")


def without(step: str) -> None:
    """Take a durable step out, as a careless change would."""
    setattr(store_module, step, lambda path: None)


def main(root: str, step: str = "") -> None:
    if step in {"sync_file", "sync_folder"}:
        without(step)
    asyncio.run(live(Path(root), step))


if __name__ == "__main__":
    main(*sys.argv[1:])
