"""OpenEXR: attributes that name what is stored, and a table whose chunks end where the file does.

Attributes that hold texts, or whose type no standard names, are blanked in place: ComfyUI's SaveImageAdvanced writes
prompt and workflow as attributes. (Technical Introduction to OpenEXR; OpenEXR File Layout)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import PARTS_MAX, PIECE_BYTES, Broken, check_parts, take, trailing, truncated
from comfyledger.workers.media.masked import Mask, Measured

MAGIC: Final = b"\x76\x2f\x31\x01"
TILED, MULTIPART = 0x200, 0x1000
"""Flags in the version."""
NAME_BYTES_MAX: Final = 255
PARTS_OF_FILE_MAX: Final = 1_000
PLAIN: Final = frozenset(
    b"box2i box2f chlist chromaticities compression deepImageState double envmap float floatvector idmanifest int"
    b" keycode lineOrder m33d m33f m44d m44f rational tiledesc timecode v2d v2f v2i v3d v3f v3i".split()
)
"""Types of attributes that hold numbers, or names of channels and of what they show."""
NEEDED: Final = frozenset({b"name", b"type", b"view", b"multiView"})
"""Texts that say what a part is. Its readers need them."""
LINES: Final = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256, 10: 256, 11: 32}
"""Rows of pixels in a chunk, by compression."""
PREVIEW_HEAD_BYTES: Final = 8
"""Width and height of a small view of the picture; its pixels become transparent."""
TILES_BYTES: Final = 9
ATTRIBUTE_BYTES_MAX: Final = 256
"""Of those whose values are read here."""


@dataclass(slots=True)
class Part:
    """What the attributes of one part say that its chunks depend on."""

    values: dict[bytes, bytes] = field(default_factory=dict)

    def is_tiled(self, flags: int) -> bool:
        """Whether its chunks are tiles. In a file of one part the flags of the version say so."""
        return bool(flags & TILED) or b"tile" in self.values.get(b"type", b"")

    def number(self, name: bytes, default: int) -> int:
        value = self.values.get(name, b"")
        return int.from_bytes(value, "little") if value else default

    def size(self) -> tuple[int, int]:
        """Width and height of the pixels that are stored. Raises Broken."""
        value = self.values.get(b"dataWindow", b"")
        if len(value) == 16:
            left, top, right, bottom = struct.unpack("<4i", value)
            if right >= left and bottom >= top:
                return right - left + 1, bottom - top + 1
        raise Broken("structure", "The EXR does not say how large it is.")

    def chunks(self, *, is_tiled: bool) -> int:
        """How many chunks the part has. Raises Broken."""
        if b"chunkCount" in self.values:
            return self.number(b"chunkCount", 0)
        if is_tiled:
            return self._tiles()
        _, height = self.size()
        lines = LINES.get(self.number(b"compression", 0))
        if lines is None:
            raise Broken("structure", "The EXR has a compression that no standard names.")
        return -(-height // lines)

    def _tiles(self) -> int:
        columns, rows, mode = self._levels()
        match mode:
            case 0:
                return columns[0] * rows[0]
            case 1:
                levels = max(len(columns), len(rows))
                return sum(
                    columns[min(level, len(columns) - 1)] * rows[min(level, len(rows) - 1)] for level in range(levels)
                )
            case _:
                return sum(columns) * sum(rows)

    def _levels(self) -> tuple[list[int], list[int], int]:
        """The tiles across and down, level by level, and how the levels belong together. Raises Broken."""
        width, height = self.size()
        value = self.values.get(b"tiles", b"")
        across, down, mode = struct.unpack("<2IB", value) if len(value) == TILES_BYTES else (0, 0, 0)
        if not across or not down:
            raise Broken("structure", "The EXR does not say how large its tiles are.")
        return _levels(width, across, mode), _levels(height, down, mode), mode & 0x0F


def _levels(side: int, tile: int, mode: int) -> list[int]:
    """The tiles along a side, level by level, each of half the size; rounded up if the mode says so."""
    counts = [-(-side // tile)]
    while mode & 0x0F and side > 1:
        side = max(1, (side + (mode >> 4 & 1)) // 2)
        counts.append(-(-side // tile))
    return counts


def measure_exr(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless every chunk is there and the last one ends where the file does."""
    file.seek(4)
    flags = int.from_bytes(take(file, 4), "little")
    masks: list[Mask] = []
    parts = list(_parts(file, size, masks, is_multipart=bool(flags & MULTIPART)))
    counts = [part.chunks(is_tiled=part.is_tiled(flags)) for part in parts]
    if sum(counts) > PARTS_MAX:
        raise Broken("structure", f"The EXR has more than {PARTS_MAX} chunks.")
    _check_chunks(file, size, parts, counts, flags)
    width, height = parts[0].size()
    return Measured("exr", width, height, tuple(masks))


