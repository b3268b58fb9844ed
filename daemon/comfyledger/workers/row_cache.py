"""The rows that workers read. Those of open work are in memory, as of the last commit; others come from the ledger."""

from __future__ import annotations

from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.engine import EngineView
from comfyledger.ledger.ports import Reader


class RowCache:
    """What the ledger holds now. An answer from memory saves a trip to the reader's thread."""

    def __init__(self, view: EngineView, reader: Reader) -> None:
        self._view = view
        self._reader = reader

    async def batch(self, batch_id: str) -> BatchRow | None:
        return self._view.batch(batch_id) or await self._reader.batch(batch_id)

    async def prompt(self, batch_id: str, index: int) -> PromptRow | None:
        return self._view.prompt(batch_id, index) or await self._reader.prompt(batch_id, index)

    async def image(self, batch_id: str, index: int) -> ImageRow | None:
        return self._view.image(batch_id, index) or await self._reader.image(batch_id, index)

    async def images(self, batch_id: str, indexes: tuple[int, ...]) -> list[ImageRow]:
        """In the order of the indexes; those that do not exist are missing."""
        return await self._reader.these_images(batch_id, indexes)

    async def texts(self, digests: list[str]) -> dict[str, bytes]:
        """The contents behind digests; one that was erased is missing from the answer."""
        return await self._reader.texts(digests)
