"""JPEG XL in boxes: they fill the file, with a codestream that is whole. (ISO/IEC 18181-2)

Exif, XMP and their compressed forms become zero in place. A bare codestream, which holds no texts, is not read here.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, take
from comfyledger.workers.media.masked import Mask, Measured
from comfyledger.workers.media.video.boxes import Movie, boxes

MAGIC: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
CODESTREAM, PIECE = b"jxlc", b"jxlp"
KEPT: Final = frozenset({b"JXL ", b"ftyp", b"jxll", b"jxli", b"jbrd", CODESTREAM, PIECE})
"""`jbrd` restores the JPEG that a picture was made from; `Exif`, `xml `, `jumb` and `brob` hold texts."""
LAST: Final = 0x80
"""In the first byte of a piece: no other one follows."""


def measure_jxl(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the boxes fill the file and the codestream has its end."""
    movie, masks, is_whole = Movie(), list[Mask](), False
    for box in boxes(file, movie, 0, size):
        if box.kind == CODESTREAM:
            is_whole = box.end > box.body
        elif box.kind == PIECE:
            file.seek(box.body)
            is_whole = is_whole or bool(take(file, 4)[0] & LAST)
        elif box.kind not in KEPT:
            masks += [Mask(box.at + 4, 4, b"free"), Mask(box.body, box.end - box.body)]
    if not is_whole:
        raise Broken("truncated", "The JPEG XL has no end of its picture.")
    return Measured("jxl", masks=tuple(masks))
