"""WAV, FLAC, Ogg and MP3: their headers and lengths; what listeners do not hear is masked in place.

WAV: RIFF chunks (Microsoft, Multimedia Programming Interface 1.0). FLAC: RFC 9639. Ogg: RFC 3533, comments RFC 7845
and Vorbis I, 5. MP3: frames of ISO/IEC 11172-3, tags ID3.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import PARTS_MAX, Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

# ---- WAV

WAV_KEPT: Final = frozenset({b"fmt ", b"data", b"fact", b"PEAK", b"cue ", b"smpl", b"JUNK"})


def measure_wav(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the chunks of a RIFF file of kind WAVE fill it, format before sound."""
    file.seek(4)
    stated = int.from_bytes(take(file, 4), "little") + 8
    if stated > size:
        raise truncated()
    if stated < size:
        raise Broken("trailing", "The file goes on after its sound has ended.")
    seen: list[bytes] = []
    masks: list[Mask] = []
    at = 12
    while at < size:
        check_parts(len(seen))
        file.seek(at)
        kind, length = struct.unpack("<4sI", take(file, 8))
        end = at + 8 + length + length % 2
        if end > size + length % 2:
            raise truncated()
        seen.append(kind)
        if kind not in WAV_KEPT or kind == b"JUNK":
            masks += [Mask(at, 4, b"JUNK"), Mask(at + 8, length)]
        at = end
    if b"data" not in seen or b"fmt " not in seen[: seen.index(b"data")]:
        raise Broken("structure", "The WAV has no format before its sound, or no sound.")
    return Measured("wav", masks=tuple(masks))


# ---- FLAC

FLAC_KEPT: Final = frozenset({0, 1, 3})
"""STREAMINFO, PADDING and SEEKTABLE. Comments, pictures, cue sheets and application data become padding."""
TAIL_BYTES: Final = 1_048_576
"""A frame has at most 65,535 samples of 8 channels; one larger than this is not looked for."""


