"""The rows that workers read. Those of open work are in memory, as of the last commit; others come from the ledger.

Images are remembered up to a bound. Each commit renews what is remembered, in the same step in which the engine takes
it in, so nobody sees an older row than the ledger has.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.engine import Engine
from comfyledger.ledger.observers import Committed
from comfyledger.ledger.ports import Reader

IMAGES_KEPT: Final = 4_000
READ_AHEAD: Final = 32
"""So many images are read at once, or inputs of prompts: those that follow are asked for next."""
INPUTS_BYTES_AHEAD: Final = 262_144
"""After so many bytes no further inputs are read at once."""
INPUTS_BYTES_KEPT: Final = 1_048_576

ImageId = tuple[str, int]


class RowCache:
    """What the ledger holds now. An answer from memory saves a trip to the reader's thread."""

    def __init__(self, engine: Engine, reader: Reader) -> None:
        self._view = engine.view
        self._reader = reader
        self._images: OrderedDict[ImageId, ImageRow] = OrderedDict()
        self._changed: list[set[ImageId]] = []
        """For each read that is under way: the images that were changed meanwhile."""
        self._inputs: OrderedDict[str, bytes] = OrderedDict()
        """Read ahead, by digest. Each is used once."""
        self._inputs_bytes = self._erasures = 0
        engine.observe(self._take_in)

    def _take_in(self, group: Committed) -> None:
        images = [row for row in group.rows.values() if isinstance(row, ImageRow)]
        for row in images[:IMAGES_KEPT]:
            self._remember(row)
        for row in images[IMAGES_KEPT:]:
            self._images.pop((row.batch_id, row.index), None)
        if images and self._changed:
            ids = {(row.batch_id, row.index) for row in images}
            for changed in self._changed:
                changed.update(ids)
        if any(row.is_forgotten for row in images):
            self._erasures += 1
            self._inputs.clear()
            self._inputs_bytes = 0

    def _remember(self, row: ImageRow) -> None:
        key = (row.batch_id, row.index)
        self._images[key] = row
        self._images.move_to_end(key)
        if len(self._images) > IMAGES_KEPT:
            self._images.popitem(last=False)

    async def batch(self, batch_id: str) -> BatchRow | None:
        return self._view.batch(batch_id) or await self._reader.batch(batch_id)

    async def prompt(self, batch_id: str, index: int) -> PromptRow | None:
        return self._view.prompt(batch_id, index) or await self._reader.prompt(batch_id, index)

    async def image(self, batch_id: str, index: int) -> ImageRow | None:
        return next(iter(await self.images(batch_id, (index,))), None)

    async def images(self, batch_id: str, indexes: tuple[int, ...]) -> list[ImageRow]:
        """In the order of the indexes; those that do not exist are missing."""
        known = {index: self._known(batch_id, index) for index in indexes}
        if any(row is None for row in known.values()):
            known |= await self._read(batch_id, indexes)
        return [row for index in indexes if (row := known[index]) is not None]

    def _known(self, batch_id: str, index: int) -> ImageRow | None:
        return self._view.image(batch_id, index) or self._images.get((batch_id, index))

    async def _read(self, batch_id: str, indexes: tuple[int, ...]) -> dict[int, ImageRow | None]:
        """The images as they are in the ledger, or as a commit left them after they were read."""
        ahead = range(min(indexes), min(indexes) + READ_AHEAD)
        changed: set[ImageId] = set()
        self._changed.append(changed)
        try:
            rows = await self._reader.these_images(batch_id, tuple(dict.fromkeys((*indexes, *ahead))))
        finally:
            self._changed.remove(changed)
        found = {row.index: row for row in rows}
        for row in rows:
            if (batch_id, row.index) not in changed:
                self._remember(row)
        return {index: self._known(batch_id, index) or found.get(index) for index in indexes}

    async def texts(self, digests: list[str]) -> dict[str, bytes]:
        """The contents behind digests; one that was erased is missing from the answer."""
        return await self._reader.texts(digests)

    async def inputs(self, prompt: PromptRow) -> bytes | None:
        """The inputs of a prompt that has some; None if they were erased.

        The inputs of the prompts of its batch that follow are read with them. Nothing that is erased meanwhile is kept.
        """
        digest = prompt.inputs or ""
        if (content := self._inputs.pop(digest, None)) is not None:
            self._inputs_bytes -= len(content)
            return content
        erasures = self._erasures
        found = await self._reader.texts([digest, *self._inputs_after(prompt)], INPUTS_BYTES_AHEAD)
        content = found.pop(digest, None)
        if erasures == self._erasures:
            self._keep_inputs(found)
        return content

    def _inputs_after(self, prompt: PromptRow) -> list[str]:
        following = (self._view.prompt(prompt.batch_id, prompt.index + ahead) for ahead in range(1, READ_AHEAD))
        return [row.inputs for row in following if row is not None and row.inputs and row.inputs not in self._inputs]

    def _keep_inputs(self, found: dict[str, bytes]) -> None:
        for digest, content in found.items():
            self._inputs_bytes += len(content) - len(self._inputs.get(digest, b""))
            self._inputs[digest] = content
        while self._inputs_bytes > INPUTS_BYTES_KEPT:
            self._inputs_bytes -= len(self._inputs.popitem(last=False)[1])
