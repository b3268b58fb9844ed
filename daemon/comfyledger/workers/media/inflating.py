"""Inflating and checksums: by Intel's ISA-L where the extra `speed` is installed, else by zlib.

ISA-L takes half the time of zlib for a picture, and proves the same: the length and the checksum of what comes out.
Two things it does not check. It takes a window larger than the format has, so zlib inflates each stream that does not
begin as almost every writer has it. And it takes a code that is not complete, if nothing that comes uses what is
missing; no writer is known that makes one, and a byte that was changed later does not pass the checksum of its chunk.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import Any, Final, Protocol, cast

LARGEST_WINDOW: Final = 0x78
"""The first byte of a stream whose distances may be as long as the format allows."""


def _fastest() -> Any:
    """A module with the calls of zlib."""
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib


_fast: Final = _fastest()
ERRORS: Final[tuple[type[Exception], ...]] = (zlib.error, _fast.error)


class Inflating(Protocol):
    """A stream that is inflated in pieces, as zlib's decompression object does it."""

    eof: bool
    unconsumed_tail: bytes
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """Raises one of ERRORS."""


def inflating(first: int) -> Inflating:
    """For a stream whose first byte is this one."""
    library = _fast if first == LARGEST_WINDOW else zlib
    return cast(Inflating, library.decompressobj())


def crc32(content: bytes, before: int = 0) -> int:
    """The checksum of zlib and PNG. `before`: that of what comes before the content."""
    return cast(int, _fast.crc32(content, before))
