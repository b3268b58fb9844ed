"""Where the bytes come from that a prompt loads, and what it means that there are none."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import pytest
from msgspec.structs import replace

from comfyledger.core.rows import ImageRow
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.errors import Refused
from comfyledger.workers.inputs.loaded_bytes import BytesGone, BytesLater, LoadedBytes
from support.core_builders import forget, given, one_kept, one_stored, pinned, submit
from support.waiting import until

SHA256 = pinned(1).sha256
INPUT, SOURCE = LoadedFile("5.image", None, SHA256, "png", 4), LoadedFile("5.image", ImageAt("b1", 1), SHA256, "png", 4)


class Place:
    """The folder of inputs, the spool and the ledger, of one image."""

    def __init__(self) -> None:
        self.file: BinaryIO | None = io.BytesIO(b"PNG!")
        self.row: ImageRow | None = given(submit(quantity=1), one_kept()).image()
        self.refusal: Refused | None = None
        self.in_spool = False
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        part: Any = self
        images: Any = Images(self)
        self.bytes = LoadedBytes(part, images, part)

    def open(self, sha256: str, extension: str) -> BinaryIO | None:
        assert (sha256, extension) == (SHA256, "png")
        return self.file

    async def image(self, batch_id: str, index: int) -> ImageRow | None:
        return self.row

    async def read(self, load: LoadedFile) -> bytes:
        async with self.bytes.open(load) as file:
            return file.read()


class Images:
    def __init__(self, place: Place) -> None:
        self._place = place

    async def is_in_spool(self, _: ImageRow) -> bool:
        return self._place.in_spool

    @asynccontextmanager
    async def open(self, _: ImageRow) -> AsyncIterator[BinaryIO]:
        self._place.asked += 1
        await self._place.answers.wait()
        if self._place.refusal is not None:
            raise self._place.refusal
        yield io.BytesIO(b"image")


@pytest.fixture
def place() -> Place:
    return Place()


async def test_an_input_is_read_from_its_folder_and_closed(place: Place) -> None:
    assert await place.read(INPUT) == b"PNG!"
    assert place.file is not None
    assert place.file.closed


async def test_an_input_that_is_not_there_is_gone(place: Place) -> None:
    place.file = None
    with pytest.raises(BytesGone, match="comfyledger input add"):
        await place.read(INPUT)


async def test_a_source_is_read_as_an_image_is(place: Place) -> None:
    assert await place.read(SOURCE) == b"image"


async def test_a_source_that_was_forgotten_or_has_other_bytes_is_gone(place: Place) -> None:
    ledger = given(submit(quantity=1), *one_stored(), forget())
    assert place.row is not None
    for row in (None, ledger.image(), replace(place.row, sha256="other")):
        place.row = row
        with pytest.raises(BytesGone):
            await place.read(SOURCE)


@pytest.mark.parametrize(
    ("code", "kind"), [("busy", BytesLater), ("store_unavailable", BytesLater), ("unknown_image", BytesGone)]
)
async def test_a_store_that_cannot_answer_now_is_asked_later(place: Place, code: str, kind: type[Exception]) -> None:
    place.refusal = Refused(code, "No.")
    with pytest.raises(kind, match="No"):
        await place.read(SOURCE)


async def test_a_source_that_nobody_has_any_more_is_gone_with_the_command_that_brings_it_back(place: Place) -> None:
    place.refusal = Refused("unknown_image", "No.", hint="`comfyledger recover --missing` restores it.")
    with pytest.raises(BytesGone) as gone:
        await place.read(SOURCE)
    assert str(gone.value).endswith("No. `comfyledger recover --missing` restores it. Then retry the batch.")


# ---- before a prompt is begun


@pytest.mark.parametrize(
    ("code", "waits"), [("", False), ("store_unavailable", True), ("busy", True), ("unknown_image", False)]
)
async def test_a_prompt_waits_for_bytes_that_a_store_may_give_later(place: Place, code: str, waits: bool) -> None:
    place.refusal = Refused(code) if code else None
    assert await place.bytes.must_wait(SOURCE) is waits
    assert place.asked == 1


async def test_nothing_is_asked_for_bytes_that_are_here(place: Place) -> None:
    place.in_spool = True
    assert not await place.bytes.must_wait(SOURCE)
    assert not await place.bytes.must_wait(INPUT)
    place.in_spool, place.row = False, None
    assert not await place.bytes.must_wait(SOURCE)
    assert place.asked == 0


async def test_one_prompt_at_a_time_asks_a_store_that_hangs(place: Place) -> None:
    place.answers.clear()
    first = asyncio.create_task(place.bytes.must_wait(SOURCE))
    await until(lambda: place.asked == 1, "the store is asked")
    assert await place.bytes.must_wait(SOURCE)
    place.answers.set()
    assert not await first
    assert place.asked == 1