def measure_flac(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the last frame ends, with a right checksum, where the file does."""
    file.seek(4)
    masks: list[Mask] = []
    is_last, parts, info = False, 0, b""
    while not is_last:
        check_parts(parts := parts + 1)
        at = file.tell()
        head = take(file, 4)
        kind, is_last, length = head[0] & 0x7F, bool(head[0] & 0x80), int.from_bytes(head[1:], "big")
        if (parts == 1) != (kind == 0):
            raise Broken("structure", "The FLAC does not begin with its stream information.")
        if at + 4 + length > size:
            raise truncated()
        info = info or take(file, length)
        if kind not in FLAC_KEPT:
            masks.append(Mask(at, 1, bytes((1 | 0x80 * is_last,))))
        if kind not in FLAC_KEPT or kind == 1:
            masks.append(Mask(at + 4, length))
        file.seek(at + 4 + length)
    if len(info) < 34:
        raise Broken("structure", "The FLAC's stream information is too short.")
    _check_last_frame(file, file.tell(), size, info)
    return Measured("flac", masks=tuple(masks))


def _check_last_frame(file: BinaryIO, start: int, size: int, info: bytes) -> None:
    """Find the frame that ends where the file does. It must hold the last sample, if their number is known."""
    block, samples = int.from_bytes(info[:2], "big"), int.from_bytes(info[10:18], "big") & 0xFFFFFFFFF
    begin = max(start, size - TAIL_BYTES)
    file.seek(begin)
    tail = file.read(size - begin)
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1 : at + 2] not in {b"\xf8", b"\xf9"}:
            continue
        head = _frame_head(tail[at : at + 16])
        if head is not None and _crc16(tail[at:-2]) == int.from_bytes(tail[-2:], "big"):
            before = head[0] if tail[at + 1] & 1 else head[0] * block
            if samples and before + head[1] != samples:
                raise truncated()
            return
    raise truncated()


def _frame_head(head: bytes) -> tuple[int, int] | None:
    """Number of frame or sample, and samples in the frame; None if this is no head of a frame. (RFC 9639, 9.1)"""
    length = 4
    first = head[4] if len(head) > 4 else 0xFF
    more = 0 if first < 0x80 else 7 - (first ^ 0xFF).bit_length()
    if first >= 0x80 and not 1 <= more <= 6:
        return None
    number = first & (0x7F if not more else 0x3F >> more)
    for byte in head[5 : 5 + more]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    length += 1 + more
    code = head[2] >> 4
    extra = {6: 1, 7: 2}.get(code, 0)
    block = int.from_bytes(head[length : length + extra], "big") + 1
    if not extra:
        block = 192 if code == 1 else 576 << code - 2 if 2 <= code <= 5 else 256 << code - 8 if code >= 8 else 0
    length += extra + {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    if not block or len(head) <= length or _crc8(head[:length]) != head[length]:
        return None
    return number, block


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ 0x07 if crc & 0x80 else crc << 1
        crc &= 0xFF
    return crc


def _crc_table(bits: int, polynomial: int) -> tuple[int, ...]:
    """The remainders of all bytes, for a checksum of so many bits whose highest bit comes first."""
    table, top, mask = [], 1 << (bits - 1), (1 << bits) - 1
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = crc << 1 ^ polynomial if crc & top else crc << 1
        table.append(crc & mask)
    return tuple(table)


_TABLE16: Final = _crc_table(16, 0x8005)


def _crc16(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc = (crc << 8 ^ _TABLE16[crc >> 8 ^ byte]) & 0xFFFF
    return crc


# ---- MP3

ID3_BYTES: Final = 10
ID3V1_BYTES: Final = 128
_BITRATES: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by version (2 stands for 2 and 2.5) and layer, for the indexes 1 to 14."""
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def measure_mp3(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless frames fill the file between its tags, as many as its first frame says, if it says."""
    masks: list[Mask] = []
    at = _skip_id3(file, size, masks)
    end = _before_id3v1(file, size, masks)
    frames, stated = 0, None
    while at < end:
        check_parts(frames)
        file.seek(at)
        length = _frame_bytes(take(file, 4))
        if at + length > end:
            raise truncated()
        if not frames:
            stated = _stated_frames(file.read(min(length, 200)))
        frames += 1
        at += length
    if not frames:
        raise Broken("structure", "The MP3 has no sound.")
    if stated is not None and stated > frames - 1:
        raise truncated()
    return Measured("mp3", masks=tuple(masks))


def is_mp3(head: bytes) -> bool:
    """Whether a file that begins so may be one. `head`: its first bytes, at least one."""
    return head.startswith(b"ID3") or (head[0] == 0xFF and head[1:2] != b"" and head[1] & 0xE6 in {0xE2, 0xE4, 0xE6})


def _skip_id3(file: BinaryIO, size: int, masks: list[Mask]) -> int:
    file.seek(0)
    if file.read(3) != b"ID3":
        return 0
    head = b"ID3" + take(file, ID3_BYTES - 3)
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    end = ID3_BYTES + length + (ID3_BYTES if head[5] & 0x10 else 0)
    if end > size:
        raise truncated()
    masks += [Mask(5, 1, bytes((head[5] & 0x10,))), Mask(ID3_BYTES, length)]
    return end


def _before_id3v1(file: BinaryIO, size: int, masks: list[Mask]) -> int:
    file.seek(max(0, size - ID3V1_BYTES))
    if file.read(3) != b"TAG":
        return size
    masks.append(Mask(size - ID3V1_BYTES + 3, ID3V1_BYTES - 3))
    return size - ID3V1_BYTES


def _frame_bytes(head: bytes) -> int:
    """The length of a frame. Raises Broken."""
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if head[0] != 0xFF or head[1] < 0xE0 or version == 1 or layer == 4 or bitrate in {0, 15} or rate == 3:
        raise Broken("structure", "The MP3 has something between its frames that is none.")
    bits = 1_000 * _BITRATES[1 if version == 3 else 2, layer][bitrate - 1]
    if layer == 1:
        return (12 * bits // _RATES[version][rate] + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // _RATES[version][rate] + padding


def _stated_frames(body: bytes) -> int | None:
    """The number of frames after the first, if the first one is a Xing or Info frame that says it."""
    at = max(body.find(b"Xing"), body.find(b"Info"))
    if at < 0 or not body[at + 7 : at + 8] or not body[at + 7] & 1:
        return None
    return int.from_bytes(body[at + 8 : at + 12], "big")


# ---- Ogg

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
        return Mask(page + 22, 4, _crc32(bytes(content)).to_bytes(4, "little"))


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


_TABLE32: Final = _crc_table(32, 0x04C11DB7)


def _crc32(content: bytes) -> int:
    """The checksum of a page: not that of zlib, whose bits are in the other order."""
    crc = 0
    for byte in content:
        crc = (crc << 8 ^ _TABLE32[crc >> 24 ^ byte]) & 0xFFFFFFFF
    return crc
