"""Memory for files that are sent in one request. While some are on their way, what one has left is given to the next:
fresh memory costs the kernel a fault for each page, 4 to 6 % of the processor time of an upload.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from typing import Final

from comfyledger_objects.lending import Lending

KEPT_BYTES_MAX: Final = 67_108_864
"""What waits for the next file, at most: as much as 32 pictures of 2 MB."""
LARGER_MAX: Final = 4
"""A file gets at most so many times the memory that it needs: small ones must not hold that of large ones."""
UNIT_BYTES: Final = 262_144
"""Sizes are rounded up, so that files of nearly one size can have each other's memory."""


class Buffers:
    """Gives out memory and takes it back when nobody has it any more. Safe to call from any thread."""

    def __init__(self, lending: Lending) -> None:
        self._lending = lending
        self._free = deque[bytearray]()
        lending.at_rest = self._free.clear

    def of(self, size_bytes: int) -> memoryview:
        """Memory of this size, with anything in it. It is given again when the view is gone, and all views of it."""
        buffer = self._fit(size_bytes)
        return self._lending.lend(memoryview(buffer)[:size_bytes], partial(self._take_back, buffer))

    def _fit(self, size_bytes: int) -> bytearray:
        with suppress(IndexError):
            buffer = self._free.pop()
            if size_bytes <= len(buffer) <= max(UNIT_BYTES, LARGER_MAX * size_bytes) and _is_unused(buffer):
                return buffer
        return bytearray(max(1, -(-size_bytes // UNIT_BYTES)) * UNIT_BYTES)

    def _take_back(self, buffer: bytearray) -> None:
        """No lock: a view can end at any moment, also in a thread that is in here already."""
        if len(buffer) > KEPT_BYTES_MAX:
            return
        self._free.append(buffer)
        while sum(map(len, tuple(self._free))) > KEPT_BYTES_MAX:
            with suppress(IndexError):
                self._free.popleft()


def _is_unused(buffer: bytearray) -> bool:
    """Whether nobody has a view of it, such as a part of the view that was given: Python resizes it only then."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True
