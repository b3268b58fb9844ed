"""Files that are copied as they are, except for masked parts: nothing is encoded again and no offset moves."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from comfyledger.workers.media.broken_file import PIECE_BYTES, Walked


@dataclass(frozen=True, slots=True)
class Mask:
    """`length` bytes at an offset become `head`, and `fill` up to the end."""

    at: int
    length: int
    head: bytes = b""
    fill: bytes = b"\0"

    def write(self, sink: BinaryIO) -> None:
        sink.seek(self.at)
        sink.write(self.head)
        left = self.length - len(self.head)
        while left > 0:
            left -= sink.write(self.fill * min(left, PIECE_BYTES))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a whole file is: its extension, its size in pixels (0 where it has none), and where its metadata lies."""

    extension: str
    width: int = 0
    height: int = 0
    masks: tuple[Mask, ...] = ()


Measure = Callable[[BinaryIO, int], Measured]
"""Proves that a file of so many bytes is whole, and measures it. Raises Broken."""


def walk_masked(measure: Measure, source: BinaryIO, sink: BinaryIO, strip: bool) -> Walked:
    """Copy a file that `measure` finds whole, with its metadata masked if `strip` is set. Raises Broken."""
    measured = measure(source, source.seek(0, os.SEEK_END))
    copy_masked(source, sink, measured if strip else replace(measured, masks=()))
    return Walked(measured.extension, measured.width, measured.height, checked="structure")


def copy_masked(source: BinaryIO, sink: BinaryIO, measured: Measured) -> None:
    """Copy a whole file and write the masks over it."""
    copy_all(source, sink)
    for mask in measured.masks:
        mask.write(sink)
    sink.seek(0, os.SEEK_END)


def copy_all(source: BinaryIO, sink: BinaryIO) -> None:
    """Copy a file as it is."""
    source.seek(0)
    while piece := source.read(PIECE_BYTES):
        sink.write(piece)
