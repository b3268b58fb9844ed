"""AVI: RIFF chunks that fill the file, with a header and with frames; texts become JUNK in place.

A file of more than a gibibyte goes on in further RIFF chunks of kind AVIX. (Microsoft, AVI RIFF File Reference;
OpenDML AVI File Format Extensions)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from comfyledger.workers.media.broken_file import Broken, check_parts, take, trailing, truncated
from comfyledger.workers.media.masked import Mask, Measured

TEXT_CHUNKS: Final = frozenset({b"strn", b"IDIT", b"ISMP", b"JUNK"})
TEXT_LISTS: Final = frozenset({b"INFO", b"exif"})
LISTS: Final = frozenset({b"hdrl", b"strl"})
"""Lists that are read. That of the frames, `movi`, is only measured."""
NEEDED: Final = frozenset({b"hdrl", b"movi"})


class Chunk(NamedTuple):
    """A chunk: `kind` is that of its list, if it is one. Its content begins at `body` and ends before `end`."""

    kind: bytes
    at: int
    body: int
    end: int
    is_list: bool


@dataclass(slots=True)
class Found:
    kinds: set[bytes] = field(default_factory=set)
    masks: list[Mask] = field(default_factory=list)
    width: int = 0
    height: int = 0
    parts: int = 0


def measure_avi(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the RIFF chunks of an AVI fill the file."""
    found = Found()
    for riff in _chunks(file, found, 0, size):
        if riff.kind not in (b"AVI ", b"AVIX"):
            raise trailing()
        for chunk in _chunks(file, found, riff.body, riff.end):
            _take(file, found, chunk)
    if missing := NEEDED - found.kinds:
        raise Broken("truncated", f"The AVI has no list {min(missing).decode()}.")
    return Measured("avi", found.width, found.height, tuple(found.masks))


def _chunks(file: BinaryIO, found: Found, at: int, end: int) -> Iterator[Chunk]:
    """The chunks between two offsets, which they must fill; each is padded to an even length."""
    while at < end:
        check_parts(found.parts)
        found.parts += 1
        file.seek(at)
        kind, length = struct.unpack("<4sI", take(file, 8))
        if at + 8 + length > end:
            raise truncated()
        is_list = kind in (b"RIFF", b"LIST")
        yield Chunk(take(file, 4) if is_list else kind, at, at + 12 if is_list else at + 8, at + 8 + length, is_list)
        at += 8 + length + length % 2


def _take(file: BinaryIO, found: Found, chunk: Chunk) -> None:
    found.kinds.add(chunk.kind)
    if chunk.kind in (TEXT_LISTS if chunk.is_list else TEXT_CHUNKS):
        found.masks += [Mask(chunk.at, 4, b"JUNK"), Mask(chunk.at + 8, chunk.end - chunk.at - 8)]
    elif chunk.is_list and chunk.kind in LISTS:
        for inner in _chunks(file, found, chunk.body, chunk.end):
            _take(file, found, inner)
    elif chunk.kind == b"avih" and chunk.end - chunk.body >= 40:
        file.seek(chunk.body + 32)
        found.width, found.height = struct.unpack("<2I", take(file, 8))
