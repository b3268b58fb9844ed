"""WebP: walked chunk by chunk, and decoded by Pillow, every frame. (RFC 9649)"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL.WebPImagePlugin import WebPImageFile

from comfyledger.workers.media.broken_file import (
    PIECE_BYTES,
    Broken,
    Walked,
    check_parts,
    check_pixels,
    check_size,
    nowhere,
    take,
    trailing,
    truncated,
)
from comfyledger.workers.media.pictures.orientation import XMP_BYTES_MAX, kept_exif, kept_xmp

KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
FRAME_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
FRAME_BYTES: Final = 16
FLAGS: Final = {b"EXIF": 0x08, b"XMP ": 0x04}
"""In the first byte of VP8X."""
FIRST: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X"})

# Measured with Pillow 13: what a decode takes for each pixel, with room to spare.
PIXEL_BYTES = 20.0


@dataclass(slots=True)
class WebpFacts:
    """What the chunks of a WebP say. `canvas` is that of VP8X, `picture` the size that the pixels themselves say."""

    canvas: tuple[int, int] = (0, 0)
    picture: tuple[int, int] = (0, 0)
    frames: int = 0
    parts: int = 0
    flags: int = 0
    flags_at: int = 0
    """Where in the copy the flags of VP8X stand; 0 without one."""
    kept_flags: int = 0

    def chunk(self, kind: bytes, body: bytes) -> None:
        """`body`: its first bytes. Raises Broken."""
        self.parts += 1
        check_parts(self.parts)
        if self.parts == 1 and kind not in FIRST:
            raise Broken("structure", "The WebP does not begin with a picture.")
        match kind:
            case b"VP8X" if self.parts == 1:
                self.canvas = tuple(1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))  # type: ignore[assignment]
                self.flags = body[0] if body else 0
            case b"VP8 " | b"VP8L":
                self.picture = _size(kind, body)
            case b"ANMF":
                self.frames += 1

    def walked(self, size_bytes: int) -> Walked:
        """Raises Broken."""
        if not self.frames and not self.picture[0]:
            raise Broken("structure", "The WebP has no picture in it.")
        width, height = self.canvas if self.flags_at or self.frames else self.picture
        if not self.frames and (width, height) != self.picture:
            raise Broken("structure", "The WebP's image does not have the size in its header.")
        decode_bytes = 1 + 2 * size_bytes + width * height * PIXEL_BYTES
        return Walked("webp", width, height, max(1, self.frames), int(decode_bytes))


def walk_webp(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a WebP chunk by chunk: the size in its header is the file's and its chunks fill it."""
    head = take(source, 12)
    end = int.from_bytes(head[4:8], "little") + 8
    _check_riff_size(end, source.seek(0, os.SEEK_END))
    source.seek(len(head))
    sink.write(head)
    facts = WebpFacts()
    while source.tell() < end:
        _one_chunk(source, sink, facts, strip)
        check_pixels(facts.canvas[0] * facts.canvas[1] * facts.frames, pixels_max)
    walked = facts.walked(sink.tell())
    if strip and facts.flags_at:
        sink.seek(facts.flags_at)
        sink.write(bytes((facts.flags & ~sum(FLAGS.values()) & 0xFF | facts.kept_flags,)))
    _write_riff_size(sink)
    return walked


def decode_webp(file: BinaryIO, walked: Walked) -> None:
    """Prove the pixels of every frame. Raises Broken, or whatever Pillow raises."""
    with WebPImageFile(file) as image:
        check_size(image.size, walked)
        if image.n_frames != walked.frames:
            raise Broken("structure", "The WebP does not have the number of frames in its header.")
        for frame in range(walked.frames):
            image.seek(frame)
            image.load()


def _size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height as the pixels say them (RFC 6386, 9.1; RFC 9649, 3.4). Raises Broken."""
    if kind == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise Broken("structure", "The WebP's picture has an invalid header.")


def _check_riff_size(stated: int, size: int) -> None:
    if size < stated:
        raise truncated()
    if size > stated:
        raise trailing()


def _one_chunk(source: BinaryIO, sink: BinaryIO, facts: WebpFacts, strip: bool) -> None:
    """VP8X no longer announces what was dropped."""
    head = take(source, 8)
    kind, length, at = head[:4], int.from_bytes(head[4:], "little"), source.tell()
    facts.chunk(kind, source.read(min(length, 10)))
    if kind == b"VP8X" and facts.parts == 1:
        facts.flags_at = sink.tell() + len(head)
    if strip and kind == b"ANMF":
        source.seek(at)
        _copy_frame(source, sink, length, facts)
    elif strip and kind in FLAGS:
        kept = _kept(source, facts, kind, at, length)
        sink.write(kind + len(kept).to_bytes(4, "little") + kept + bytes(len(kept) % 2) if kept else b"")
        source.seek(at)
        _copy_padded(source, nowhere, length)
    else:
        source.seek(at)
        write = sink.write if not strip or kind in KEPT else nowhere
        write(head)
        _copy_padded(source, write, length)


def _kept(source: BinaryIO, facts: WebpFacts, kind: bytes, at: int, length: int) -> bytes:
    """The orientation alone, of metadata that VP8X announces."""
    flag = FLAGS[kind]
    if not facts.flags & flag or facts.kept_flags & flag:
        return b""
    source.seek(at)
    kept = kept_exif(source, at, length) if kind == b"EXIF" else kept_xmp(source.read(min(length, XMP_BYTES_MAX)))
    facts.kept_flags |= flag if kept else 0
    return kept


def _copy_frame(source: BinaryIO, sink: BinaryIO, length: int, facts: WebpFacts) -> None:
    """A frame of an animation is a file of chunks in itself."""
    end, start = source.tell() + length, sink.tell()
    sink.write(b"ANMF" + bytes(4) + take(source, FRAME_BYTES))
    while source.tell() < end:
        facts.parts += 1
        check_parts(facts.parts)
        head = take(source, 8)
        write = sink.write if head[:4] in FRAME_KEPT else nowhere
        write(head)
        _copy_padded(source, write, int.from_bytes(head[4:], "little"))
    if source.tell() != end:
        raise Broken("structure", "A frame of the WebP ends in the middle of a chunk.")
    after = sink.tell()
    sink.seek(start + 4)
    sink.write((after - start - 8).to_bytes(4, "little"))
    sink.seek(after)


def _copy_padded(source: BinaryIO, write: Callable[[bytes], object], length: int) -> None:
    """Chunks are padded to an even length."""
    left = length + length % 2
    while left:
        piece = take(source, min(left, PIECE_BYTES))
        write(piece)
        left -= len(piece)


def _write_riff_size(sink: BinaryIO) -> None:
    size = sink.seek(0, os.SEEK_END) - 8
    sink.seek(4)
    sink.write(size.to_bytes(4, "little"))
