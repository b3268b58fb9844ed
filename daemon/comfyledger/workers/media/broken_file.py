"""What all formats share: the error for a file that is no whole image, reading in pieces, and what a walk finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from comfyledger.core.values import Checked

PIECE_BYTES: Final = 65_536
PARTS_MAX: Final = 1_000_000
"""Limit of chunks or segments of one file. Each costs time; a file of empty ones would hold a thread for minutes."""
DECODE_BYTES_MAX: Final = 128 * 1_048_576
"""A decode that needs more memory is not run; only the structure is checked. All decodes that run share as much."""


class Broken(Exception):
    """A file that is no whole image of a kind that is taken.

    `reason`: empty, unknown_kind, truncated, trailing, checksum, structure, undecodable, too_many_pixels, too_large,
    poison, or unstrippable.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        self.sentence = sentence
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Walked:
    """A copy whose structure is whole.

    `decode_bytes`: the memory that decoding takes; 0 where nothing is left to be proved. `checked`: how far it is
    proved once that is done.
    """

    extension: str
    width: int
    height: int
    frames: int = 1
    decode_bytes: int = 0
    checked: Checked = "whole"

    @property
    def is_decodable(self) -> bool:
        """Whether its pixels can be proved in the memory that there is for it."""
        return self.decode_bytes <= DECODE_BYTES_MAX


def take(source: BinaryIO, count: int) -> bytes:
    """Exactly `count` bytes. Raises Broken."""
    piece = source.read(count)
    if len(piece) != count:
        raise truncated()
    return piece


def check_end(source: BinaryIO) -> None:
    """Raises Broken if anything follows."""
    if source.read(1):
        raise trailing()


def check_parts(count: int) -> None:
    """Raises Broken for more parts than any picture has."""
    if count > PARTS_MAX:
        raise Broken("structure", f"The file has more than {PARTS_MAX} parts.")


def check_pixels(pixels: int, pixels_max: int) -> None:
    """Raises Broken beyond the limit, which counts all frames together."""
    if pixels > pixels_max:
        raise Broken("too_many_pixels", f"The picture has {pixels} pixels; the limit is {pixels_max}.")


def truncated() -> Broken:
    return Broken("truncated", "The file ends before the image does.")


def trailing() -> Broken:
    return Broken("trailing", "The file has extra bytes after the image.")


def check_size(found: tuple[int, int], walked: Walked) -> None:
    """Raises Broken if a decoder finds another size than the walk."""
    if found != (walked.width, walked.height):
        raise Broken("structure", "The image does not have the size in its header.")


def nowhere(piece: bytes) -> None:
    """Takes the pieces of a part that is dropped."""
