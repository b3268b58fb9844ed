"""Ogg: pages that fill the file, in their order, and every stream with its last page. (RFC 3533)

Comments become spaces, and the checksums of their pages follow. (RFC 7845; Vorbis I, 5)
"""

from __future__ import annotations

from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import PARTS_MAX, Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured
from comfyledger.workers.media.sound.checksums import crc32

OGG_HEAD_BYTES: Final = 27
COMMENT_HEADS: Final = (b"OpusTags", b"\x03vorbis")
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
    return Measured("ogg", masks=tuple(masks))


class _Comments:
    """The second packet of a stream, which holds its comments, and the pages that it lies on."""

    def __init__(self) -> None:
        self._packet = 0
        self._spans: list[tuple[int, int]] = []
        self._pages: list[tuple[int, int]] = []

    def take(self, file: BinaryIO, page: int, body: int, lacing: bytes) -> None:
        if self._packet > 1:
            return
        at = body
        for length in lacing:
            if self._packet == 1:
                self._spans.append((at, length))
                if (page, body + sum(lacing)) not in self._pages:
                    self._pages.append((page, body + sum(lacing)))
            at += length
            self._packet += length < 255
            if self._packet > 1:
                break
        if sum(length for _, length in self._spans) > COMMENT_BYTES_MAX:
            raise Broken("structure", "The comments of the Ogg file are too long.")

    def masks(self, file: BinaryIO) -> list[Mask]:
        """The comments, each made of spaces, and the checksums of the pages that they lie on."""
        packet = bytearray()
        for at, length in self._spans:
            file.seek(at)
            packet += take(file, length)
        head = next((one for one in COMMENT_HEADS if packet.startswith(one)), None)
        if head is None:
            return []
        _blank(packet, len(head))
        masks, done = [], 0
        for at, length in self._spans:
            masks.append(Mask(at, length, bytes(packet[done : done + length])))
            done += length
        return masks + [self._checksum(file, page, end, masks) for page, end in self._pages]

    def _checksum(self, file: BinaryIO, page: int, end: int, masks: list[Mask]) -> Mask:
        file.seek(page)
        content = bytearray(take(file, end - page))
        content[22:26] = bytes(4)
        for mask in masks:
            if page <= mask.at < end:
                content[mask.at - page : mask.at - page + mask.length] = mask.head
        return Mask(page + 22, 4, crc32(bytes(content)).to_bytes(4, "little"))


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
