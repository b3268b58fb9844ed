"""Ogg: pages that fill the file, in their order, and every stream with its last page. (RFC 3533)

Comments become spaces, and the checksums of their pages follow. (RFC 7845; Vorbis I, 5; RFC 9639, 10.1)
"""

from __future__ import annotations

from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import PARTS_MAX, Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured
from comfyledger.workers.media.sound.checksums import crc32

OGG_HEAD_BYTES: Final = 27
COMMENT_HEADS: Final = (b"OpusTags", b"\x03vorbis", b"\x81theora", b"OVP80\x02 ")
THEORA_HEAD, VP8_HEAD = b"\x80theora", b"OVP80\x01"
FLAC_HEAD: Final = b"\x7fFLAC"
BLOCK_HEAD_BYTES: Final = 4
COMMENT_BLOCK, BLOCKS_KEPT = 4, frozenset({0, 3})
"""Of FLAC: seek tables are kept; pictures, cue sheets and application data are not."""
COMMENT_BYTES_MAX: Final = 16 * 1_048_576


def measure_ogg(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless pages fill the file, in their order, and every stream in it has its last page."""
    pages: dict[int, list[int]] = {}
    ended: set[int] = set()
    comments: dict[int, _Comments] = {}
    at = parts = 0
    while at < size:
        check_parts(parts := parts + 1)
        file.seek(at)
        head = take(file, OGG_HEAD_BYTES)
        lacing = take(file, head[26])
        if head[:4] != b"OggS" or head[4]:
            raise Broken("structure", "The Ogg file has something between its pages that is none.")
        flags, serial, sequence = head[5], int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little")
        body = at + OGG_HEAD_BYTES + len(lacing)
        if body + sum(lacing) > size:
            raise truncated()
        known = pages.setdefault(serial, [])
        if known and sequence != known[0] + 1:
            raise Broken("structure", "A page of the Ogg file is missing.")
        pages[serial] = [sequence]
        comments.setdefault(serial, _Comments()).take(file, at, body, lacing)
        if flags & 4:
            ended.add(serial)
        at = body + sum(lacing)
    if set(pages) != ended:
        raise truncated()
    masks = [mask for found in comments.values() for mask in found.masks(file)]
    size_of = next((found.pixels for found in comments.values() if found.pixels), None)
    return Measured("ogv" if size_of else "ogg", *(size_of or (0, 0)), tuple(masks))


class _Comments:
    """The packets of a stream that hold its comments, and the pages that they lie on.

    That is the second packet, and in a stream of FLAC every packet before the sound.
    """

    def __init__(self) -> None:
        self._number = 0
        self._packet = bytearray()
        self._spans: list[tuple[int, int]] = []
        """Of the packet that is being read, as offset and length."""
        self._is_flac = False
        self.pixels: tuple[int, int] | None = None
        """Width and height, if the stream is a video."""
        self._done = False
        self._pages: list[tuple[int, int]] = []
        self._masks: list[Mask] = []

    def take(self, file: BinaryIO, page: int, body: int, lacing: bytes) -> None:
        """Read what of a page belongs to such packets. Raises Broken."""
        at = body
        for length in lacing:
            if self._done:
                return
            self._spans.append((at, length))
            file.seek(at)
            self._packet += take(file, length)
            at += length
            if len(self._packet) > COMMENT_BYTES_MAX:
                raise Broken("structure", "The comments of the Ogg file are too long.")
            if self._number and (page, body + sum(lacing)) not in self._pages[-1:]:
                self._pages.append((page, body + sum(lacing)))
            if length < 255:
                self._ended()

    def _ended(self) -> None:
        """A packet has ended."""
        packet, spans = self._packet, self._spans
        self._packet, self._spans = bytearray(), []
        if not self._number:
            self._is_flac = packet.startswith(FLAC_HEAD)
            self.pixels = _pixels(packet)
        elif self._is_flac and len(packet) >= BLOCK_HEAD_BYTES and packet[:1] != b"\xff":
            self._mask(packet, spans, _masked_block(packet))
        elif not self._is_flac:
            self._mask(packet, spans, _masked_comments(packet))
        self._done = bool(self._number) and (not self._is_flac or len(packet) < BLOCK_HEAD_BYTES or packet[0] >= 0x80)
        self._number += 1

    def _mask(self, packet: bytearray, spans: list[tuple[int, int]], masked: bytes) -> None:
        done = 0
        for at, length in spans if masked != packet else ():
            self._masks.append(Mask(at, length, masked[done : done + length]))
            done += length

    def masks(self, file: BinaryIO) -> list[Mask]:
        """The comments, each made of spaces, and the checksums of the pages that they lie on."""
        if not self._masks:
            return []
        return self._masks + [self._checksum(file, page, end) for page, end in self._pages]

    def _checksum(self, file: BinaryIO, page: int, end: int) -> Mask:
        file.seek(page)
        content = bytearray(take(file, end - page))
        content[22:26] = bytes(4)
        for mask in self._masks:
            if page <= mask.at < end:
                content[mask.at - page : mask.at - page + mask.length] = mask.head
        return Mask(page + 22, 4, crc32(bytes(content)).to_bytes(4, "little"))


def _pixels(packet: bytearray) -> tuple[int, int] | None:
    """Width and height as the first packet of a video says them. (Theora I, 6.2; the mapping of VP8 by its authors)"""
    if packet.startswith(THEORA_HEAD) and len(packet) >= 20:
        return int.from_bytes(packet[14:17], "big"), int.from_bytes(packet[17:20], "big")
    if packet.startswith(VP8_HEAD) and len(packet) >= 12:
        return int.from_bytes(packet[8:10], "big"), int.from_bytes(packet[10:12], "big")
    return None


def _masked_comments(packet: bytearray) -> bytes:
    """A packet of comments with spaces in place of them; any other packet as it is. Raises Broken."""
    head = next((one for one in COMMENT_HEADS if packet.startswith(one)), None)
    if head is None:
        return bytes(packet)
    masked = bytearray(packet)
    _blank(masked, len(head))
    return bytes(masked)


def _masked_block(packet: bytearray) -> bytes:
    """A block of metadata of FLAC, of the same length: comments as spaces, anything else as padding."""
    kind, masked = packet[0] & 0x7F, bytearray(packet)
    if kind == COMMENT_BLOCK:
        _blank(masked, BLOCK_HEAD_BYTES)
    elif kind not in BLOCKS_KEPT:
        masked = bytearray([packet[0] & 0x80 | 1]) + packet[1:4] + bytes(len(packet) - BLOCK_HEAD_BYTES)
    return bytes(masked)


def _blank(packet: bytearray, at: int) -> None:
    """Spaces instead of every comment: vendor, number of comments, comments, each with its length. Raises Broken."""

    def length_at(place: int) -> int:
        if place + 4 > len(packet):
            raise Broken("structure", "The comments of the Ogg file are cut short.")
        return int.from_bytes(packet[place : place + 4], "little")

    at += 4 + length_at(at)
    count = length_at(at)
    at += 4
    for _ in range(min(count, PARTS_MAX)):
        length = length_at(at)
        if at + 4 + length > len(packet):
            raise Broken("structure", "The comments of the Ogg file are cut short.")
        packet[at + 4 : at + 4 + length] = b" " * length
        at += 4 + length
