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
PICTURE_BRANDS: Final = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})
"""Pictures in the same boxes. Their `meta` is what they are made of."""
SOUND_BRANDS: Final = frozenset({b"M4A ", b"M4B "})
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
    usual_bytes: dict[int, int] = field(default_factory=dict)
    """The size of a sample where a fragment does not say it, by track."""
    fragment: tuple[int, int] = (0, 0)
    """Of the fragment that is being read: its track, and the usual size of its samples."""
    fragments: int = 0
    """Fragments whose content is still to come."""
    parts: int = 0


def measure_movie(file: BinaryIO, size: int) -> Measured:
    """Prove that the boxes of an MP4 or MOV fill it. Raises Broken."""
    movie = Movie()
    walk(file, movie, 0, size, 0)
    if b"moov" not in movie.kinds:
        raise Broken("truncated", "The movie has no index (no moov box).")
    if not movie.data and b"moof" not in movie.kinds:
        raise Broken("truncated", "The movie has no content (no mdat box).")
    check_samples(movie)
    return Measured(_extension(file), movie.width, movie.height, tuple(movie.masks))


def is_movie(head: bytes) -> bool:
    """Whether a file that begins so is made of boxes. `head`: its first 12 bytes."""
    return head[4:8] in FIRST and not is_picture(head)


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is a picture in such boxes."""
    return head[4:8] == FTYP and head[8:12] in PICTURE_BRANDS


def _extension(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(12)
    if head[4:8] != FTYP or head[8:12] == b"qt  ":
        return "mov"
    return "m4a" if head[8:12] in SOUND_BRANDS else "mp4"


def boxes(file: BinaryIO, movie: Movie, start: int, end: int) -> Iterator[Box]:
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


def walk(file: BinaryIO, movie: Movie, start: int, end: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise Broken("structure", "The boxes of the movie are nested too deeply.")
    for box in boxes(file, movie, start, end):
        if depth == 0 and not movie.kinds and box.kind not in FIRST:
            raise Broken("structure", "The file begins with no box of a movie.")
        movie.kinds.add(box.kind)
        if box.kind in TEXTS:
            movie.masks += [Mask(box.at + 4, 4, b"free"), Mask(box.body, box.end - box.body)]
        elif box.kind in PARENTS:
            walk(file, movie, box.body, box.end, depth + 1)
        else:
            _take(file, movie, box)


def _take(file: BinaryIO, movie: Movie, box: Box) -> None:
    file.seek(box.body)
    match box.kind:
        case b"mdat":
            movie.data.append((box.body, box.end))
            movie.fragments = 0
        case b"tkhd":
            _take_size(movie, file.read(min(box.end - box.body, 104)))
        case b"stsz":
            movie.sample_bytes += sum(_sizes(file, box))
        case b"trex":
            track, usual = struct.unpack(">4xI8xI", take(file, 20))
            movie.usual_bytes[track] = usual
        case b"tfhd":
            _take_fragment(file, movie)
        case b"trun":
            movie.sample_bytes += sum(_run_sizes(file, movie, box))
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


def _take_fragment(file: BinaryIO, movie: Movie) -> None:
    """Which track a piece of a fragment belongs to, and the size of its samples if it is one for all. (8.8.7)"""
    flags, track = struct.unpack(">2I", take(file, 8))
    take(file, (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0) + (4 if flags & 0x8 else 0))
    usual = int.from_bytes(take(file, 4), "big") if flags & 0x10 else movie.usual_bytes.get(track, 0)
    movie.fragment = (track, usual)
    movie.fragments += 1


def _run_sizes(file: BinaryIO, movie: Movie, box: Box) -> Iterator[int]:
    """Sums of the sizes of a fragment's samples, piece by piece. (8.8.8) Raises Broken."""
    flags, count = struct.unpack(">2I", take(file, 8))
    fields = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
    take(file, (4 if flags & 0x1 else 0) + (4 if flags & 0x4 else 0))
    if 0x200 not in fields:
        yield movie.fragment[1] * count
        return
    if file.tell() + 4 * len(fields) * count > box.end:
        raise Broken("structure", "A fragment of the movie has more samples than its box.")
    while count:
        some = min(count, PIECE_BYTES // 4 // len(fields))
        yield sum(next(_numbers(file, some * len(fields), 4))[fields.index(0x200) :: len(fields)])
        count -= some


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


def check_samples(movie: Movie) -> None:
    """The samples fit into the content, every chunk begins in it, and every fragment is followed by its own."""
    if movie.fragments:
        raise Broken("truncated", "The movie ends before the content of its last fragment.")
    if sum(end - start for start, end in movie.data) < movie.sample_bytes:
        raise Broken("truncated", "The movie has less content than its index says.")
    for place in movie.places:
        if not any(start <= place < end for start, end in movie.data):
            raise Broken("truncated", "The movie's index leads out of its content.")
