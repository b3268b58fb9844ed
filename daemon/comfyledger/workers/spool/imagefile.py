"""Image files as ComfyUI leaves them: proved whole, stripped of metadata, and measured.

Nothing here knows of batches, spools or stores: one file goes in, another and its `Pinned` come out. PNG, JPEG and
WebP are told apart by their first bytes, never by a name. A walk of ours reads every chunk while it
copies, since Pillow loads a PNG that lacks its last 20 bytes without complaint (ComfyUI 0.33.0 writes files
in place, so one that was written during a crash may be cut). Stripping keeps what is known to change how the picture
is shown, its orientation and its colour profile included, and drops the rest: an unknown chunk may hold the whole
graph, as the `comf` chunk of ComfyUI's SaveAnimatedPNG does. No pixel is ever encoded anew.

The pixels of a PNG are proved on the way (`png.py`). Pillow decodes JPEG and WebP, every frame of them, as far as that
takes a bounded memory; beyond it their structure alone is checked, and `Pinned.checked` says so.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from comfyledger.core.values import Checked
from comfyledger.workers.spool import png
from comfyledger.workers.spool.broken_file import (
    Broken,
    check_end,
    check_parts,
    check_pixels,
    take,
    trailing,
    truncated,
)
from comfyledger.workers.spool.orientation import PREFIX, XMP_BYTES_MAX, kept_exif, kept_xmp

EXTENSIONS: Final = ("png", "jpg", "webp")
PIECE_BYTES: Final = 65_536
DECODE_BYTES_MAX: Final = 128 * 1_048_576
"""Memory of a decode beyond which only the structure is checked; all decodes under way share as much."""
HEAVY_BYTES: Final = 64 * 1_048_576
"""Inflated pixels of a PNG from which its check takes long enough that others must not be crowded out."""

JPEG_SOI, JPEG_EOI, JPEG_SOS, JPEG_COM = 0xD8, 0xD9, 0xDA, 0xFE
JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_ONE_SCAN: Final = frozenset({0xC0, 0xC1, 0xC9})
"""Frames that may come in a single scan, and are then decoded row by row."""
JPEG_JFIF, JPEG_EXIF, JPEG_PROFILE, JPEG_ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
JFIF_BYTES: Final = 16
"""Length and body without a thumbnail: what says the density, and how."""
ADOBE_BYTES: Final = 14
"""Without Adobe's segment, which says the colour transform, the same bytes look different."""
JPEG_ICC: Final = b"ICC_PROFILE\0"
JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_SCAN_END: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

JPEG_SCANS_MAX: Final = 500
"""Of a progressive picture: each costs a walk over all of its coefficients (CVE-2018-11813 and its kin)."""
JPEG_HEAD_BYTES_MAX: Final = 16 * 1_048_576
"""Segments that Pillow holds in memory."""
# Measured with Pillow 13: what a decode takes for each pixel, with room to spare. A JPEG is decoded at an eighth of its
# size, which reads all that is encoded; one that comes in several scans is held as coefficients.
JPEG_PIXEL_BYTES, JPEG_SCANS_PIXEL_BYTES, WEBP_PIXEL_BYTES = 0.5, 9.0, 20.0

WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
WEBP_FRAME_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
WEBP_FRAME_BYTES: Final = 16
WEBP_FLAGS: Final = {b"EXIF": 0x08, b"XMP ": 0x04}
"""In the first byte of VP8X."""
WEBP_FIRST: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X"})


@dataclass(frozen=True, slots=True)
class Pinned:
    """A whole image: hexadecimal digests and size of its bytes, its measures in pixels as they are encoded, its
    extension, and whether all of its pixels were proved or only what holds them."""

    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int
    extension: str
    checked: Checked = "whole"


@dataclass(frozen=True, slots=True)
class Walked:
    """A copy that is whole as far as its structure says. `frames` have `pixels` together.

    `decode_bytes`: what decoding it takes in memory; 0 where nothing is left to be proved.
    """

    extension: str
    width: int
    height: int
    frames: int = 1
    decode_bytes: int = 0

    @property
    def is_decodable(self) -> bool:
        """Whether its pixels can be proved in the memory that there is for it."""
        return self.decode_bytes <= DECODE_BYTES_MAX


def pin(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int) -> Pinned:
    """Prove that a file is a whole image and copy it, without its metadata if `strip` is set.

    `source` is at its start, `sink` empty and open for reading as well: what is measured and decoded is what it holds.
    Reads and writes in pieces; memory is bounded by DECODE_BYTES_MAX. `pixels_max` counts all frames together.
    Without `strip` the copy is equal byte for byte. Raises Broken, or OSError of the disk; then `sink` holds a part.
    """
    return proved(sink, walk(source, sink, strip=strip, pixels_max=pixels_max))


