"""The calls on a bucket, with obstore's errors as faults of the store, and without secrets in their texts."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import suppress

from comfyledger.plugin_api import ImageFault, LaneFault, StoreTrouble
from comfyledger_objects.bucket import LISTED_MAX, Bucket
from comfyledger_objects.faults import ABSENT, fault_of, lane_fault_of, may_be_of_the_object, said_by
from comfyledger_objects.keys import PROBE_FOLDER, joined
from comfyledger_objects.metadata import Found
from comfyledger_objects.options import Options


class Closed(StoreTrouble):
    """This one object cannot be read, while others can."""


class Calls:
    """Questions to one bucket. Each raises StoreTrouble if it gets no answer."""

    def __init__(self, options: Options, bucket: Bucket) -> None:
        self._options, self._bucket = options, bucket

    async def look(self, key: str) -> Found:
        """Raises FileNotFoundError if the bucket is there and has no such object.

        If the server does not describe this one object, or in a way that obstore cannot read, a list tells its size.
        """
        try:
            return await self._bucket.look(key)
        except FileNotFoundError as error:
            if said_by(error).code in ABSENT:
                raise
            raise self.trouble(error) from error
        except Exception as error:
            found = await self._as_listed(key) if may_be_of_the_object(error) else None
            if found is None:
                raise self.trouble(error) from error
            return found

    async def read(self, found: Found) -> AsyncIterator[bytes]:
        """The bytes of an object, piece by piece. Raises Closed if the reason why it gets none lies in this object."""
        pieces = self._bucket.read(found)
        while True:
            try:
                piece = await anext(pieces, None)
            except Exception as error:
                fault = self.lane_fault(error)
                if may_be_of_the_object(error) and await self._reads_another():
                    text = f"{found.key} is there and cannot be read, which others can: {fault.text}"
                    raise Closed(LaneFault("unknown", text)) from error
                raise StoreTrouble(fault) from error
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

    async def _as_listed(self, key: str) -> Found | None:
        """An object as a list has it, without metadata; None if it has none."""
        async for part in self.listed(key.rpartition("/")[0], key[:-1]):
            for found in part:
                if found.key == key:
                    return found
        return None

    async def _reads_another(self) -> bool:
        """Whether an object that is written for this can be read."""
        key = joined(self._options.prefix, f"{PROBE_FOLDER}/{secrets.token_hex(8)}-read")
        try:
            await self._bucket.create(key, memoryview(b"1"), {})
            async for _ in self._bucket.read(await self._bucket.look(key)):
                pass
        except Exception:
            return False
        finally:
            with suppress(Exception):
                await self._bucket.delete(key)
        return True

    def trouble(self, error: Exception) -> StoreTrouble:
        return StoreTrouble(self.lane_fault(error))

    def lane_fault(self, error: Exception) -> LaneFault:
        fault = lane_fault_of(error)
        return LaneFault(fault.code, self._options.masked(fault.text), fault.retry_after_s)

    def fault_of_upload(self, error: Exception) -> LaneFault | ImageFault:
        fault = fault_of(error, sending=True)
        text = self._options.masked(fault.text)
        return ImageFault(fault.code, text) if isinstance(fault, ImageFault) else LaneFault(fault.code, text)
