"""What a file that is no whole image is refused with, and how one is read piece by piece."""

from __future__ import annotations

from typing import BinaryIO, Final

PIECE_BYTES: Final = 65_536
PARTS_MAX: Final = 1_000_000
"""Chunks or segments of one file: each costs time, and a file of empty ones alone would hold a thread for minutes."""


class Broken(Exception):
    """A file that is no whole image of a kind that is taken.

    `reason`: empty, unknown_kind, truncated, trailing, checksum, structure, undecodable, too_many_pixels, too_large or
    poison.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        self.sentence = sentence
        super().__init__(sentence)


def take(source: BinaryIO, count: int) -> bytes:
    """Exactly so many bytes. Raises Broken."""
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
    return Broken("trailing", "The file goes on after the image has ended.")
