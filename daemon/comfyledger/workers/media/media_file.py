"""Media files as ComfyUI leaves them: proved whole, stripped of metadata, and measured.

Nothing here knows of batches, spools or stores: one file goes in, another and its `ProvedFile` come out. The first
bytes tell the kind. A name only says how bytes are kept that are of no kind we can prove: as they are, with the
extension of that name. Every format is read part by part up to its end while it is copied, since a crash may
cut a file that ComfyUI 0.33.0 writes in place, and decoders are lenient: Pillow loads a PNG without its last 20 bytes.
Nothing is ever encoded anew.

Stripping keeps what changes how a picture is shown, its orientation and colour profile included, and drops the rest: an
unknown chunk may hold the whole graph, as the `comf` chunk of ComfyUI's SaveAnimatedPNG does. PNG, JPEG and WebP are
written without it. In all other formats it is overwritten in place (`masked.py`), because no offset in them may move.

The pixels of a PNG are proved on the way. Pillow decodes JPEG, WebP and GIF if that takes a bounded memory. Beyond it
only the structure is checked, and `ProvedFile.checked` says so. Of all other formats the structure is all that is
checked. Of a file that no table knows nothing is: whoever received it compared its length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from comfyledger.core.media import PROVED, extension_of, medium_of
from comfyledger.core.values import Checked
from comfyledger.workers.media import glb, safetensors, svg
from comfyledger.workers.media.broken_file import Broken, Walked, check_pixels
from comfyledger.workers.media.masked import Measure, copy_all, walk_masked
from comfyledger.workers.media.pictures import exr, gif, heif, jxl, png, tiff
from comfyledger.workers.media.pictures.jpeg import decode_jpeg, walk_jpeg
from comfyledger.workers.media.pictures.webp import decode_webp, walk_webp
from comfyledger.workers.media.sound import flac, mp3, ogg, wav
from comfyledger.workers.media.unwritten import Unwritten
from comfyledger.workers.media.video import avi, boxes, matroska

HASHED_BYTES: Final = 1_048_576
HEAVY_BYTES: Final = 64 * 1_048_576
"""A PNG whose pixels inflate to more takes long to check. Others must not be crowded out meanwhile."""


@dataclass(frozen=True, slots=True)
class ProvedFile:
    """A whole image: hexadecimal digests and size of its bytes, its measures in pixels as they are encoded, its
    extension, and how far it was proved: all of its pixels, its structure, or nothing but its length."""

    sha256: str
    md5: str
    size_bytes: int
    width: int
    height: int
    extension: str
    checked: Checked = "whole"


def pin(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int, named: str = "") -> ProvedFile:
    """Prove that a file is whole and copy it, without its metadata if `strip` is set.

    `source` is at its start, `sink` empty and open for reading as well: what is measured and decoded is what it holds.
    Reads and writes in pieces; memory is bounded by DECODE_BYTES_MAX. `pixels_max` counts all frames together.
    Without `strip` the copy is equal byte for byte. `named`: the file's name where it came from; without one a file of
    no known kind is refused. Raises Broken, or OSError of the disk; then `sink` holds a part.
    """
    return proved(sink, walk(source, sink, strip=strip, pixels_max=pixels_max, named=named))


def walk(source: BinaryIO, sink: BinaryIO, *, strip: bool, pixels_max: int, named: str = "") -> Walked:
    """The first half of `pin`: all but decoding and measuring. Raises as it does."""
    extension = extension_of(named) if named else ""
    kind = kind_of(source, extension)
    if not kind:
        copy_all(source, sink)
        return Walked(extension, 0, 0, checked="length")
    walked = WALKS[kind](source, sink, strip, pixels_max)
    check_pixels(walked.width * walked.height * walked.frames, pixels_max)
    return walked


def walk_alone(file: BinaryIO, *, pixels_max: int, named: str = "") -> Walked:
    """The first half of `pin` for a file that stays as it is: nothing is copied. Raises as `pin` does."""
    return walk(file, Unwritten(), strip=False, pixels_max=pixels_max, named=named)


def proved(sink: BinaryIO, walked: Walked) -> ProvedFile:
    """The second half of `pin`, on what was copied. Raises as it does."""
    if walked.decode_bytes and walked.is_decodable:
        _decode(sink, walked)
    sha256, md5, size_bytes = _digests(sink)
    checked = walked.checked if walked.is_decodable else "structure"
    return ProvedFile(sha256, md5, size_bytes, walked.width, walked.height, walked.extension, checked)


def is_heavy(head: bytes) -> bool:
    """Whether walking a file that begins so takes long, because much is inflated. Raises Broken.

    `head`: its first 33 bytes, or all if it has fewer.
    """
    at = len(png.SIGNATURE) + 8
    if not head.startswith(png.SIGNATURE) or len(head) < at + 13 or head[at - 4 : at] != b"IHDR":
        return False
    return png.header_of(head[at : at + 13]).inflated_bytes() > HEAVY_BYTES


def is_picture(head: bytes, named: str) -> bool:
    """Whether a file that begins so and has this name is a picture. `head`: its first 12 bytes."""
    extension = extension_of(named) if named else ""
    kind = (_by_magic(head) or _by_name(head, extension)) if head else ""
    return kind in PICTURES if kind else medium_of(extension) == "image"


def kind_of(source: BinaryIO, extension: str) -> str:
    """The kind of file that the first bytes promise, a key of WALKS; empty if they promise none.

    `extension`: that of its name, empty without a name. It decides where the same bytes may begin something else.
    Leaves the stream at its start. Raises Broken if the name promises a kind and the bytes do not.
    """
    head = source.read(12)
    source.seek(0)
    if not head:
        raise Broken("empty", "The file is empty.")
    found = _by_magic(head) or _by_name(head, extension)
    if not found and not extension:
        raise Broken("unknown_kind", f"The file is none of {', '.join(PROVED)}.")
    if not found and extension in PROVED:
        raise Broken("unknown_kind", f"The file is named .{extension}, and its bytes are of no such kind.")
    return found


def _by_magic(head: bytes) -> str:
    for kind, magic in MAGICS.items():
        if head.startswith(magic):
            return kind
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:] in RIFFS:
        return RIFFS[head[8:]]
    if head[4:8] == boxes.FTYP:
        return "heif" if boxes.is_picture(head) else "movie"
    return ""


def _by_name(head: bytes, extension: str) -> str:
    """A kind whose first bytes may begin a text or a raw photo too. Without a name they are what they seem to be."""
    for kind, (names, is_one) in NAMED.items():
        if (extension in names or ("" in names and extension in PROVED)) and is_one(head):
            return kind
    return ""


def walk_png(source: BinaryIO, sink: BinaryIO, strip: bool, pixels_max: int) -> Walked:
    """Copy a PNG and prove its pixels on the way: nothing is left to be decoded."""
    walking = png.Walk(source, sink, strip, pixels_max)
    walking.all()
    return Walked("png", walking.header.width, walking.header.height)


MAGICS: Final[dict[str, bytes | tuple[bytes, ...]]] = {
    "png": png.SIGNATURE,
    "jpg": b"\xff\xd8\xff",
    "gif": gif.MAGIC,
    "matroska": matroska.MAGIC,
    "flac": b"fLaC",
    "ogg": b"OggS",
    "glb": glb.MAGIC,
    "exr": exr.MAGIC,
    "jxl": jxl.MAGIC,
}
RIFFS: Final = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}
NAMED: Final[dict[str, tuple[frozenset[str], Callable[[bytes], bool]]]] = {
    "svg": (frozenset({"svg"}), lambda head: True),
    "movie": (frozenset({"", "mp4", "mov", "m4a"}), boxes.is_movie),
    "mp3": (frozenset({"", "mp3"}), mp3.is_mp3),
    "tiff": (frozenset({"", "tiff"}), lambda head: head.startswith(tiff.MAGIC)),
    "latent": (frozenset({"latent"}), safetensors.is_safetensors),
    "safetensors": (frozenset({"safetensors"}), safetensors.is_safetensors),
}
"""Kinds that are taken under these names, and some under none or under the name of another kind: those with ""."""

Walk = Callable[[BinaryIO, BinaryIO, bool, int], Walked]


def _masked(measure: Measure) -> Walk:
    return lambda source, sink, strip, pixels_max: walk_masked(measure, source, sink, strip)


WALKS: Final[dict[str, Walk]] = {
    "png": walk_png,
    "jpg": walk_jpeg,
    "webp": walk_webp,
    "gif": gif.walk_gif,
    "movie": _masked(boxes.measure_movie),
    "avi": _masked(avi.measure_avi),
    "matroska": _masked(matroska.measure_matroska),
    "flac": _masked(flac.measure_flac),
    "wav": _masked(wav.measure_wav),
    "mp3": _masked(mp3.measure_mp3),
    "ogg": _masked(ogg.measure_ogg),
    "glb": _masked(glb.measure_glb),
    "exr": _masked(exr.measure_exr),
    "tiff": _masked(tiff.measure_tiff),
    "heif": _masked(heif.measure_heif),
    "jxl": _masked(jxl.measure_jxl),
    "svg": _masked(svg.measure_svg),
    "latent": _masked(safetensors.measure_latent),
    "safetensors": _masked(safetensors.measure_safetensors),
}
PICTURES: Final = frozenset({"png", "jpg", "webp", "gif", "exr", "tiff", "heif", "jxl"})
DECODES: Final[dict[str, Callable[[BinaryIO, Walked], None]]] = {
    "jpg": decode_jpeg,
    "webp": decode_webp,
    "gif": gif.decode_gif,
}


def _decode(file: BinaryIO, walked: Walked) -> None:
    """Decode every frame. Pillow's own classes, not Image.open: its limit on pixels is one for the whole process.

    An OSError with a number is the disk's and passes; Pillow's own have none, and mean the picture.
    """
    try:
        file.seek(0)
        DECODES[walked.extension](file, walked)
    except (Broken, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Broken("undecodable", f"The picture cannot be decoded: {str(error)[:200]}") from error


def _digests(file: BinaryIO) -> tuple[str, str, int]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    if isinstance(file, BytesIO):
        with file.getbuffer() as content:
            sha256.update(content)
            md5.update(content)
            return sha256.hexdigest(), md5.hexdigest(), len(content)
    file.seek(0)
    while piece := file.read(HASHED_BYTES):
        sha256.update(piece)
        md5.update(piece)
        size += len(piece)
    return sha256.hexdigest(), md5.hexdigest(), size