def walk(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int) -> Walked:
    """The first half of `pin`: all but decoding and measuring. Raises as it does."""
    walked = WALKS[kind_of(source)](source, sink, strip, pixels_max)
    check_pixels(walked.width * walked.height * walked.frames, pixels_max)
    return walked


def proved(sink: BinaryIO, walked: Walked) -> Pinned:
    """The second half of `pin`, on what was copied. Raises as it does."""
    if walked.decode_bytes and walked.is_decodable:
        _decode(sink, walked)
    sha256, md5, size_bytes = _digests(sink)
    checked: Checked = "whole" if walked.is_decodable else "structure"
    return Pinned(sha256, md5, size_bytes, walked.width, walked.height, walked.extension, checked)


def is_heavy(head: bytes) -> bool:
    """Whether walking a file that begins so takes long, because much is inflated. Raises Broken.

    `head`: its first 33 bytes, or all if it has fewer.
    """
    at = len(png.SIGNATURE) + 8
    if not head.startswith(png.SIGNATURE) or len(head) < at + 13 or head[at - 4 : at] != b"IHDR":
        return False
    return png.header_of(head[at : at + 13]).inflated_bytes() > HEAVY_BYTES


def kind_of(source: BinaryIO) -> str:
    """The extension that the first bytes deserve: png, jpg or webp. Leaves the stream at its start."""
    head = source.read(12)
    source.seek(0)
    if not head:
        raise Broken("empty", "The file is empty.")
    if head.startswith(png.SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    raise Broken("unknown_kind", "The file is not a PNG, JPEG or WebP image.")


def walk_png(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a PNG and prove its pixels on the way: nothing is left to be decoded."""
    walking = png.Walk(source, sink, strip, pixels_max)
    walking.all()
    return Walked("png", walking.header.width, walking.header.height)


# ---- JPEG


@dataclass(slots=True)
class JpegFacts:
    """What the segments of a JPEG say. `scanned`: components of its first scan."""

    width: int = 0
    height: int = 0
    components: int = 0
    scanned: int = 0
    scans: int = 0
    frame: int = 0
    segments: int = 0
    head_bytes: int = 0

    def segment(self, marker: int, body: bytes) -> None:
        """`body` begins with its length. Raises Broken."""
        self.segments += 1
        check_parts(self.segments)
        if marker in JPEG_FRAMES:
            self._frame(marker, body)
        elif marker == JPEG_SOS:
            if not self.frame or len(body) < 3:
                raise Broken("structure", "The JPEG has a scan that belongs to no frame.")
            self.scanned = self.scanned or body[2]
            self.scans += 1
        else:
            self.head_bytes += len(body)

    def _frame(self, marker: int, body: bytes) -> None:
        if self.frame or len(body) < 8:
            raise Broken("structure", "The JPEG has a second frame, or one that cannot be.")
        self.height, self.width = int.from_bytes(body[3:5], "big"), int.from_bytes(body[5:7], "big")
        self.frame, self.components = marker, body[7]
        if not (self.width and self.height and self.components):
            raise Broken("structure", "The JPEG's frame says what no picture can be.")

    @property
    def walked(self) -> Walked:
        several = self.frame not in JPEG_ONE_SCAN or self.scanned < self.components
        decode_bytes = 1 + self.head_bytes + self.pixels * (JPEG_SCANS_PIXEL_BYTES if several else JPEG_PIXEL_BYTES)
        if self.scans > JPEG_SCANS_MAX or self.head_bytes > JPEG_HEAD_BYTES_MAX:
            decode_bytes = DECODE_BYTES_MAX + 1
        return Walked("jpg", self.width, self.height, decode_bytes=int(decode_bytes))

    @property
    def pixels(self) -> int:
        return self.width * self.height


def walk_jpeg(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a JPEG segment by segment, from SOI to an EOI that is the end of the file."""
    sink.write(take(source, 2))
    facts, exif_seen = JpegFacts(), False
    while (marker := _jpeg_marker(source, sink)) != JPEG_EOI:
        body = b"" if marker in JPEG_BARE else _jpeg_segment(source)
        kept = _kept_in_jpeg(marker, body, first_exif=not exif_seen) if strip else body
        exif_seen = exif_seen or _is_exif(marker, body)
        if kept or marker in JPEG_BARE:
            facts.segment(marker, kept)
            sink.write(bytes((0xFF, marker)) + kept)
        if marker == JPEG_SOS:
            _copy_scan(source, sink)
    if not facts.scans:
        raise Broken("structure", "The JPEG has no picture in it (no frame, or no scan).")
    sink.write(bytes((0xFF, JPEG_EOI)))
    check_end(source)
    return facts.walked


def _jpeg_marker(source: BinaryIO, sink: BinaryIO) -> int:
    """The next marker. Any number of 0xFF may stand before one (ITU T.81, B.1.1.2); they are copied."""
    mark, marker = take(source, 2)
    fill = 0
    while mark == marker == 0xFF:
        check_parts(fill := fill + 1)
        sink.write(b"\xff")
        marker = take(source, 1)[0]
    if mark != 0xFF or marker in (0x00, JPEG_SOI):
        raise Broken("structure", "The JPEG has something else where a segment must begin.")
    return marker


def _jpeg_segment(source: BinaryIO) -> bytes:
    """Length and body of a segment: 64 KiB at most."""
    length = take(source, 2)
    if int.from_bytes(length, "big") < 2:
        raise Broken("structure", "The JPEG has a segment that cannot be.")
    return length + take(source, int.from_bytes(length, "big") - 2)


def _is_exif(marker: int, body: bytes) -> bool:
    return marker == JPEG_EXIF and body.startswith(PREFIX, 2)


def _kept_in_jpeg(marker: int, body: bytes, *, first_exif: bool) -> bytes:
    """What of a segment stays, with its length: all, nothing, or what changes how the picture is shown."""
    if marker == JPEG_JFIF:
        return _jfif(body)
    if marker == JPEG_EXIF:
        return _oriented(body, first_exif=first_exif)
    if marker == JPEG_PROFILE:
        return body if body.startswith(JPEG_ICC, 2) else b""
    if marker == JPEG_ADOBE:
        return _adobe(body)
    return b"" if marker == JPEG_COM or 0xE0 <= marker <= 0xEF else body


def _jfif(body: bytes) -> bytes:
    """Without the thumbnail, which shows another picture or hides a text."""
    is_whole = len(body) >= JFIF_BYTES and body.startswith(b"JFIF\0", 2)
    return JFIF_BYTES.to_bytes(2, "big") + body[2 : JFIF_BYTES - 2] + bytes(2) if is_whole else b""


def _adobe(body: bytes) -> bytes:
    is_whole = len(body) >= ADOBE_BYTES and body.startswith(b"Adobe", 2)
    return ADOBE_BYTES.to_bytes(2, "big") + body[2:ADOBE_BYTES] if is_whole else b""


def _oriented(body: bytes, *, first_exif: bool) -> bytes:
    prefix, kept = b"", b""
    if body.startswith(PREFIX, 2) and first_exif:
        prefix, kept = PREFIX, kept_exif(BytesIO(body), 2, len(body) - 2)
    elif body.startswith(JPEG_XMP, 2):
        prefix, kept = JPEG_XMP, kept_xmp(body)
    return (2 + len(prefix) + len(kept)).to_bytes(2, "big") + prefix + kept if kept else b""


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
    raise truncated()


# ---- WebP


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
        if self.parts == 1 and kind not in WEBP_FIRST:
            raise Broken("structure", "The WebP does not begin with a picture.")
        match kind:
            case b"VP8X" if self.parts == 1:
                self.canvas = tuple(1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))  # type: ignore[assignment]
                self.flags = body[0] if body else 0
            case b"VP8 " | b"VP8L":
                self.picture = _webp_size(kind, body)
            case b"ANMF":
                self.frames += 1

    def walked(self, size_bytes: int) -> Walked:
        """Raises Broken."""
        if not self.frames and not self.picture[0]:
            raise Broken("structure", "The WebP has no picture in it.")
        width, height = self.canvas if self.flags_at or self.frames else self.picture
        if not self.frames and (width, height) != self.picture:
            raise Broken("structure", "The WebP's picture has another size than it says.")
        decode_bytes = 1 + 2 * size_bytes + width * height * WEBP_PIXEL_BYTES
        return Walked("webp", width, height, max(1, self.frames), int(decode_bytes))


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height as the pixels say them (RFC 6386, 9.1; RFC 9649, 3.4). Raises Broken."""
    if kind == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise Broken("structure", "The WebP's picture does not begin as one.")


def walk_webp(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a WebP chunk by chunk: the size in its header is the file's and its chunks fill it."""
    head = take(source, 12)
    end = int.from_bytes(head[4:8], "little") + 8
    _check_riff_size(end, source.seek(0, os.SEEK_END))
    source.seek(len(head))
    sink.write(head)
    facts = WebpFacts()
    while source.tell() < end:
        _one_webp_chunk(source, sink, facts, strip)
        check_pixels(facts.canvas[0] * facts.canvas[1] * facts.frames, pixels_max)
    walked = facts.walked(sink.tell())
    if strip and facts.flags_at:
        sink.seek(facts.flags_at)
        sink.write(bytes((facts.flags & ~sum(WEBP_FLAGS.values()) & 0xFF | facts.kept_flags,)))
    _write_riff_size(sink)
    return walked


def _check_riff_size(stated: int, size: int) -> None:
    if size < stated:
        raise truncated()
    if size > stated:
        raise trailing()


def _one_webp_chunk(source: BinaryIO, sink: BinaryIO, facts: WebpFacts, strip: bool) -> None:
    """VP8X no longer announces what was dropped."""
    head = take(source, 8)
    kind, length, at = head[:4], int.from_bytes(head[4:], "little"), source.tell()
    facts.chunk(kind, source.read(min(length, 10)))
    if kind == b"VP8X" and facts.parts == 1:
        facts.flags_at = sink.tell() + len(head)
    if strip and kind == b"ANMF":
        source.seek(at)
        _copy_frame(source, sink, length, facts)
    elif strip and kind in WEBP_FLAGS:
        kept = _kept_in_webp(source, facts, kind, at, length)
        sink.write(kind + len(kept).to_bytes(4, "little") + kept + bytes(len(kept) % 2) if kept else b"")
        source.seek(at)
        _copy_padded(source, _nowhere, length)
    else:
        source.seek(at)
        write = sink.write if not strip or kind in WEBP_KEPT else _nowhere
        write(head)
        _copy_padded(source, write, length)


def _kept_in_webp(source: BinaryIO, facts: WebpFacts, kind: bytes, at: int, length: int) -> bytes:
    """The orientation alone, of metadata that VP8X announces."""
    flag = WEBP_FLAGS[kind]
    if not facts.flags & flag or facts.kept_flags & flag:
        return b""
    source.seek(at)
    kept = kept_exif(source, at, length) if kind == b"EXIF" else kept_xmp(source.read(min(length, XMP_BYTES_MAX)))
    facts.kept_flags |= flag if kept else 0
    return kept


def _copy_frame(source: BinaryIO, sink: BinaryIO, length: int, facts: WebpFacts) -> None:
    """A frame of an animation is a file of chunks in itself."""
    end, start = source.tell() + length, sink.tell()
    sink.write(b"ANMF" + bytes(4) + take(source, WEBP_FRAME_BYTES))
    while source.tell() < end:
        facts.parts += 1
        check_parts(facts.parts)
        head = take(source, 8)
        write = sink.write if head[:4] in WEBP_FRAME_KEPT else _nowhere
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


WALKS: Final[dict[str, Callable[[BinaryIO, BinaryIO, bool, int], Walked]]] = {
    "png": walk_png,
    "jpg": walk_jpeg,
    "webp": walk_webp,
}


# ---- the pixels of what Pillow decodes


def _decode(file: BinaryIO, walked: Walked) -> None:
    """Decode every frame. Pillow's own classes, not Image.open: its limit on pixels is one for the whole process.

    An OSError with a number is the disk's and passes; Pillow's own have none, and mean the picture.
    """
    try:
        file.seek(0)
        if walked.extension == "jpg":
            _decode_jpeg(file, walked)
        else:
            _decode_webp(file, walked)
    except (Broken, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Broken("undecodable", f"The picture cannot be decoded: {str(error)[:200]}") from error


def _decode_jpeg(file: BinaryIO, walked: Walked) -> None:
    """At an eighth of its size: all that is encoded is read, and nearly no picture is held."""
    with JpegImageFile(file) as image:
        _check_size(image, walked)
        image.draft(None, (1, 1))
        image.load()


def _decode_webp(file: BinaryIO, walked: Walked) -> None:
    with WebPImageFile(file) as image:
        _check_size(image, walked)
        if image.n_frames != walked.frames:
            raise Broken("structure", "The WebP has another number of frames than it says.")
        for frame in range(walked.frames):
            image.seek(frame)
            image.load()


def _check_size(image: ImageFile.ImageFile, walked: Walked) -> None:
    if image.size != (walked.width, walked.height):
        raise Broken("structure", "The picture has another size than it says.")


def _digests(file: BinaryIO) -> tuple[str, str, int]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        sha256.update(piece)
        md5.update(piece)
        size += len(piece)
    return sha256.hexdigest(), md5.hexdigest(), size


def _nowhere(piece: bytes) -> None:
    """Takes the pieces of a chunk that is dropped."""
