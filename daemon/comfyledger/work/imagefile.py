"""Image files as ComfyUI leaves them: proved whole, stripped of metadata, and measured.

Nothing here knows of batches, spools or stores: one file goes in, another and its `Pinned` come out. PNG, JPEG and
WebP are told apart by their first bytes, never by a name. A walk of ours reads every chunk while it
copies, since Pillow loads a PNG that lacks its last 20 bytes without complaint (ComfyUI 0.33.0 writes files
in place, so one that was written during a crash may be cut). Stripping keeps what is known to be needed to
show the picture and drops the rest: an unknown chunk may hold the whole graph, as the `comf` chunk of
ComfyUI's SaveAnimatedPNG does. No pixel is ever encoded anew. Pillow then decodes the result, every frame of
it.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

EXTENSIONS: Final = ("png", "jpg", "webp")
PIECE_BYTES: Final = 65_536

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# PNG, third edition, with APNG: every critical chunk (upper case first) is kept as well.
PNG_KEPT: Final = frozenset(b"tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split())

JPEG_SOI, JPEG_EOI, JPEG_SOS, JPEG_COM = 0xD8, 0xD9, 0xDA, 0xFE
JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# JFIF says the density, Adobe's segment the colour transform; without them the same bytes look different.
JPEG_APP_KEPT: Final = frozenset({0xE0, 0xEE})
JPEG_ICC: Final = b"ICC_PROFILE\0"
JPEG_SCAN_END: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
WEBP_PICTURE: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
WEBP_METADATA_FLAGS: Final = 0x08 | 0x04  # Exif and XMP, in the first byte of VP8X


class Broken(Exception):
    """A file that is no whole image of a kind that is taken.

    `reason`: empty, unknown_kind, truncated, trailing, checksum, structure, undecodable, too_many_pixels or
    too_large.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        self.sentence = sentence
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Pinned:
    """A whole image: hexadecimal digests and size of its bytes, its measures in pixels, its extension."""

    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int
    extension: str


def pin(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int) -> Pinned:
    """Prove that a file is a whole image and copy it, without its metadata if `strip` is set.

    `source` is at its start, `sink` empty and open for reading as well: what is measured and decoded is what it holds.
    Reads and writes in pieces; memory is bounded by the decoded picture. `pixels_max` counts all frames together.
    Without `strip` the copy is equal byte for byte. Raises Broken, or OSError of the disk; then `sink` holds a part.
    """
    extension = kind_of(source)
    WALKS[extension](source, sink, strip)
    sha256, md5, size_bytes = _digests(sink)
    width, height = _decoded(sink, extension, pixels_max)
    return Pinned(sha256, md5, size_bytes, width, height, extension)


def kind_of(source: BinaryIO) -> str:
    """The extension that the first bytes deserve: png, jpg or webp. Leaves the stream at its start."""
    head = source.read(12)
    source.seek(0)
    if not head:
        raise Broken("empty", "The file is empty.")
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    raise Broken("unknown_kind", "The file is not a PNG, JPEG or WebP image.")


