"""GIF: walked block by block, and decoded by Pillow, every frame. (GIF89a specification)

Comments, and application data other than the loop count, become empty comments of the same length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO, Final

from PIL.GifImagePlugin import GifImageFile

from comfyledger.workers.media.broken_file import Broken, Walked, check_end, check_parts, check_pixels, check_size, take
from comfyledger.workers.media.masked import Mask, Measured, copy_masked

MAGIC: Final = (b"GIF87a", b"GIF89a")
LOOPS: Final = frozenset({b"NETSCAPE2.0", b"ANIMEXTS1.0"})
COMMENT, PLAIN_TEXT, APPLICATION = 0xFE, 0x01, 0xFF
# Measured with Pillow 13: what decoding takes for each pixel of the canvas, with room to spare.
PIXEL_BYTES: Final = 20


@dataclass(slots=True)
class Facts:
    """What the blocks say. `frames` counts pictures."""

    width: int
    height: int
    frames: int = 0
    parts: int = 0
    masks: list[Mask] = field(default_factory=list)


def walk_gif(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a GIF: its blocks must fill it and end with its trailer. Raises Broken."""
    head = take(source, 13)
    facts = Facts(int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))
    _skip_colours(source, head[10])
    while (kind := take(source, 1)) != b";":
        check_parts(facts.parts)
        facts.parts += 1
        if kind == b",":
            _picture(source, facts)
            check_pixels(facts.width * facts.height * facts.frames, pixels_max)
        elif kind == b"!":
            _extension(source, facts)
        else:
            raise Broken("structure", "The GIF has something between its blocks that is none.")
    check_end(source)
    if not facts.frames or not facts.width or not facts.height:
        raise Broken("structure", "The GIF has no picture in it.")
    copy_masked(source, sink, Measured("gif", masks=tuple(facts.masks if strip else ())))
    decode_bytes = 1 + 2 * source.tell() + facts.width * facts.height * PIXEL_BYTES
    return Walked("gif", facts.width, facts.height, facts.frames, decode_bytes)


def decode_gif(file: BinaryIO, walked: Walked) -> None:
    """Prove the pixels of every frame. Raises Broken, or whatever Pillow raises."""
    with GifImageFile(file) as image:
        check_size(image.size, walked)
        for frame in range(walked.frames):
            image.seek(frame)
            image.load()


def _skip_colours(source: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        take(source, 3 << (flags & 7) + 1)


def _picture(source: BinaryIO, facts: Facts) -> None:
    head = take(source, 9)
    _skip_colours(source, head[8])
    take(source, 1)
    _skip_parts(source, facts)
    facts.frames += 1


def _extension(source: BinaryIO, facts: Facts) -> None:
    at = source.tell() - 1
    label = take(source, 1)[0]
    if label == COMMENT:
        _skip_parts(source, facts)
        facts.masks.append(_empty_comment(at, source.tell() - at))
        return
    name = take(source, take(source, 1)[0])
    _skip_parts(source, facts)
    if label == PLAIN_TEXT or (label == APPLICATION and name not in LOOPS):
        facts.masks.append(_empty_comment(at, source.tell() - at))


def _skip_parts(source: BinaryIO, facts: Facts) -> None:
    """Parts of up to 255 bytes, the last of them empty."""
    while length := take(source, 1)[0]:
        check_parts(facts.parts)
        facts.parts += 1
        take(source, length)


def _empty_comment(at: int, length: int) -> Mask:
    """A comment of spaces with this length: 3 bytes or at least 5, as every extension has."""
    content, left = bytearray(b"!\xfe"), length - 3
    while left:
        some = min(left, 256)
        some -= left - some == 1
        content += bytes((some - 1,)) + b" " * (some - 1)
        left -= some
    return Mask(at, length, bytes(content) + b"\0")
