"""The bytes of what a prompt loads: of an input from the folder of inputs, of an earlier image from the spool or a
store. They are exactly those that were recorded, or there are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, Final

import structlog

from comfyledger.core.rows import ImageRow
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.errors import Refused
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.inputs.copies import CopyGone, CopyLater, InputCopies
from comfyledger.workers.inputs.store import InputStore
from comfyledger.workers.row_cache import RowCache

_LATER: Final = frozenset({"busy", "store_unavailable", "box_away"})

_AGAIN: Final = "Add the file again with `comfyledger input add FILE`, then retry the batch."

log = structlog.get_logger("comfyledger.inputs")


class BytesGone(Exception):
    """The bytes of a file are not here, nor in a store. The text says which and what to do."""


class BytesLater(Exception):
    """The bytes of a file cannot be had now."""


class LoadedBytes:
    """Of one daemon."""

    def __init__(
        self, inputs: InputStore, images: FileSource, rows: RowCache, copies: InputCopies | None = None
    ) -> None:
        """`copies`: from other boxes of the fleet, if there is one."""
        self._inputs = inputs
        self._copies = copies
        self._images = images
        self._rows = rows
        self._is_asking = False
        """Whether a store is being asked for the bytes of a prompt that is not begun."""

    @asynccontextmanager
    async def open(self, load: LoadedFile) -> AsyncIterator[BinaryIO]:
        """The open file, at its beginning. Raises BytesGone, BytesLater."""
        if load.source is None:
            file = await self._input(load)
            try:
                yield file
            finally:
                file.close()
        else:
            image = await self._image(load.source, load.sha256)
            async with self._opened(image) as file:
                yield file

    async def must_wait(self, load: LoadedFile) -> bool:
        """Whether the bytes of a source lie in stores or at other boxes alone, and these cannot give them now.

        One prompt asks at a time, and others wait: a store that hangs must not hold the places of all prompts.
        """
        if load.source is None:
            must_copy = self._copies is not None and not self._inputs.has(load.sha256)
            return must_copy and (self._is_asking or await self._ask(load.sha256, self._input(load)))
        try:
            image = await self._image(load.source, load.sha256)
        except BytesGone:
            return False  # that is told when the prompt is sent
        if await self._images.is_in_spool(image):
            return False
        return self._is_asking or await self._ask(image.public_id, self._looked(image))

    async def _looked(self, image: ImageRow) -> None:
        async with self._opened(image):
            pass

    async def _ask(self, about: str, work: Coroutine[Any, Any, BinaryIO | None]) -> bool:
        """Whether bytes cannot be had now. `about`: what they are of."""
        self._is_asking = True
        try:
            if (file := await work) is not None:
                file.close()
        except BytesGone:
            return False  # that is told when the prompt is sent
        except BytesLater as later:
            log.info("prompt.waits_for_bytes", image=about, error=str(later))
            return True
        finally:
            self._is_asking = False
        return False

    async def _input(self, load: LoadedFile) -> BinaryIO:
        file = await asyncio.to_thread(self._inputs.open, load.sha256, load.extension)
        if file is None and self._copies is not None:
            try:
                await self._copies.fetch(load.sha256)
            except CopyLater as later:
                raise BytesLater(str(later)) from later
            except CopyGone as gone:
                raise BytesGone(f"{gone} {_AGAIN}") from gone
            file = await asyncio.to_thread(self._inputs.open, load.sha256, load.extension)
        if file is None:
            raise BytesGone(f"The bytes of the input sha256:{load.sha256} are not here any more. {_AGAIN}")
        return file

    async def _image(self, source: ImageAt, sha256: str) -> ImageRow:
        image = await self._rows.image(source.batch_id, source.image)
        if image is None or image.is_forgotten:
            raise BytesGone("The image that it is made from was forgotten.")
        if image.sha256 != sha256:
            text = f"{image.public_id}, which it is made from, has other bytes now than it had."
            raise BytesGone(f"{text} Retry the batch to use those.")
        return image

    @asynccontextmanager
    async def _opened(self, image: ImageRow) -> AsyncIterator[BinaryIO]:
        try:
            async with self._images.open(image) as file:
                yield file
        except Refused as refusal:
            text = f"{image.public_id}, which it is made from: {refusal.message}"
            if refusal.code in _LATER:
                raise BytesLater(text) from refusal
            raise BytesGone(f"{text} {refusal.hint} Then retry the batch.") from refusal