def _parts(file: BinaryIO, size: int, masks: list[Mask], *, is_multipart: bool) -> Iterator[Part]:
    """The headers, each of attributes and a zero byte. Those of several parts end with an empty one."""
    for number in range(PARTS_OF_FILE_MAX):
        part = _part(file, size, masks)
        if part.values or not number:
            yield part
        if not part.values or not is_multipart:
            return
    raise Broken("structure", f"The EXR has more than {PARTS_OF_FILE_MAX} parts.")


def _part(file: BinaryIO, size: int, masks: list[Mask]) -> Part:
    part, count = Part(), 0
    while name := _text(file):
        check_parts(count := count + 1)
        kind = _text(file)
        length = int.from_bytes(take(file, 4), "little")
        at = file.tell()
        if at + length > size:
            raise truncated()
        if kind not in PLAIN and name not in NEEDED:
            masks += _blanked(file, kind, at, length)
        file.seek(at)
        part.values[name] = take(file, min(length, ATTRIBUTE_BYTES_MAX))
        file.seek(at + length)
    return part


def _blanked(file: BinaryIO, kind: bytes, at: int, length: int) -> Iterator[Mask]:
    """An attribute as long as before, of which its readers still make sense."""
    match kind:
        case b"string":
            yield Mask(at, length, fill=b" ")
        case b"stringvector":
            end = at + length
            while at < end:
                file.seek(at)
                some = int.from_bytes(take(file, 4), "little")
                if at + 4 + some > end:
                    raise Broken("structure", "The EXR has a list of texts that is longer than its attribute.")
                yield Mask(at + 4, some, fill=b" ")
                at += 4 + some
        case b"preview":
            yield Mask(at + PREVIEW_HEAD_BYTES, max(0, length - PREVIEW_HEAD_BYTES))
        case _:
            yield Mask(at, length)


def _text(file: BinaryIO) -> bytes:
    """A name, which a zero byte ends. Leaves the stream after it. Raises Broken."""
    at = file.tell()
    name, end, _ = file.read(NAME_BYTES_MAX + 1).partition(b"\0")
    if not end:
        raise Broken("truncated", "The header of the EXR ends in the middle of a name.")
    file.seek(at + len(name) + 1)
    return name


def _check_chunks(file: BinaryIO, size: int, parts: list[Part], counts: list[int], flags: int) -> None:
    table = file.tell()
    first = table + 8 * sum(counts)
    end = first
    for part, count in zip(parts, counts, strict=True):
        fixed = (4 if flags & MULTIPART else 0) + (16 if part.is_tiled(flags) else 4)
        is_deep = part.values.get(b"type", b"").startswith(b"deep")
        for place in _offsets(file, table, count):
            if not first <= place < size:
                raise truncated()
            end = max(end, place + _chunk_bytes(file, place, fixed, is_deep=is_deep))
        table += 8 * count
    if end > size:
        raise truncated()
    if end < size:
        raise trailing()


def _offsets(file: BinaryIO, at: int, count: int) -> Iterator[int]:
    """The places of chunks. An EXR that was not closed has zeros here."""
    while count:
        some = min(count, PIECE_BYTES // 8)
        file.seek(at)
        yield from struct.unpack(f"<{some}Q", take(file, 8 * some))
        at += 8 * some
        count -= some


def _chunk_bytes(file: BinaryIO, place: int, fixed: int, *, is_deep: bool) -> int:
    """The length of a chunk. `fixed`: of what stands before its own lengths."""
    file.seek(place + fixed)
    if not is_deep:
        return fixed + 4 + int.from_bytes(take(file, 4), "little")
    table, packed, _ = struct.unpack("<3Q", take(file, 24))
    return int(fixed + 24 + table + packed)
