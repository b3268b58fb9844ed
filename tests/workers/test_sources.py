"""Laws of the look at sources: it tells what the ledger holds, and of an end which image it was and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from comfyledger.core.commands import Command
from comfyledger.core.decide.decide import Message
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, FindSources
from comfyledger.core.scheduling.lanes import PROBE_LAST_MS
from comfyledger.engine import Engine
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache
from comfyledger.workers.sources import SourceFinder
from support.core_builders import cancel, failing, forget, made_from, one_kept, submit, unwanted, uploading
from support.waiting import until


class Chained:
    """An engine whose only worker looks at sources."""

    def __init__(self, folder: Path) -> None:
        self.now_ms = 0
        self.is_broken = self.died = False
        self.looks = 0
        self.ledger, self.reader = Ledger.open(folder / "ledger.db"), Reader(folder / "ledger.db")
        self.engine = Engine(
            self.ledger,
            policy=Policy(),
            limits=Limits(),
            first_use_wait_s=60.0,
            wall_ms=lambda: 1_700_000_000_000,
            steady_ms=lambda: self.now_ms,
        )
        reporter = Reporter(self.engine, lambda: b"0123456789abcdef", 2_000)
        self.finder = SourceFinder(RowCache(self.engine, self.reader), reporter)
        self.running = asyncio.create_task(self.engine.run(self.perform, self.perform))

    async def perform(self, effect: Any) -> None:
        if isinstance(effect, FindSources):
            if self.is_broken:
                self.died = True
                raise OSError
            await self.finder.find(effect)
            self.looks += 1
        elif isinstance(effect, Effect):
            await asyncio.Event().wait()

    async def given(self, *messages: Message | Iterable[Message]) -> None:
        for message in messages:
            for one in message if isinstance(message, Iterable) else (message,):
                await (self.engine.command(one) if isinstance(one, Command) else self.engine.report(one))

    async def image(self, batch: str = "b2") -> ImageRow:
        row = await self.reader.image(batch, 1)
        assert row is not None
        return row

    async def prompt(self, batch: str = "b2") -> PromptRow:
        row = await self.reader.prompt(batch, 1)
        assert row is not None
        return row

    async def words(self, batch: str = "b2") -> str:
        """Why the image of a batch failed, once it has."""

        async def has_failed() -> bool:
            return (await self.image(batch)).state == "failed"

        await until(has_failed)
        row = await self.image(batch)
        assert row.code == "input_failed"
        return (await self.reader.texts([row.words or ""]))[row.words or ""].decode()

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.reader.close()
        self.ledger.close()


@pytest.fixture
async def chained(tmp_path: Path) -> AsyncIterator[Chained]:
    made = Chained(tmp_path)
    await made.given(submit(quantity=1), submit("b2", 1, loads=(made_from(),)))
    yield made
    await made.end()


async def test_a_look_that_raised_an_error_is_taken_up_by_the_clock(chained: Chained) -> None:
    await until(lambda: chained.looks and "sources" not in chained.engine.view.open_work().running)
    chained.is_broken = True
    await chained.given(one_kept())
    await until(lambda: chained.died and "sources" not in chained.engine.view.open_work().running)
    chained.is_broken = False
    chained.now_ms += PROBE_LAST_MS  # it may have raised more than once
    await chained.given(submit("b3", 1))

    async def is_fixed() -> bool:
        return not (await chained.prompt()).lacks_sources

    await until(is_fixed)


@pytest.mark.parametrize("after", [(), (uploading(), unwanted())], ids=["kept", "parked"])
async def test_a_source_that_has_bytes_is_fixed_with_all_that_is_known_of_them(
    chained: Chained, after: tuple[Message, ...]
) -> None:
    await chained.given(one_kept(), after)

    async def is_fixed() -> bool:
        return not (await chained.prompt()).lacks_sources

    await until(is_fixed)
    source, (load,) = await chained.image("b1"), (await chained.prompt()).loads
    assert (load.sha256, load.extension, load.size_bytes) == (source.sha256, source.extension, source.size_bytes)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (failing(), "Areg_opal-fever_image_1 failed: execution_error."),
        ((cancel(),), "Areg_opal-fever_image_1 was cancelled."),
        ((forget(),), "Areg_opal-fever_image_1 was forgotten."),
    ],
)
async def test_an_image_fails_with_the_name_and_the_end_of_its_source(
    chained: Chained, end: tuple[Message, ...], words: str
) -> None:
    await chained.given(end)
    assert await chained.words() == words


async def test_the_last_of_a_chain_names_every_image_down_to_the_one_that_failed(chained: Chained) -> None:
    await chained.given(submit("b3", 1, loads=(made_from("b2"),)), failing())
    first, second = "Areg_opal-fever_image_1", "Areg_opal-fever_image_2"
    assert await chained.words("b3") == f"{second} failed: {first} failed: execution_error."
