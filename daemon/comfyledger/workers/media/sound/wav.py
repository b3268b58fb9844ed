"""WAV: RIFF chunks that fill the file, format before sound. (Microsoft, Multimedia Programming Interface 1.0)

What listeners do not hear becomes JUNK.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

KEPT: Final = frozenset({b"fmt ", b"data", b"fact", b"PEAK", b"cue ", b"smpl", b"ds64", b"JUNK"})
LONG: Final = 0xFFFFFFFF
"""The length of what is longer. A chunk `ds64`, which comes first then, says how long it is. (EBU Tech 3306)"""


def measure_wav(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the chunks of a RIFF file of kind WAVE fill it, format before sound."""
    stated, sound_bytes = _stated(file)
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
        if kind == b"data" and sound_bytes is not None and length == LONG:
            length = sound_bytes
        end = at + 8 + length + length % 2
        if end > size + length % 2:
            raise truncated()
        seen.append(kind)
        if kind not in KEPT or kind == b"JUNK":
            masks += [Mask(at, 4, b"JUNK"), Mask(at + 8, length)]
        at = end
    if b"data" not in seen or b"fmt " not in seen[: seen.index(b"data")]:
        raise Broken("structure", "The WAV has no format before its sound, or no sound.")
    return Measured("wav", masks=tuple(masks))


def _stated(file: BinaryIO) -> tuple[int, int | None]:
    """The length of the whole file, and of the sound where its chunk does not say it."""
    file.seek(0)
    magic, stated, _, first, length = struct.unpack("<4sI4s4sI", take(file, 20))
    if magic == b"RIFF":
        return stated + 8, None
    if first != b"ds64" or length < 16:
        raise Broken("structure", "The WAV does not say how long it is.")
    whole, sound = struct.unpack("<2Q", take(file, 16))
    return whole + 8, sound
