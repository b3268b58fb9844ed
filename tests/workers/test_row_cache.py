"""RowCache for workers: from memory where work is open, and never other than those of the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from comfyledger.core.commands import Command
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import Report
from comfyledger.core.rows import ImageRow, ImageState, PromptRow, row_id
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.engine import Engine
from comfyledger.ledger.observers import Committed, Observer, notify_observers
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.row_cache import IMAGES_KEPT, INPUTS_BYTES_AHEAD, INPUTS_BYTES_KEPT, READ_AHEAD, RowCache
from support.core_builders import cancel, forget, hold, one_kept, release, submit, uploaded, uploading

LIFE = (
    *one_kept(1),
    uploading(1),
    hold(),
    uploaded(1),
    *one_kept(2),
    release(),
    cancel(3),
    uploading(2),
    uploaded(2),
    forget(1, stores=True),
)


async def _ignore(_: Any) -> None:
    await asyncio.Event().wait()


async def test_after_every_message_memory_says_what_the_ledger_says(tmp_path: Path) -> None:
    ledger, reader = Ledger.open(tmp_path / "ledger.db"), Reader(tmp_path / "ledger.db")
    engine = Engine(
        ledger, policy=Policy(), limits=Limits(), first_use_wait_s=60.0, wall_ms=lambda: 1, steady_ms=lambda: 1
    )
    running = asyncio.create_task(engine.run(_ignore, _ignore))
    rows, from_memory = RowCache(engine, reader), 0
    await engine.command(submit(quantity=3))
    for message in LIFE:
        await (engine.command(message) if isinstance(message, Command) else _reported(engine, message))
        assert await rows.batch("b1") == await reader.batch("b1")
        for index in (1, 2, 3):
            assert await rows.prompt("b1", index) == await reader.prompt("b1", index)
            assert await rows.image("b1", index) == await reader.image("b1", index)
            from_memory += engine.view.image("b1", index) is not None
    assert from_memory
    assert [row.index for row in await rows.images("b1", (3, 9, 1))] == [3, 1]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await reader.close()
    ledger.close()


class SlowReader:
    """A reader of images and texts that answers when it is let, with what was so when it was asked."""

    def __init__(self) -> None:
        self.images: dict[tuple[str, int], ImageRow] = {}
        self.contents: dict[str, bytes] = {}
        self.asked: list[tuple[int, ...]] = []
        self.texts_asked: list[tuple[str, ...]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def these_images(self, batch_id: str, indexes: tuple[int, ...]) -> list[ImageRow]:
        self.asked.append(indexes)
        found = [row for index in indexes if (row := self.images.get((batch_id, index)))]
        await self.may_answer.wait()
        return found

    async def texts(self, digests: list[str], bytes_max: int) -> dict[str, bytes]:
        assert bytes_max == INPUTS_BYTES_AHEAD
        self.texts_asked.append(tuple(digests))
        found = {digest: self.contents[digest] for digest in digests if digest in self.contents}
        await self.may_answer.wait()
        return found


class NothingOpen:
    """An engine without open images."""

    def __init__(self) -> None:
        self.view, self.observers, self.prompts = self, list[Observer](), dict[int, PromptRow]()

    def prompt(self, _: str, index: int) -> PromptRow | None:
        return self.prompts.get(index)

    def image(self, *_: object) -> None:
        return None

    def observe(self, *observers: Observer) -> None:
        self.observers += observers


class Cached:
    """A cache, what it reads from, and commits that it takes in."""

    def __init__(self) -> None:
        self.reader, self._engine = SlowReader(), NothingOpen()
        self.rows = RowCache(self._engine, self.reader)  # type: ignore[arg-type]
        self.prompts = self._engine.prompts

    def begin(self, prompts: int, content: bytes = b"{}") -> None:
        """A batch with this many prompts, whose inputs have this content."""
        self.prompts |= {at: PromptRow("b1", at, (at,), at, inputs=f"d{at}") for at in range(1, prompts + 1)}
        self.reader.contents = {f"d{at}": content for at in self.prompts}

    def commit(self, *changed: ImageRow) -> None:
        self.reader.images |= {(one.batch_id, one.index): one for one in changed}
        notify_observers(self._engine.observers, Committed([], {row_id(one): one for one in changed}, 1, 0.0))


def row(index: int, state: ImageState = "pending") -> ImageRow:
    return ImageRow("b1", index, index, "f", f"n_{index}", index, "areg", state=state)


async def test_images_that_follow_are_read_together() -> None:
    cached = Cached()
    reader, rows = cached.reader, cached.rows
    reader.images = {("b1", index): row(index) for index in range(1, 101)}
    for index in range(1, 101):
        assert await rows.image("b1", index) == row(index)
    assert len(reader.asked) <= 100 / READ_AHEAD + 1


async def test_an_image_that_changes_while_it_is_read_is_as_it_was_changed() -> None:
    cached = Cached()
    reader, rows = cached.reader, cached.rows
    reader.images = {("b1", 1): row(1), ("b1", 2): row(2)}
    reader.may_answer.clear()
    reading = asyncio.create_task(rows.images("b1", (1, 2)))
    await asyncio.sleep(0)
    cached.commit(row(1, "kept"))
    reader.may_answer.set()
    assert await reading == [row(1, "kept"), row(2)]
    assert await rows.images("b1", (1, 2)) == [row(1, "kept"), row(2)]


async def test_what_was_dropped_while_it_was_read_is_not_remembered_as_it_was() -> None:
    cached = Cached()
    reader, rows = cached.reader, cached.rows
    reader.images = {("b1", 1): row(1)}
    reader.may_answer.clear()
    reading = asyncio.create_task(rows.image("b1", 1))
    await asyncio.sleep(0)
    cached.commit(*(row(index) for index in range(10, IMAGES_KEPT + 10)), row(1, "kept"))
    reader.may_answer.set()
    await reading
    assert await rows.image("b1", 1) == row(1, "kept")


async def test_no_more_images_are_remembered_than_the_bound() -> None:
    cached = Cached()
    reader, rows = cached.reader, cached.rows
    cached.commit(*(row(index) for index in range(1, IMAGES_KEPT + 100)))
    assert len(rows._images) == IMAGES_KEPT
    cached.commit(*(row(index, "kept") for index in range(IMAGES_KEPT, IMAGES_KEPT + 100)))
    assert len(rows._images) == IMAGES_KEPT
    for index in (1, IMAGES_KEPT, IMAGES_KEPT + 99):
        assert await rows.image("b1", index) == reader.images["b1", index]


async def test_inputs_of_the_prompts_that_follow_are_read_together() -> None:
    cached = Cached()
    cached.begin(prompts=100)
    for prompt in cached.prompts.values():
        assert await cached.rows.inputs(prompt) == b"{}"
    assert len(cached.reader.texts_asked) <= 100 / READ_AHEAD + 1
    assert not cached.rows._inputs, "each is used once"


async def test_inputs_that_were_read_ahead_are_gone_when_an_image_is_forgotten() -> None:
    cached = Cached()
    cached.begin(prompts=3)
    await cached.rows.inputs(cached.prompts[1])
    cached.reader.contents.clear()
    cached.commit(row(3, "forgotten"))
    assert await cached.rows.inputs(cached.prompts[3]) is None


async def test_inputs_that_are_erased_while_they_are_read_ahead_are_not_kept() -> None:
    cached = Cached()
    cached.begin(prompts=3)
    cached.reader.may_answer.clear()
    reading = asyncio.create_task(cached.rows.inputs(cached.prompts[1]))
    await asyncio.sleep(0)
    cached.reader.contents.clear()
    cached.commit(row(3, "forgetting"))
    cached.reader.may_answer.set()
    assert await reading == b"{}"
    assert await cached.rows.inputs(cached.prompts[2]) is None


async def test_no_more_bytes_of_inputs_are_kept_than_the_bound() -> None:
    cached = Cached()
    cached.begin(prompts=READ_AHEAD, content=b" " * (INPUTS_BYTES_KEPT // 8))
    await cached.rows.inputs(cached.prompts[1])
    assert sum(map(len, cached.rows._inputs.values())) == cached.rows._inputs_bytes <= INPUTS_BYTES_KEPT
    assert await cached.rows.inputs(cached.prompts[2]) == cached.reader.contents["d2"], "read once more"


async def _reported(engine: Engine, message: Any) -> None:
    assert isinstance(message, Report)
    await engine.report(message)
