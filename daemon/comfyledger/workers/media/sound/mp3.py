"""MP3: frames that fill the file between its tags. (ISO/IEC 11172-3; tags of ID3)"""

from __future__ import annotations

from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

ID3_BYTES: Final = 10
ID3V1_BYTES: Final = 128
TAGS_MAX: Final = 2
"""Of each kind at the end, in any order."""
APE_BYTES: Final = 32
APE_HAS_HEAD: Final = 1 << 31
FRAMES_MAX: Final = 10_000_000
"""Seventy hours of sound: a frame has less than a kilobyte."""
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
    end = size
    for _ in range(TAGS_MAX):
        end = _before_ape(file, _before_id3v1(file, end, masks), masks)
    frames, stated = 0, None
    while at < end:
        if frames > FRAMES_MAX:
            raise Broken("structure", f"The MP3 has more than {FRAMES_MAX} frames.")
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


def _before_id3v1(file: BinaryIO, end: int, masks: list[Mask]) -> int:
    file.seek(max(0, end - ID3V1_BYTES))
    if file.read(3) != b"TAG":
        return end
    masks.append(Mask(end - ID3V1_BYTES + 3, ID3V1_BYTES - 3))
    return end - ID3V1_BYTES


def _before_ape(file: BinaryIO, end: int, masks: list[Mask]) -> int:
    """Where the sound ends before a tag of APE, whose items become zeros. (APE tag 2.000)"""
    file.seek(max(0, end - APE_BYTES))
    foot = file.read(APE_BYTES)
    if len(foot) < APE_BYTES or not foot.startswith(b"APETAGEX"):
        return end
    items, flags = end - int.from_bytes(foot[12:16], "little"), int.from_bytes(foot[20:24], "little")
    start = items - (APE_BYTES if flags & APE_HAS_HEAD else 0)
    if not 0 <= start <= items <= end - APE_BYTES:
        raise Broken("structure", "The MP3 has a tag that does not say how long it is.")
    masks += [Mask(items, end - APE_BYTES - items), Mask(end - APE_BYTES + 16, 4)]
    masks += [Mask(start + 16, 4)] if start < items else []
    return start


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
