"""MP4 and MOV: boxes that fill the file, with a movie whose samples lie in it. (ISO/IEC 14496-12)

Metadata is masked in place: a box that holds texts becomes `free` and its content zero, so that no offset moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import PIECE_BYTES, Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

FTYP: Final = b"ftyp"
TEXTS: Final = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip", b"Xtra"})
"""Boxes that hold what people and programs wrote. ComfyUI puts prompt and workflow into `udta` or `meta`."""
PARENTS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts"})
FIRST: Final = frozenset({FTYP, b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
DEPTH_MAX: Final = 8
PICTURE_BRANDS: Final = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1"})
"""Pictures in the same boxes. Their `meta` is what they are made of."""
BRANDS_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box lies: its head begins `at`, its content at `body` and ends before `end`."""

    kind: bytes
    at: int
    body: int
    end: int


@dataclass(slots=True)
class Movie:
    """What the boxes say. `data`: where content lies. `sample_bytes`: of all samples of all tracks together."""

    kinds: set[bytes] = field(default_factory=set)
    masks: list[Mask] = field(default_factory=list)
    data: list[tuple[int, int]] = field(default_factory=list)
    width: int = 0
    height: int = 0
    sample_bytes: int = 0
    places: list[int] = field(default_factory=list)
    """Where chunks of samples begin: the lowest and the highest offset of each piece of their tables."""
    parts: int = 0


def measure_movie(file: BinaryIO, size: int) -> Measured:
    """Prove that the boxes of an MP4 or MOV fill it. Raises Broken."""
    movie = Movie()
    _walk(file, movie, 0, size, 0)
    if b"moov" not in movie.kinds:
        raise Broken("truncated", "The movie has no index (no moov box).")
    if not movie.data and b"moof" not in movie.kinds:
        raise Broken("truncated", "The movie has no content (no mdat box).")
    _check_samples(movie)
    return Measured(_extension(file), movie.width, movie.height, tuple(movie.masks))


def is_movie(head: bytes) -> bool:
    """Whether a file that begins so is made of boxes. `head`: its first 12 bytes."""
    return head[4:8] in FIRST and not (head[4:8] == FTYP and head[8:12] in PICTURE_BRANDS)


def _extension(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(12)
    return "mov" if head[4:8] != FTYP or head[8:12] == b"qt  " else "mp4"


def _boxes(file: BinaryIO, movie: Movie, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, which they must fill. Raises Broken."""
    at = start
    while at < end:
        check_parts(movie.parts)
        movie.parts += 1
        file.seek(at)
        length, kind = struct.unpack(">I4s", take(file, 8))
        body = at + 8
        if length == 1:
            length, body = int.from_bytes(take(file, 8), "big"), at + 16
        elif length == 0:
            length = end - at
        if length < body - at:
            raise Broken("structure", "A box of the movie is shorter than its own head.")
        if at + length > end:
            raise truncated()
        yield Box(kind, at, body, at + length)
        at += length


def _walk(file: BinaryIO, movie: Movie, start: int, end: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise Broken("structure", "The boxes of the movie are nested too deeply.")
    for box in _boxes(file, movie, start, end):
        if depth == 0 and not movie.kinds and box.kind not in FIRST:
            raise Broken("structure", "The file begins with no box of a movie.")
        movie.kinds.add(box.kind)
        if box.kind in TEXTS:
            movie.masks += [Mask(box.at + 4, 4, b"free"), Mask(box.body, box.end - box.body)]
        elif box.kind in PARENTS:
            _walk(file, movie, box.body, box.end, depth + 1)
        else:
            _take(file, movie, box)


def _take(file: BinaryIO, movie: Movie, box: Box) -> None:
    file.seek(box.body)
    match box.kind:
        case b"mdat":
            movie.data.append((box.body, box.end))
        case b"tkhd":
            _take_size(movie, file.read(min(box.end - box.body, 104)))
        case b"stsz":
            movie.sample_bytes += sum(_sizes(file, box))
        case b"stco" | b"co64":
            movie.places += _bounds(file, box, 4 if box.kind == b"stco" else 8)


def _take_size(movie: Movie, body: bytes) -> None:
    """Width and height of the first track that has any: the last two numbers, with 16 bits behind the point."""
    if not movie.width and len(body) >= 84:
        length = 96 if body[0] == 1 else 84
        width, height = struct.unpack(">2I", body[length - 8 : length].ljust(8, b"\0"))
        movie.width, movie.height = width >> 16, height >> 16


def _sizes(file: BinaryIO, box: Box) -> Iterator[int]:
    """Sums of the sizes of samples, piece by piece. Raises Broken."""
    size, count = struct.unpack(">4x2I", take(file, 12))
    if size:
        yield size * count
        return
    if box.body + 12 + 4 * count > box.end:
        raise Broken("structure", "The movie's table of samples is longer than its box.")
    for piece in _numbers(file, count, 4):
        yield sum(piece)


def _bounds(file: BinaryIO, box: Box, width: int) -> Iterator[int]:
    """The lowest and the highest offset of each piece of a table. Raises Broken."""
    (count,) = struct.unpack(">4xI", take(file, 8))
    if box.body + 8 + width * count > box.end:
        raise Broken("structure", "The movie's table of chunks is longer than its box.")
    for piece in _numbers(file, count, width):
        yield from (min(piece), max(piece))


def _numbers(file: BinaryIO, count: int, width: int) -> Iterator[tuple[int, ...]]:
    sign = "I" if width == 4 else "Q"
    while count:
        some = min(count, PIECE_BYTES // width)
        yield struct.unpack(f">{some}{sign}", take(file, some * width))
        count -= some


def _check_samples(movie: Movie) -> None:
    """The samples fit into the content, and every chunk begins in it."""
    if sum(end - start for start, end in movie.data) < movie.sample_bytes:
        raise Broken("truncated", "The movie has less content than its index says.")
    for place in movie.places:
        if not any(start <= place < end for start, end in movie.data):
            raise Broken("truncated", "The movie's index leads out of its content.")
