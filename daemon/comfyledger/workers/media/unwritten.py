"""A sink that keeps nothing: what is written to it only moves its end, so that a file can be walked without a copy."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any


class Unwritten(BytesIO):
    """Knows where it is and where it ends, as walks ask for both. It can be sought from its start and its end."""

    def __init__(self) -> None:
        super().__init__()
        self._at = self._end = 0

    def write(self, piece: Any, /) -> int:
        count = memoryview(piece).nbytes
        self._at += count
        self._end = max(self._end, self._at)
        return count

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + (self._end if whence == os.SEEK_END else 0)
        return self._at
