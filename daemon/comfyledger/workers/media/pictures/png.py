"""PNG: read chunk by chunk, and its pixels proved by inflating them as a stream. No whole picture is ever in memory.

A picture of 16,384 by 16,384 pixels is 0.8 MB as a file and a gigabyte in memory; here it passes through a buffer. The
pixels must be exactly as long as IHDR implies, for every colour type, bit depth and pass of an interlaced picture, and
each row must begin with a filter that exists. The rules are those of PNG, third edition, which includes APNG.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import (
    PIECE_BYTES,
    Broken,
    check_end,
    check_parts,
    check_pixels,
    nowhere,
    take,
)
from comfyledger.workers.media.inflating import ERRORS, Inflating, crc32, inflating
from comfyledger.workers.media.pictures.orientation import XMP_BYTES_MAX, kept_exif, kept_xmp

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
INFLATED_BYTES: Final = 1_048_576
"""The part of the pixels that is in memory at once."""
KEPT: Final = frozenset(b"tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT".split())
"""Chunks that change how a picture is shown. An unknown chunk may hold the whole graph."""
ANIMATION: Final = frozenset(b"acTL fcTL fdAT".split())
CRITICAL: Final = frozenset(b"IHDR PLTE IDAT IEND".split())
SAMPLES: Final = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
"""Samples of a pixel and the depths that they may have, by colour type."""
PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: first column, first row, and the steps from one to the next."""
XMP_KEYWORD: Final = b"XML:com.adobe.xmp"
FILTERS: Final = bytes(range(5))
SIDE_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Header:
    """What IHDR says, in pixels and in bits of one pixel."""

    width: int
    height: int
    colour: int
    bits: int
    interlaced: bool

    def passes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Rows, and bytes of each with its filter, as they follow each other."""
        sizes = [(height, width)]
        if self.interlaced:
            sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for x, y, dx, dy in PASSES]
        return [(rows, 1 + (columns * self.bits + 7) // 8) for rows, columns in sizes if rows > 0 and columns > 0]

    def inflated_bytes(self) -> int:
        """What the pixels take once they are inflated."""
        return sum(rows * row for rows, row in self.passes(self.width, self.height))


def header_of(body: bytes) -> Header:
    """Read the 13 bytes of IHDR. Raises Broken."""
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    samples, depths = SAMPLES.get(colour, (0, ()))
    if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX) or depth not in depths:
        raise Broken("structure", "The PNG's IHDR has impossible values.")
    if compression or filtering or interlace > 1:
        raise Broken("structure", "The PNG's IHDR names a method that does not exist.")
    return Header(width, height, colour, samples * depth, bool(interlace))


class Pixels:
    """The compressed pixels of one picture, proved as they come."""

    def __init__(self, header: Header, width: int, height: int) -> None:
        self._passes = header.passes(width, height)
        self._stream: Inflating | None = None
        self._left = 0
        """Bytes that the current pass still needs."""
        self._row = 1
        self._filter_in = 0
        """Bytes until the next filter."""

    def take(self, piece: bytes) -> None:
        """`piece`: at least one byte. Raises Broken."""
        stream = self._stream = self._stream or inflating(piece[0])
        if stream.eof:
            raise Broken("structure", "The PNG has extra bytes after its pixels.")
        self._inflated(stream, piece)
        if stream.unused_data:
            raise Broken("structure", "The PNG has extra bytes after its pixels.")

    def _inflated(self, stream: Inflating, piece: bytes) -> None:
        try:
            while out := stream.decompress(piece, INFLATED_BYTES):
                self._check(out)
                piece = stream.unconsumed_tail
        except ERRORS as error:
            raise Broken("undecodable", f"The PNG's pixels cannot be inflated: {error}") from error

    def _check(self, out: bytes) -> None:
        at = 0
        while at < len(out):
            if not self._left:
                self._next_pass()
            count = min(len(out) - at, self._left)
            if out[at + self._filter_in : at + count : self._row].translate(None, FILTERS):
                raise Broken("undecodable", "A row of the PNG has a filter that does not exist.")
            self._filter_in = (self._filter_in - count) % self._row
            self._left -= count
            at += count

    def _next_pass(self) -> None:
        if not self._passes:
            raise Broken("undecodable", "The PNG has more pixels than its header says.")
        rows, self._row = self._passes.pop(0)
        self._left, self._filter_in = rows * self._row, 0

    def end(self) -> None:
        """Nothing may be missing, the checksum of the stream included. Raises Broken."""
        if self._left or self._passes or self._stream is None or not self._stream.eof:
            raise Broken("undecodable", "The PNG has fewer pixels than its header says.")


@dataclass(slots=True)
class Walk:
    """One PNG on its way from `source` to `sink`."""

    source: BinaryIO
    sink: BinaryIO
    strip: bool
    pixels_max: int
    header: Header = field(init=False)
    pixels: Pixels = field(init=False)
    seen: set[bytes] = field(default_factory=set)
    last: bytes = b""
    count: int = 0
    """Pixels of all frames."""
    frames: int | None = None
    """Of an animation, those that are still to come."""
    sequence: int = 0

    def all(self) -> None:
        """Copy every chunk. Raises Broken."""
        self.sink.write(take(self.source, len(SIGNATURE)))
        parts = 0
        while self.last != b"IEND":
            check_parts(parts := parts + 1)
            head = take(self.source, 8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            self._check_order(kind, length)
            self._one(head, kind, length)
            self.seen.add(kind)
            self.last = kind
        if b"IDAT" not in self.seen:
            raise Broken("structure", "The PNG has no picture in it (no IDAT chunk).")
        self.pixels.end()
        if self.frames:
            raise Broken("structure", "The PNG does not have the number of frames in its header.")
        check_end(self.source)

    def _check_order(self, kind: bytes, length: int) -> None:
        if (not self.last) != (kind == b"IHDR") or (kind == b"IHDR" and length != 13):
            raise Broken("structure", "The PNG's first chunk, and only its first, must be IHDR.")
        if not kind.isalpha() or length > SIDE_MAX or (kind == b"IEND" and length):
            raise Broken("structure", "The PNG has an invalid chunk.")
        if not kind[0] & 0x20 and kind not in CRITICAL:
            raise Broken("structure", f"The PNG needs its chunk {kind.decode()}, which no standard defines.")
        if kind == b"IDAT" and self.last != b"IDAT":
            self._check_picture()
        if kind == b"PLTE" and (
            self.seen & {b"PLTE", b"IDAT"} or self.header.colour in {0, 4} or length % 3 or not 0 < length <= 768
        ):
            raise Broken("structure", "The PNG's palette is in the wrong place, or is invalid.")

    def _check_picture(self) -> None:
        if b"IDAT" in self.seen:
            raise Broken("structure", "The PNG's IDAT chunks do not follow each other.")
        if self.header.colour == 3 and b"PLTE" not in self.seen:
            raise Broken("structure", "The PNG has no palette before its picture.")

    def _one(self, head: bytes, kind: bytes, length: int) -> None:
        match kind:
            case b"IHDR":
                self._copy(head, length, self._take_header, kept=True)
            case b"IDAT":
                self._copy(head, length, self.pixels.take, kept=True)
            case b"acTL" | b"fcTL" | b"fdAT":
                self._animation(head, kind, length)
            case b"eXIf" | b"iTXt" if self.strip:
                self._oriented(head, kind, length)
            case _:
                self._copy(head, length, nowhere, kept=not self.strip or kind in KEPT | CRITICAL)

    def _take_header(self, body: bytes) -> None:
        self.header = header_of(body)
        self._add_pixels(self.header.width, self.header.height)

    def _add_pixels(self, width: int, height: int) -> None:
        self.count += width * height
        check_pixels(self.count, self.pixels_max)
        self.pixels = Pixels(self.header, width, height)

    def _oriented(self, head: bytes, kind: bytes, length: int) -> None:
        """Replace metadata by a chunk with the orientation alone, if there is one."""
        start = self.source.tell()
        self._copy(head, length, nowhere, kept=False)
        after = self.source.tell()
        if kind == b"eXIf":
            body = kept_exif(self.source, start, length) if kind not in self.seen else b""
        else:
            self.source.seek(start)
            body = _kept_text(self.source.read(min(length, XMP_BYTES_MAX)))
        self.source.seek(after)
        if body:
            self.sink.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body)))

    # ---- animation

    def _animation(self, head: bytes, kind: bytes, length: int) -> None:
        """Without an acTL before the picture there is no animation, and no reader shows its chunks."""
        if kind == b"acTL" and not self.seen & {b"acTL", b"IDAT"}:
            _check_length(kind, length, 8)
            self._copy(head, length, self._take_acTL, kept=True)
        elif self.frames is None or kind == b"acTL":
            self._copy(head, length, nowhere, kept=not self.strip)
        elif kind == b"fcTL":
            _check_length(kind, length, 26)
            self._copy(head, length, self._take_fcTL, kept=True)
        else:
            self._fdAT(head, length)

    def _take_acTL(self, body: bytes) -> None:
        self.frames = int.from_bytes(body[:4], "big")
        if not self.frames:
            raise Broken("structure", "The PNG is an animation without frames.")

    def _take_fcTL(self, body: bytes) -> None:
        sequence, width, height, x, y = struct.unpack(">IIIII", body[:20])
        self._next(sequence)
        if not (0 < width <= self.header.width - x and 0 < height <= self.header.height - y):
            raise Broken("structure", "A frame of the PNG extends beyond its picture.")
        self.frames = (self.frames or 0) - 1
        if b"IDAT" in self.seen:
            self.pixels.end()
            self._add_pixels(width, height)
        elif (width, height) != (self.header.width, self.header.height) or b"fcTL" in self.seen:
            raise Broken("structure", "The first frame of the PNG is not its picture.")

    def _fdAT(self, head: bytes, length: int) -> None:
        """The pixels of a frame behind the number of the chunk."""
        if b"fcTL" not in self.seen or b"IDAT" not in self.seen or length < 4:
            raise Broken("structure", "The PNG has pixels of a frame in the wrong place.")
        number = take(self.source, 4)
        self._next(int.from_bytes(number, "big"))
        self._copy(head, length - 4, self.pixels.take, kept=True, first=number)

    def _next(self, sequence: int) -> None:
        if sequence != self.sequence or self.frames is None:
            raise Broken("structure", "The frames of the PNG do not follow each other.")
        self.sequence += 1

    # ---- one chunk

    def _copy(
        self, head: bytes, length: int, look: Callable[[bytes], object], *, kept: bool, first: bytes = b""
    ) -> None:
        """`first`: what of the body was read already; `look` does not get it."""
        write = self.sink.write if kept else nowhere
        crc = crc32(head[4:] + first)
        write(head + first)
        while length:
            piece = take(self.source, min(length, PIECE_BYTES))
            crc = crc32(piece, crc)
            look(piece)
            write(piece)
            length -= len(piece)
        stated = take(self.source, 4)
        if int.from_bytes(stated, "big") != crc:
            raise Broken("checksum", f"The checksum of the PNG's {head[4:].decode()} chunk is wrong.")
        write(stated)


def _kept_text(body: bytes) -> bytes:
    """The orientation of an international text that is a packet of XMP, uncompressed."""
    if not body.startswith(XMP_KEYWORD + b"\0"):
        return b""
    rest = body[len(XMP_KEYWORD) + 1 :]
    packet = rest[2:].split(b"\0", 2)[-1]
    if rest.startswith(b"\1"):
        try:
            packet = zlib.decompressobj().decompress(packet, XMP_BYTES_MAX)
        except zlib.error:
            return b""
    kept = kept_xmp(packet)
    return XMP_KEYWORD + bytes(5) + kept if kept else b""


def _check_length(kind: bytes, length: int, right: int) -> None:
    if length != right:
        raise Broken("structure", f"The PNG's {kind.decode()} chunk has {length} bytes, not {right}.")
