"""JPEG: walked segment by segment, and decoded by Pillow.

Decoding reads all that is encoded, at an eighth of the size, so that little of the picture is held. (ITU T.81)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from PIL.JpegImagePlugin import JpegImageFile

from comfyledger.workers.media.broken_file import (
    DECODE_BYTES_MAX,
    PIECE_BYTES,
    Broken,
    Walked,
    check_end,
    check_parts,
    check_size,
    take,
    truncated,
)
from comfyledger.workers.media.pictures.orientation import PREFIX, kept_exif, kept_xmp

SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ONE_SCAN: Final = frozenset({0xC0, 0xC1, 0xC9})
"""Frames that may come in a single scan, and are then decoded row by row."""
JFIF, EXIF, PROFILE, ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
JFIF_BYTES: Final = 16
"""Length and body without a thumbnail: what says the density, and how."""
ADOBE_BYTES: Final = 14
"""Without Adobe's segment, which says the colour transform, the same bytes look different."""
ICC: Final = b"ICC_PROFILE\0"
XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
SCAN_END: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

SCANS_MAX: Final = 500
"""Of a progressive picture: each costs a walk over all of its coefficients (CVE-2018-11813 and its kin)."""
HEAD_BYTES_MAX: Final = 16 * 1_048_576
"""Segments that Pillow holds in memory."""
# Measured with Pillow 13: what a decode takes for each pixel, with room to spare. A JPEG that comes in several scans is
# held as coefficients.
PIXEL_BYTES, SCANS_PIXEL_BYTES = 0.5, 9.0


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
        if marker in FRAMES:
            self._frame(marker, body)
        elif marker == SOS:
            if not self.frame or len(body) < 3:
                raise Broken("structure", "The JPEG has a scan that belongs to no frame.")
            self.scanned = self.scanned or body[2]
            self.scans += 1
        else:
            self.head_bytes += len(body)

    def _frame(self, marker: int, body: bytes) -> None:
        if self.frame or len(body) < 8:
            raise Broken("structure", "The JPEG has a second frame, or an invalid one.")
        self.height, self.width = int.from_bytes(body[3:5], "big"), int.from_bytes(body[5:7], "big")
        self.frame, self.components = marker, body[7]
        if not (self.width and self.height and self.components):
            raise Broken("structure", "The JPEG's frame has impossible values.")

    @property
    def walked(self) -> Walked:
        several = self.frame not in ONE_SCAN or self.scanned < self.components
        decode_bytes = 1 + self.head_bytes + self.pixels * (SCANS_PIXEL_BYTES if several else PIXEL_BYTES)
        if self.scans > SCANS_MAX or self.head_bytes > HEAD_BYTES_MAX:
            decode_bytes = DECODE_BYTES_MAX + 1
        return Walked("jpg", self.width, self.height, decode_bytes=int(decode_bytes))

    @property
    def pixels(self) -> int:
        return self.width * self.height


def walk_jpeg(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a JPEG segment by segment, from SOI to an EOI that is the end of the file."""
    sink.write(take(source, 2))
    facts, exif_seen = JpegFacts(), False
    while (marker := _marker(source, sink)) != EOI:
        body = b"" if marker in BARE else _segment(source)
        kept = _kept_in_jpeg(marker, body, first_exif=not exif_seen) if strip else body
        exif_seen = exif_seen or _is_exif(marker, body)
        if kept or marker in BARE:
            facts.segment(marker, kept)
            sink.write(bytes((0xFF, marker)) + kept)
        if marker == SOS:
            _copy_scan(source, sink)
    if not facts.scans:
        raise Broken("structure", "The JPEG has no picture in it (no frame, or no scan).")
    sink.write(bytes((0xFF, EOI)))
    check_end(source)
    return facts.walked


def decode_jpeg(file: BinaryIO, walked: Walked) -> None:
    """Prove the pixels. Raises Broken, or whatever Pillow raises."""
    with JpegImageFile(file) as image:
        check_size(image.size, walked)
        image.draft(None, (1, 1))
        image.load()


def _marker(source: BinaryIO, sink: BinaryIO) -> int:
    """The next marker. Any number of 0xFF may stand before one (ITU T.81, B.1.1.2); they are copied."""
    mark, marker = take(source, 2)
    fill = 0
    while mark == marker == 0xFF:
        check_parts(fill := fill + 1)
        sink.write(b"\xff")
        marker = take(source, 1)[0]
    if mark != 0xFF or marker in (0x00, SOI):
        raise Broken("structure", "The JPEG has other bytes where a segment must begin.")
    return marker


def _segment(source: BinaryIO) -> bytes:
    """Length and body of a segment: 64 KiB at most."""
    length = take(source, 2)
    if int.from_bytes(length, "big") < 2:
        raise Broken("structure", "The JPEG has an invalid segment.")
    return length + take(source, int.from_bytes(length, "big") - 2)


def _is_exif(marker: int, body: bytes) -> bool:
    return marker == EXIF and body.startswith(PREFIX, 2)


def _kept_in_jpeg(marker: int, body: bytes, *, first_exif: bool) -> bytes:
    """The part of a segment that is kept, with its length: what changes how the picture is shown."""
    if marker == JFIF:
        return _jfif(body)
    if marker == EXIF:
        return _oriented(body, first_exif=first_exif)
    if marker == PROFILE:
        return body if body.startswith(ICC, 2) else b""
    if marker == ADOBE:
        return _adobe(body)
    return b"" if marker == COM or 0xE0 <= marker <= 0xEF else body


def _jfif(body: bytes) -> bytes:
    """JFIF without its thumbnail, which may show another picture or hide a text."""
    is_whole = len(body) >= JFIF_BYTES and body.startswith(b"JFIF\0", 2)
    return JFIF_BYTES.to_bytes(2, "big") + body[2 : JFIF_BYTES - 2] + bytes(2) if is_whole else b""


def _adobe(body: bytes) -> bytes:
    is_whole = len(body) >= ADOBE_BYTES and body.startswith(b"Adobe", 2)
    return ADOBE_BYTES.to_bytes(2, "big") + body[2:ADOBE_BYTES] if is_whole else b""


def _oriented(body: bytes, *, first_exif: bool) -> bytes:
    prefix, kept = b"", b""
    if body.startswith(PREFIX, 2) and first_exif:
        prefix, kept = PREFIX, kept_exif(BytesIO(body), 2, len(body) - 2)
    elif body.startswith(XMP, 2):
        prefix, kept = XMP, kept_xmp(body)
    return (2 + len(prefix) + len(kept)).to_bytes(2, "big") + prefix + kept if kept else b""


def _copy_scan(source: BinaryIO, sink: BinaryIO) -> None:
    """Copy entropy-coded bytes up to the marker that ends them: stuffed zeros and restarts are inside."""
    held = b""
    while piece := source.read(PIECE_BYTES):
        held += piece
        found = SCAN_END.search(held)
        if found:
            sink.write(held[: found.start()])
            source.seek(found.start() - len(held), os.SEEK_CUR)
            return
        cut = len(held) - held.endswith(b"\xff")
        sink.write(held[:cut])
        held = held[cut:]
    raise truncated()