def walk_png(source: BinaryIO, sink: BinaryIO, strip: bool) -> None:
    """Copy a PNG chunk by chunk: CRCs right, IHDR first, IDAT present, IEND last, nothing after it."""
    sink.write(_take(source, len(PNG_SIGNATURE)))
    last = b""
    seen_picture = False
    while last != b"IEND":
        head = _take(source, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        _check_png_chunk(kind, length, first=not last)
        kept = not strip or not kind[0] & 0x20 or kind in PNG_KEPT
        _copy_png_chunk(source, sink.write if kept else _nowhere, head, length)
        seen_picture = seen_picture or kind == b"IDAT"
        last = kind
    if not seen_picture:
        raise Broken("structure", "The PNG has no picture in it (no IDAT chunk).")
    _check_end(source)


def _check_png_chunk(kind: bytes, length: int, *, first: bool) -> None:
    if first != (kind == b"IHDR") or (first and length != 13):
        raise Broken("structure", "The PNG's first chunk, and only its first, must be IHDR.")
    if not kind.isalpha() or length >= 2**31 or (kind == b"IEND" and length):
        raise Broken("structure", "The PNG has a chunk that cannot be.")


def _copy_png_chunk(source: BinaryIO, write: Callable[[bytes], object], head: bytes, length: int) -> None:
    crc = zlib.crc32(head[4:])
    write(head)
    while length:
        piece = _take(source, min(length, PIECE_BYTES))
        crc = zlib.crc32(piece, crc)
        write(piece)
        length -= len(piece)
    stated = _take(source, 4)
    if int.from_bytes(stated, "big") != crc:
        raise Broken("checksum", f"The checksum of the PNG's {head[4:].decode()} chunk is wrong.")
    write(stated)


def walk_jpeg(source: BinaryIO, sink: BinaryIO, strip: bool) -> None:
    """Copy a JPEG segment by segment, from SOI to an EOI that is the end of the file."""
    sink.write(_take(source, 2))
    seen: set[int] = set()
    while (marker := _jpeg_marker(source, sink)) != JPEG_EOI:
        seen.add(marker)
        body = b"" if marker in JPEG_BARE else _jpeg_segment(source)
        if not strip or _is_kept_in_jpeg(marker, body):
            sink.write(bytes((0xFF, marker)) + body)
        if marker == JPEG_SOS:
            _copy_scan(source, sink)
    if JPEG_SOS not in seen or not seen & JPEG_FRAMES:
        raise Broken("structure", "The JPEG has no picture in it (no frame, or no scan).")
    sink.write(bytes((0xFF, JPEG_EOI)))
    _check_end(source)


def _jpeg_marker(source: BinaryIO, sink: BinaryIO) -> int:
    """The next marker. Any number of 0xFF may stand before one (ITU T.81, B.1.1.2); they are copied."""
    mark, marker = _take(source, 2)
    while mark == marker == 0xFF:
        sink.write(b"\xff")
        marker = _take(source, 1)[0]
    if mark != 0xFF or marker in (0x00, JPEG_SOI):
        raise Broken("structure", "The JPEG has something else where a segment must begin.")
    return marker


def _jpeg_segment(source: BinaryIO) -> bytes:
    """Length and body of a segment: 64 KiB at most."""
    length = _take(source, 2)
    if int.from_bytes(length, "big") < 2:
        raise Broken("structure", "The JPEG has a segment that cannot be.")
    return length + _take(source, int.from_bytes(length, "big") - 2)


def _is_kept_in_jpeg(marker: int, body: bytes) -> bool:
    if marker == 0xE2:
        return body.startswith(JPEG_ICC, 2)
    return marker in JPEG_APP_KEPT or not (marker == JPEG_COM or 0xE0 <= marker <= 0xEF)


def _copy_scan(source: BinaryIO, sink: BinaryIO) -> None:
    """Copy entropy-coded bytes up to the marker that ends them: stuffed zeros and restarts are inside."""
    held = b""
    while piece := source.read(PIECE_BYTES):
        held += piece
        found = JPEG_SCAN_END.search(held)
        if found:
            sink.write(held[: found.start()])
            source.seek(found.start() - len(held), os.SEEK_CUR)
            return
        cut = len(held) - held.endswith(b"\xff")
        sink.write(held[:cut])
        held = held[cut:]
    raise _truncated()


def walk_webp(source: BinaryIO, sink: BinaryIO, strip: bool) -> None:
    """Copy a WebP chunk by chunk: the size in its header is the file's and its chunks fill it."""
    head = _take(source, 12)
    end = int.from_bytes(head[4:8], "little") + 8
    _check_riff_size(end, source.seek(0, os.SEEK_END))
    source.seek(len(head))
    sink.write(head)
    seen_picture = False
    while source.tell() < end:
        head = _take(source, 8)
        seen_picture = seen_picture or head[:4] in WEBP_PICTURE
        kept = not strip or head[:4] in WEBP_KEPT
        _copy_webp_chunk(source, sink.write if kept else _nowhere, head, strip)
    if not seen_picture:
        raise Broken("structure", "The WebP has no picture in it.")
    _write_riff_size(sink)


def _check_riff_size(stated: int, size: int) -> None:
    if size < stated:
        raise _truncated()
    if size > stated:
        raise _trailing()


def _copy_webp_chunk(source: BinaryIO, write: Callable[[bytes], object], head: bytes, strip: bool) -> None:
    """Chunks are padded to an even length; VP8X no longer announces what was dropped."""
    write(head)
    length = int.from_bytes(head[4:], "little")
    left = length + length % 2
    if strip and length and head[:4] == b"VP8X":
        write(bytes((_take(source, 1)[0] & ~WEBP_METADATA_FLAGS & 0xFF,)))
        left -= 1
    while left:
        piece = _take(source, min(left, PIECE_BYTES))
        write(piece)
        left -= len(piece)


def _write_riff_size(sink: BinaryIO) -> None:
    size = sink.tell() - 8
    sink.seek(4)
    sink.write(size.to_bytes(4, "little"))


WALKS: Final[dict[str, Callable[[BinaryIO, BinaryIO, bool], None]]] = {
    "png": walk_png,
    "jpg": walk_jpeg,
    "webp": walk_webp,
}
# Pillow's own classes, not Image.open: its limit on pixels is one for the whole process, ours is an argument.
READERS: Final[dict[str, Callable[[BinaryIO], ImageFile.ImageFile]]] = {
    "png": PngImageFile,
    "jpg": JpegImageFile,
    "webp": WebPImageFile,
}


def _decoded(file: BinaryIO, extension: str, pixels_max: int) -> tuple[int, int]:
    """Width and height, after every frame was decoded.

    An OSError with a number is the disk's and passes; Pillow's own have none, and mean the picture.
    """
    try:
        file.seek(0)
        with READERS[extension](file) as image:
            size = image.size
            _decode_frames(image, pixels_max)
            return size
    except (Broken, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Broken("undecodable", f"The picture cannot be decoded: {str(error)[:200]}") from error


def _decode_frames(image: ImageFile.ImageFile, pixels_max: int) -> None:
    frames: int = getattr(image, "n_frames", 1)
    pixels = image.width * image.height * frames
    if pixels > pixels_max:
        raise Broken("too_many_pixels", f"The picture has {pixels} pixels; the limit is {pixels_max}.")
    for frame in range(frames):
        image.seek(frame)
        image.load()


def _digests(file: BinaryIO) -> tuple[str, str, int]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        sha256.update(piece)
        md5.update(piece)
        size += len(piece)
    return sha256.hexdigest(), md5.hexdigest(), size


def _take(source: BinaryIO, count: int) -> bytes:
    piece = source.read(count)
    if len(piece) != count:
        raise _truncated()
    return piece


def _check_end(source: BinaryIO) -> None:
    if source.read(1):
        raise _trailing()


def _truncated() -> Broken:
    return Broken("truncated", "The file ends before the image does.")


def _trailing() -> Broken:
    return Broken("trailing", "The file goes on after the image has ended.")


def _nowhere(piece: bytes) -> None:
    """Takes the pieces of a chunk that is dropped."""
