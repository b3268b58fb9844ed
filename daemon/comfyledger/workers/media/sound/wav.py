"""WAV: RIFF chunks that fill the file, format before sound. (Microsoft, Multimedia Programming Interface 1.0)

What listeners do not hear becomes JUNK.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

KEPT: Final = frozenset({b"fmt ", b"data", b"fact", b"PEAK", b"cue ", b"smpl", b"JUNK"})


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
        if kind not in KEPT or kind == b"JUNK":
            masks += [Mask(at, 4, b"JUNK"), Mask(at + 8, length)]
        at = end
    if b"data" not in seen or b"fmt " not in seen[: seen.index(b"data")]:
        raise Broken("structure", "The WAV has no format before its sound, or no sound.")
    return Measured("wav", masks=tuple(masks))
