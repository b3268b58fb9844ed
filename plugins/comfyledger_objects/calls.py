"""The calls on a bucket, with obstore's errors as faults of the store, and without secrets in their texts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from comfyledger.plugin_api import ImageFault, LaneFault, StoreTrouble
from comfyledger_objects.bucket import LISTED_MAX, Bucket
from comfyledger_objects.faults import ABSENT, fault_of, lane_fault_of, said_by
from comfyledger_objects.metadata import Found
from comfyledger_objects.options import Options


class Calls:
    """Questions to one bucket. Each raises StoreTrouble if it gets no answer."""

    def __init__(self, options: Options, bucket: Bucket) -> None:
        self._options, self._bucket = options, bucket

    async def look(self, key: str) -> Found:
        """Raises FileNotFoundError if the bucket is there and has no such object."""
        try:
            return await self._bucket.look(key)
        except FileNotFoundError as error:
            if said_by(error).code in ABSENT:
                raise
            raise self.trouble(error) from error
        except Exception as error:
            raise self.trouble(error) from error

    async def read(self, found: Found) -> AsyncIterator[bytes]:
        """The bytes of an object, piece by piece."""
        pieces = self._bucket.read(found)
        while True:
            try:
                piece = await anext(pieces, None)
            except Exception as error:
                raise self.trouble(error) from error
            if piece is None:
                return
            yield piece

    async def listed(self, folder: str, after: str = "", chunk: int = LISTED_MAX) -> AsyncIterator[list[Found]]:
        """The objects below a folder with a higher key than `after`, in parts."""
        parts = self._bucket.listed(folder, after, chunk)
        while True:
            try:
                part = await anext(parts, None)
            except Exception as error:
                raise self.trouble(error) from error
            if part is None:
                return
            yield part

    def trouble(self, error: Exception) -> StoreTrouble:
        return StoreTrouble(self.lane_fault(error))

    def lane_fault(self, error: Exception) -> LaneFault:
        fault = lane_fault_of(error)
        return LaneFault(fault.code, self._options.masked(fault.text), fault.retry_after_s)

    def fault_of_upload(self, error: Exception) -> LaneFault | ImageFault:
        fault = fault_of(error, sending=True)
        text = self._options.masked(fault.text)
        return ImageFault(fault.code, text) if isinstance(fault, ImageFault) else LaneFault(fault.code, text)
