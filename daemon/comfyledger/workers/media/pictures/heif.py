"""AVIF and HEIC: pictures in boxes, whose items lie in the file. (ISO/IEC 23008-12; AVIF 1.1)

Exif, XMP and other items that are no picture lose their kind and become zero in place. How a picture is turned is said
by its properties, which stay.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from comfyledger.workers.media.broken_file import Broken, take, truncated
from comfyledger.workers.media.masked import Mask, Measured
from comfyledger.workers.media.video.boxes import BRANDS_BYTES_MAX, TEXTS, Box, Movie, boxes, check_samples, walk

AVIF: Final = frozenset({b"avif", b"avis"})
TEXT_ITEMS: Final = frozenset({b"Exif", b"mime", b"uri "})
"""Kinds of item that are no picture. ComfyUI's savers put prompt and workflow into Exif."""
NO_ITEM: Final = b"skip"
"""The kind that such an item gets: readers pass over kinds that they do not know."""
EXTENTS_MAX: Final = 65_536
"""A picture of many tiles has some hundred. A piece may take no bytes in its table, so the file does not bound them."""
IN_FILE, IN_META = 0, 1
"""How the place of an item is counted: from the beginning of the file, or of the box `idat`."""


class Extent(NamedTuple):
    """Where a piece of an item lies. A length of 0 means all that there is."""

    item: int
    way: int
    at: int
    length: int


@dataclass(slots=True)
class Items:
    """What the box `meta` says. `kinds`: of items, with the place where the kind stands."""

    kinds: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    extents: list[Extent] = field(default_factory=list)
    data: Box | None = None
    width: int = 0
    height: int = 0


def measure_heif(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the boxes fill the file and every item lies in it."""
    movie, items = Movie(), Items()
    for box in boxes(file, movie, 0, size):
        movie.kinds.add(box.kind)
        match box.kind:
            case b"meta":
                _take_meta(file, movie, items, box)
            case b"mdat":
                movie.data.append((box.body, box.end))
            case b"moov":
                walk(file, movie, box.body, box.end, 1)
            case kind if kind in TEXTS:
                movie.masks += [Mask(box.at + 4, 4, b"free"), Mask(box.body, box.end - box.body)]
    if not items.kinds or not items.extents:
        raise Broken("truncated", "The picture has no index (no meta box with items).")
    check_samples(movie)
    masks = list(_masked_items(items, movie))
    return Measured(_extension(file), items.width, items.height, (*movie.masks, *masks))


def _extension(file: BinaryIO) -> str:
    file.seek(0)
    length = int.from_bytes(take(file, 4), "big")
    brands = file.read(min(length, BRANDS_BYTES_MAX))[4:]
    names = {brands[at : at + 4] for at in range(0, len(brands), 4) if at != 4}
    return "avif" if names & AVIF else "heic"


def _take_meta(file: BinaryIO, movie: Movie, items: Items, meta: Box) -> None:
    for box in boxes(file, movie, meta.body + 4, meta.end):
        match box.kind:
            case b"iinf":
                _take_kinds(file, movie, items, box)
            case b"iloc":
                items.extents += _extents(file, box)
            case b"idat":
                items.data = box
            case b"iprp":
                _take_properties(file, movie, items, box)
            case kind if kind in TEXTS:
                movie.masks += [Mask(box.at + 4, 4, b"free"), Mask(box.body, box.end - box.body)]


def _take_kinds(file: BinaryIO, movie: Movie, items: Items, box: Box) -> None:
    file.seek(box.body)
    entries = box.body + (6 if take(file, 1) == b"\0" else 8)
    for entry in boxes(file, movie, entries, box.end):
        file.seek(entry.body)
        version = take(file, 4)[0]
        if entry.kind == b"infe" and version >= 2:
            number = int.from_bytes(take(file, 2 if version == 2 else 4), "big")
            at = file.tell() + 2
            file.seek(at)
            items.kinds[number] = (take(file, 4), at)


def _take_properties(file: BinaryIO, movie: Movie, items: Items, properties: Box) -> None:
    """The size of the largest picture: others are its tiles, its transparency, or smaller views of it."""
    for container in boxes(file, movie, properties.body, properties.end):
        if container.kind != b"ipco":
            continue
        for box in boxes(file, movie, container.body, container.end):
            if box.kind == b"ispe":
                file.seek(box.body + 4)
                width, height = struct.unpack(">2I", take(file, 8))
                if width * height > items.width * items.height:
                    items.width, items.height = width, height


def _extents(file: BinaryIO, box: Box) -> Iterator[Extent]:
    """The pieces of all items. (ISO/IEC 14496-12, 8.11.3) Raises Broken."""
    file.seek(box.body)
    version = take(file, 4)[0]
    sizes = int.from_bytes(take(file, 2), "big")
    offset, length, base, index = (sizes >> shift & 0xF for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2

    def number(width: int) -> int:
        return int.from_bytes(take(file, width), "big")

    parts = 0
    for _ in range(number(wide)):
        item = number(wide)
        way = number(2) & 0xF if version else IN_FILE
        is_here = number(2) == 0
        start = number(base)
        for _ in range(number(2)):
            if (parts := parts + 1) > EXTENTS_MAX:
                raise Broken("structure", f"The picture has more than {EXTENTS_MAX} pieces.")
            number(index if version else 0)
            at = start + number(offset)
            extent = Extent(item, way, at, number(length))
            if is_here and way in (IN_FILE, IN_META):
                yield extent
    if file.tell() > box.end:
        raise Broken("structure", "The picture's table of items is longer than its box.")


def _masked_items(items: Items, movie: Movie) -> Iterator[Mask]:
    """What becomes of the items that are no picture. Raises Broken for an item that does not lie in the file."""
    for extent in items.extents:
        place = _place(extent, items, movie)
        if extent.item in items.kinds and items.kinds[extent.item][0] in TEXT_ITEMS:
            yield Mask(place[0], place[1] - place[0])
    for kind, at in items.kinds.values():
        if kind in TEXT_ITEMS:
            yield Mask(at, 4, NO_ITEM)


def _place(extent: Extent, items: Items, movie: Movie) -> tuple[int, int]:
    """Where a piece begins and ends in the file: within one box of content."""
    shift = items.data.body if extent.way == IN_META and items.data is not None else 0
    homes = movie.data if extent.way == IN_FILE else [(items.data.body, items.data.end)] if items.data else []
    at = extent.at + shift
    for start, end in homes:
        if start <= at and (at < end or not extent.length) and at + extent.length <= end:
            return at, at + extent.length if extent.length else end
    raise truncated()
