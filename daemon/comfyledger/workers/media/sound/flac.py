"""FLAC: metadata that fills its blocks, and a last frame that ends where the file does. (RFC 9639)

Comments, pictures, cue sheets and application data become padding.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured
from comfyledger.workers.media.sound.checksums import crc8, crc16

KEPT: Final = frozenset({0, 1, 3})
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
        if kind not in KEPT:
            masks.append(Mask(at, 1, bytes((1 | 0x80 * is_last,))))
        if kind not in KEPT or kind == 1:
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
        if head is not None and crc16(tail[at:-2]) == int.from_bytes(tail[-2:], "big"):
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
    if not block or len(head) <= length or crc8(head[:length]) != head[length]:
        return None
    return number, block
