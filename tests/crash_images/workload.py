"""A program of its own: a ledger, an engine and a spool do a small day's work, with nobody at the other end.

Its folder is recorded. What it acknowledges to the outside (numbers given, an image recorded as kept) it writes as a
note into the record, so that each note stands where it was said. The last argument takes a durable step out.
"""

from __future__ import annotations

import asyncio
import ctypes
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from PIL import Image

from comfyledger import crash_points
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import FilesKept, PromptHasFinished, PromptWasAccepted, SubmitIntended
from comfyledger.core.results import Accepted, Taken, Wanted
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, FetchPrompt, FollowPrompt, SubmitPrompt
from comfyledger.core.values import OutputFile, Pinned
from comfyledger.engine import Engine
from comfyledger.ledger.sqlite import schema
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.media.broken_file import Broken
from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.spool import pinned_copy as copy_module
from comfyledger.workers.spool import spool as spool_module
from comfyledger.workers.spool.spool import Spool
from support.ledger_builders import submission
from support.waiting import until

LEDGER = "local/state/ledger.db"
SPOOL = "disk/spool"
"""Two new folders above each: the first start makes them, and a power loss must not take them back."""

CHECKPOINT_PAGES = 90
"""Small, so that checkpoints and a log that begins anew fall into the day."""

DAYS = {"first": (("Areg", 2), ("areg", 1), ("Mia", 2)), "second": (("Areg", 1), ("Mia", 1))}
"""Callers at the same time, each with the user and the quantity of its batch."""


MARKS_EARLY: list[str] = []
"""Not empty: the mark is written before the commit that it is of."""


def note(**words: object) -> None:
    ctypes.CDLL(None).recorder_note(json.dumps(words).encode())


def picture() -> bytes:
    """A PNG like no other."""
    out = io.BytesIO()
    Image.effect_noise((24, 24), 50).save(out, "PNG")
    return out.getvalue()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content[:100]
    yield content[100:]


class Workers:
    """Do at once what is owed to ComfyUI, and never what is owed to a store."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine, self._spool = engine, spool
        self.kept = 0

    async def perform(self, effect: Effect) -> None:
        match effect:
            case SubmitPrompt(batch, prompt, attempt):
                wanted = await self._engine.report(SubmitIntended(batch, prompt, attempt, "main"))
                assert isinstance(wanted, Wanted)
                await self._engine.report(PromptWasAccepted(batch, prompt, attempt))
            case FollowPrompt(batch, prompt, attempt, images=images):
                files = tuple(OutputFile(f"{index}.png", batch, "output") for index in images)
                await self._engine.report(PromptHasFinished(batch, prompt, attempt, files))
            case FetchPrompt():
                await self._fetch(effect)
            case _:
                await asyncio.Event().wait()

    async def _fetch(self, effect: FetchPrompt) -> None:
        files = tuple([await self._keep(effect, index) for index in effect.images])
        taken = await self._engine.report(FilesKept(effect.batch_id, effect.prompt, effect.attempt, files))
        assert isinstance(taken, Taken)
        for index in taken.images:
            note(kept=[effect.batch_id, index])
            self.kept += 1

    async def _keep(self, effect: FetchPrompt, index: int) -> Pinned:
        """The first image comes twice with other bytes, as after a crash between keeping and recording."""
        for _ in range(2 if index == 1 else 1):
            one = await self._into_spool(effect.batch_id, index, picture())
        return Pinned(index, one.sha256, one.md5, one.size_bytes, one.width, one.height, one.extension)

    async def broken(self) -> None:
        """A file that is cut off leaves nothing, its folder included."""
        with suppress(Broken):
            await self._into_spool("broken", 1, picture()[:-4])

    async def _into_spool(self, batch_id: str, index: int, content: bytes) -> ProvedFile:
        return await self._spool.keep(
            batch_id, index, 1, pieces(content), strip=True, bytes_max=100_000, pixels_max=10_000
        )


async def caller(engine: Engine, day: str, place: int, user: str, quantity: int) -> None:
    """Submits a batch, and the first caller repeats its request."""
    command = submission(f"{day}-{place}", user=user, quantity=quantity, prompt="a lantern in the fog")
    for _ in range(2 if place == 0 else 1):
        accepted = await engine.command(command)
        assert isinstance(accepted, Accepted)
        note(batch=accepted.batch_id, numbers=[image.number for image in accepted.images])


async def live(root: Path, day: str) -> None:
    ledger = Ledger.open(root / LEDGER)
    ledger._connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    if MARKS_EARLY:
        crash_points.at = lambda name: ledger._marking.note(ledger.head) if name == "group.written" else None
    engine = Engine(
        ledger,
        policy=Policy(),
        limits=Limits(),
        first_use_wait_s=60,
        wall_ms=lambda: 1_700_000_000_000,
        steady_ms=lambda: 0,
    )
    workers = Workers(engine, Spool(root / SPOOL))
    await workers.broken()
    running = asyncio.create_task(engine.run(workers.perform, _never))
    await asyncio.gather(*(caller(engine, day, place, *who) for place, who in enumerate(DAYS[day])))
    await until(lambda: workers.kept >= sum(quantity for _, quantity in DAYS[day]))
    running.cancel()
    await asyncio.wait([running])
    ledger.close()


async def _never(_: object) -> None:
    raise AssertionError("every series of this day is opened on trust")


def without(step: str) -> None:
    """Take a durable step out, as a careless change would."""
    if step == "early mark":
        MARKS_EARLY.append(step)
    elif step == "synchronous":
        schema._PRAGMAS["synchronous"] = 1
    elif step:
        setattr(copy_module if step == "sync_file" else spool_module, step, lambda path: None)


def main(root: str, step: str = "") -> None:
    without(step)
    for day in DAYS:
        asyncio.run(live(Path(root), day))


if __name__ == "__main__":
    main(*sys.argv[1:])
