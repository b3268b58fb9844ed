"""Media files as ComfyUI leaves them: proved whole, stripped of metadata, and measured.

Nothing here knows of batches, spools or stores: one file goes in, another and its `ProvedFile` come out. PNG, JPEG and
WebP are told apart by their first bytes, never by a name. `png.py`, `jpeg.py` and `webp.py` each read every chunk while
they copy, since Pillow loads a PNG that lacks its last 20 bytes without complaint. (ComfyUI 0.33.0 writes files in
place, so a crash may cut one.) Stripping keeps what changes how the picture is shown, its orientation and colour
profile included, and drops the rest: an unknown chunk may hold the whole graph, as the `comf` chunk of ComfyUI's
SaveAnimatedPNG does. No pixel is ever encoded anew.

The pixels of a PNG are proved on the way. Pillow decodes JPEG and WebP if that takes a bounded memory. Beyond it only
the structure is checked, and `ProvedFile.checked` says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from comfyledger.core.values import Checked
from comfyledger.workers.media import png
from comfyledger.workers.media.broken_file import PIECE_BYTES, Broken, Walked, check_pixels
from comfyledger.workers.media.jpeg import decode_jpeg, walk_jpeg
from comfyledger.workers.media.webp import decode_webp, walk_webp

HEAVY_BYTES: Final = 64 * 1_048_576
"""A PNG whose pixels inflate to more takes long to check. Others must not be crowded out meanwhile."""


@dataclass(frozen=True, slots=True)
class ProvedFile:
    """A whole image: hexadecimal digests and size of its bytes, its measures in pixels as they are encoded, its
    extension, and whether all of its pixels were proved or only its structure."""

    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int
    extension: str
    checked: Checked = "whole"


def pin(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int) -> ProvedFile:
    """Prove that a file is a whole image and copy it, without its metadata if `strip` is set.

    `source` is at its start, `sink` empty and open for reading as well: what is measured and decoded is what it holds.
    Reads and writes in pieces; memory is bounded by DECODE_BYTES_MAX. `pixels_max` counts all frames together.
    Without `strip` the copy is equal byte for byte. Raises Broken, or OSError of the disk; then `sink` holds a part.
    """
    return proved(sink, walk(source, sink, strip=strip, pixels_max=pixels_max))


def walk(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int) -> Walked:
    """The first half of `pin`: all but decoding and measuring. Raises as it does."""
    walked = WALKS[kind_of(source)](source, sink, strip, pixels_max)
    check_pixels(walked.width * walked.height * walked.frames, pixels_max)
    return walked


def proved(sink: BinaryIO, walked: Walked) -> ProvedFile:
    """The second half of `pin`, on what was copied. Raises as it does."""
    if walked.decode_bytes and walked.is_decodable:
        _decode(sink, walked)
    sha256, md5, size_bytes = _digests(sink)
    checked: Checked = "whole" if walked.is_decodable else "structure"
    return ProvedFile(sha256, md5, size_bytes, walked.width, walked.height, walked.extension, checked)


def is_heavy(head: bytes) -> bool:
    """Whether walking a file that begins so takes long, because much is inflated. Raises Broken.

    `head`: its first 33 bytes, or all if it has fewer.
    """
    at = len(png.SIGNATURE) + 8
    if not head.startswith(png.SIGNATURE) or len(head) < at + 13 or head[at - 4 : at] != b"IHDR":
        return False
    return png.header_of(head[at : at + 13]).inflated_bytes() > HEAVY_BYTES


def kind_of(source: BinaryIO) -> str:
    """The extension that the first bytes deserve: png, jpg or webp. Leaves the stream at its start."""
    head = source.read(12)
    source.seek(0)
    if not head:
        raise Broken("empty", "The file is empty.")
    if head.startswith(png.SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    raise Broken("unknown_kind", "The file is not a PNG, JPEG or WebP image.")


def walk_png(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a PNG and prove its pixels on the way: nothing is left to be decoded."""
    walking = png.Walk(source, sink, strip, pixels_max)
    walking.all()
    return Walked("png", walking.header.width, walking.header.height)


WALKS: Final[dict[str, Callable[[BinaryIO, BinaryIO, bool, int], Walked]]] = {
    "png": walk_png,
    "jpg": walk_jpeg,
    "webp": walk_webp,
}


def _decode(file: BinaryIO, walked: Walked) -> None:
    """Decode every frame. Pillow's own classes, not Image.open: its limit on pixels is one for the whole process.

    An OSError with a number is the disk's and passes; Pillow's own have none, and mean the picture.
    """
    try:
        file.seek(0)
        if walked.extension == "jpg":
            decode_jpeg(file, walked)
        else:
            decode_webp(file, walked)
    except (Broken, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Broken("undecodable", f"The picture cannot be decoded: {str(error)[:200]}") from error


def _digests(file: BinaryIO) -> tuple[str, str, int]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        sha256.update(piece)
        md5.update(piece)
        size += len(piece)
    return sha256.hexdigest(), md5.hexdigest(), size
