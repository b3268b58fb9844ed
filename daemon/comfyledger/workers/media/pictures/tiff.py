"""TIFF and BigTIFF: directories whose values and pixels lie in the file. (TIFF 6.0; BigTIFF design)

Entries that do not change how a picture is shown are taken out of their directory, which gets shorter at its place.
What nothing refers to any more is zeroed, so no offset moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from comfyledger.workers.media.broken_file import PARTS_MAX, Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TYPE_BYTES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
WIDTH, HEIGHT, SUBFILES, PROFILE = 256, 257, 330, 34675
PIXELS: Final = {273: 279, 324: 325, 513: 514}
"""Tags of offsets, and those of the lengths that belong to them: strips, tiles, an old JPEG."""
KEPT: Final = frozenset(
    {254, 255, WIDTH, HEIGHT, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 290, 291, 292}
    | {293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, SUBFILES, 332, 334, 336, 338, 339, 340, 341}
    | {342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, PROFILE}
)
"""What says how pixels are stored and shown, the orientation (274) and the colour profile included."""


class Form(NamedTuple):
    """How numbers are written: the byte order, and the formats of a number of entries, of an entry and of an offset."""

    order: str
    number: str
    entry: str
    offset: str

    def read(self, file: BinaryIO, what: str) -> tuple[int, ...]:
        return struct.unpack(self.order + what, take(file, struct.calcsize(self.order + what)))


class Entry(NamedTuple):
    """One entry as it stands in the file. Its `values` begin `at`, which may be in the entry itself."""

    tag: int
    kind: int
    values: int
    at: int
    raw: bytes

    @property
    def size_bytes(self) -> int:
        return TYPE_BYTES.get(self.kind, 1) * self.values


@dataclass(slots=True)
class Found:
    """What was read. `spans`: where something lies that is kept, as (begin, end)."""

    size: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)
    parts: int = 0
    width: int = 0
    height: int = 0
    seen: set[int] = field(default_factory=set)

    def add(self, begin: int, end: int, *, kept: bool = True) -> None:
        """Raises Broken if it does not lie in the file."""
        if end > self.size:
            raise truncated()
        if not kept:
            return
        if self.spans and self.spans[-1][1] == begin:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            check_parts(len(self.spans))
            self.spans.append((begin, end))


def measure_tiff(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless all that the directories name lies in the file.

    What follows cannot be told from what writers leave behind the last directory.
    """
    file.seek(0)
    form, first = _head(file)
    found = Found(size)
    found.add(0, file.tell())
    following = [first]
    while following:
        at = following.pop()
        if at in found.seen or not at:
            continue
        found.seen.add(at)
        following += _directory(file, form, at, found)
    if not found.width or not found.height:
        raise Broken("structure", "The TIFF has no picture in it.")
    return Measured("tiff", found.width, found.height, (*found.masks, *_gaps(found)))


def _head(file: BinaryIO) -> tuple[Form, int]:
    """The form of numbers, and the place of the first directory. Raises Broken."""
    magic = take(file, 4)
    order = "<" if magic[:2] == b"II" else ">"
    if magic not in MAGIC[2:]:
        form = Form(order, "H", "HHI", "I")
        return form, form.read(file, "I")[0]
    form = Form(order, "Q", "HHQ", "Q")
    width, zero, first = form.read(file, "HHQ")
    if width != 8 or zero:
        raise Broken("structure", "The BigTIFF has offsets of another size than 8 bytes.")
    return form, first


def _directory(file: BinaryIO, form: Form, at: int, found: Found) -> list[int]:
    """Read a directory and what it names. Returns the places of further ones. Raises Broken."""
    if at >= found.size:
        raise truncated()
    entries, following = _entries(file, form, at, found)
    kept = [entry for entry in entries if entry.tag in KEPT]
    for entry in entries:
        if entry.size_bytes > struct.calcsize(form.offset):
            found.add(entry.at, entry.at + entry.size_bytes, kept=entry.tag in KEPT)
    tags = {entry.tag: entry for entry in kept}
    _take_size(file, form, tags, found)
    for offsets, lengths in PIXELS.items():
        if offsets in tags:
            _take_pixels(file, form, tags[offsets], tags.get(lengths), found)
    head, entry_bytes = struct.calcsize(form.number), struct.calcsize(form.offset) * 2 + 4
    content = struct.pack(form.order + form.number, len(kept)) + b"".join(entry.raw for entry in kept)
    content += struct.pack(form.order + form.offset, following)
    length = head + len(entries) * entry_bytes + struct.calcsize(form.offset)
    found.add(at, at + length)
    if len(kept) < len(entries):
        found.masks.append(Mask(at, length, content))
    below = list(_numbers(file, form, tags[SUBFILES])) if SUBFILES in tags else []
    return [following, *below]


def _entries(file: BinaryIO, form: Form, at: int, found: Found) -> tuple[list[Entry], int]:
    file.seek(at)
    (count,) = form.read(file, form.number)
    width = struct.calcsize(form.offset)
    found.parts += count
    check_parts(found.parts)
    entries = []
    for _ in range(count):
        place = file.tell()
        raw = take(file, 2 * width + 4)
        tag, kind, values = struct.unpack_from(form.order + form.entry, raw)
        (offset,) = struct.unpack_from(form.order + form.offset, raw, width + 4)
        is_held = TYPE_BYTES.get(kind, 1) * values <= width
        entries.append(Entry(tag, kind, values, place + width + 4 if is_held else offset, raw))
    return entries, form.read(file, form.offset)[0]


def _take_size(file: BinaryIO, form: Form, tags: dict[int, Entry], found: Found) -> None:
    """Width and height of the first picture that says them."""
    if found.width or WIDTH not in tags or HEIGHT not in tags:
        return
    found.width, found.height = (next(_numbers(file, form, tags[tag]), 0) for tag in (WIDTH, HEIGHT))


def _take_pixels(file: BinaryIO, form: Form, offsets: Entry, lengths: Entry | None, found: Found) -> None:
    if lengths is None or offsets.values != lengths.values:
        raise Broken("structure", "The TIFF does not say how long its strips or tiles are.")
    found.parts += offsets.values
    check_parts(found.parts)
    for begin, length in zip(_numbers(file, form, offsets), list(_numbers(file, form, lengths)), strict=True):
        if not begin or not length:
            raise Broken("truncated", "The TIFF was not finished: a strip or tile of it was never written.")
        found.add(begin, begin + length)


def _numbers(file: BinaryIO, form: Form, entry: Entry) -> Iterator[int]:
    """The values of an entry. Raises Broken if they are no whole numbers."""
    if entry.kind not in NUMBERS or entry.values > PARTS_MAX:
        raise Broken("structure", f"The TIFF has other values than whole numbers in its tag {entry.tag}.")
    file.seek(entry.at)
    yield from form.read(file, f"{entry.values}{NUMBERS[entry.kind]}")


def _gaps(found: Found) -> Iterator[Mask]:
    """What nothing kept lies in: values that are gone, and what an earlier writing left."""
    spans, reached = sorted(found.spans), 0
    for begin, end in [*spans, (found.size, found.size)]:
        if begin > reached:
            yield Mask(reached, begin - reached)
        reached = max(reached, end)
