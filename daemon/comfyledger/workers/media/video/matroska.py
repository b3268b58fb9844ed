"""WebM and Matroska: elements that fill the file, with information, tracks and clusters. (RFC 8794, RFC 9559)

Tags, attachments, chapters and the title become Void elements of the same length, so that no offset moves. A checksum
beside something that is masked would be wrong then, and becomes Void as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

MAGIC: Final = b"\x1a\x45\xdf\xa3"
HEADER, DOC_TYPE, SEGMENT = 0x1A45DFA3, 0x4282, 0x18538067
INFO, TRACKS, CLUSTER, TRACK_ENTRY, VIDEO = 0x1549A966, 0x1654AE6B, 0x1F43B675, 0xAE, 0xE0
PIXEL_WIDTH, PIXEL_HEIGHT, CRC, VOID = 0xB0, 0xBA, 0xBF, 0xEC
TEXTS: Final = frozenset({0x1254C367, 0x1941A469, 0x1043A770, 0x7BA9, 0x73A4, 0x3CB923, 0x3EB923, 0x536E, VOID})
"""Tags, Attachments, Chapters, Title, and the names of segments and tracks."""
PARENTS: Final = frozenset({INFO, TRACKS, TRACK_ENTRY, VIDEO})
NEEDED: Final = frozenset({INFO, TRACKS, CLUSTER})
SMALL_BYTES_MAX: Final = 8
DEPTH_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element lies: it begins `at`, its content at `body` and ends before `end`."""

    id: int
    at: int
    body: int
    end: int


@dataclass(slots=True)
class Found:
    seen: set[int] = field(default_factory=set)
    masks: list[Mask] = field(default_factory=list)
    width: int = 0
    height: int = 0
    parts: int = 0


def measure_matroska(file: BinaryIO, size: int) -> Measured:
    """Prove that the elements of a WebM or Matroska file fill it. Raises Broken."""
    found = Found()
    top = list(_elements(file, found, 0, size))
    if [element.id for element in top[:2]] != [HEADER, SEGMENT]:
        raise Broken("structure", "The file has no segment after its header.")
    if len(top) > 2 and any(element.id != VOID for element in top[2:]):
        raise Broken("trailing", "The file goes on after its segment has ended.")
    _walk(file, found, top[1])
    if missing := NEEDED - found.seen:
        raise Broken("truncated", f"The segment has no element {min(missing):X}.")
    return Measured(_doc_type(file, found, top[0]), found.width, found.height, tuple(found.masks))


def _doc_type(file: BinaryIO, found: Found, header: Element) -> str:
    for element in _elements(file, found, header.body, header.end):
        if element.id == DOC_TYPE:
            return "webm" if _body(file, element).rstrip(b"\0") == b"webm" else "mkv"
    return "mkv"


def _body(file: BinaryIO, element: Element) -> bytes:
    file.seek(element.body)
    return take(file, min(element.end - element.body, SMALL_BYTES_MAX))


def _elements(file: BinaryIO, found: Found, start: int, end: int) -> Iterator[Element]:
    """The elements between two offsets, which they must fill. Raises Broken."""
    at = start
    while at < end:
        check_parts(found.parts)
        found.parts += 1
        file.seek(at)
        id_bytes = _number(file, 4)
        length_bytes = _number(file, 8)
        length = int.from_bytes(length_bytes, "big") & ~(1 << 7 * len(length_bytes))
        if length == (1 << 7 * len(length_bytes)) - 1:
            raise Broken("truncated", "The file was not closed: an element does not say how long it is.")
        body = at + len(id_bytes) + len(length_bytes)
        if body + length > end:
            raise truncated()
        yield Element(int.from_bytes(id_bytes, "big"), at, body, body + length)
        at = body + length


def _number(file: BinaryIO, longest: int) -> bytes:
    """A number whose first byte says how many bytes it has. Raises Broken."""
    first = take(file, 1)
    length = 9 - first[0].bit_length()
    if length > longest:
        raise Broken("structure", "The file has an element with an invalid head.")
    return first + take(file, length - 1)


def _walk(file: BinaryIO, found: Found, parent: Element, depth: int = 0) -> None:
    if depth > DEPTH_MAX:
        raise Broken("structure", "The elements of the file are nested too deeply.")
    masked_before = len(found.masks)
    checksum: Element | None = None
    for element in _elements(file, found, parent.body, parent.end):
        found.seen.add(element.id)
        if element.id == CRC and checksum is None:
            checksum = element
        elif element.id in TEXTS:
            found.masks.append(_void(element))
        elif element.id in PARENTS:
            _walk(file, found, element, depth + 1)
        elif element.id in (PIXEL_WIDTH, PIXEL_HEIGHT):
            _take_side(file, found, element)
    if checksum is not None and len(found.masks) > masked_before:
        found.masks.append(_void(checksum))


def _take_side(file: BinaryIO, found: Found, element: Element) -> None:
    value = int.from_bytes(_body(file, element), "big")
    if element.id == PIXEL_WIDTH and not found.width:
        found.width = value
    elif element.id == PIXEL_HEIGHT and not found.height:
        found.height = value


def _void(element: Element) -> Mask:
    """A Void element as long as this one."""
    length = element.end - element.at
    if length < 9:
        return Mask(element.at, length, bytes((VOID, 0x80 | length - 2)))
    return Mask(element.at, length, bytes((VOID,)) + (1 << 56 | length - 9).to_bytes(8, "big"))
