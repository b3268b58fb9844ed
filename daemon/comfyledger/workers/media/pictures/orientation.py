"""The orientation: the one entry of Exif, and of XMP, that changes how a picture is shown.

Both also hold what else a camera or a program wrote, even the whole graph. Only a block with this entry is kept, in its
original byte order and type, so that every reader shows the same picture as before.
The layout of Exif is that of TIFF 6.0, section 2; the tag is 274 in the list of Exif 2.32.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO, Final

PREFIX: Final = b"Exif\0\0"
TAG: Final = 274
ENTRY_BYTES: Final = 12
ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}
NUMBERS: Final[dict[int, str]] = {1: "B", 3: "H", 4: "I"}
"""Types of TIFF that hold whole numbers: byte, short, long. Readers take all three, the standard says short."""
XMP_BYTES_MAX: Final = 1_048_576
"""Limit of the part of a packet that is searched."""
XMP_SAYS: Final = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([2-8])\s*[\"'<]")
XMP_KEPT: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/>'
    "</rdf:RDF></x:xmpmeta>"
)
TURNED: Final = range(2, 9)
"""1 is upright: then there is nothing to keep."""


def kept_exif(source: BinaryIO, start: int, length: int) -> bytes:
    """A block of Exif with the orientation alone; empty if the one at `start` says none, or upright.

    Leaves the stream anywhere. A block that cannot be read counts as none, as it does for image viewers.
    """
    source.seek(start)
    if length >= len(PREFIX) and source.read(len(PREFIX)) == PREFIX:
        start, length = start + len(PREFIX), length - len(PREFIX)
    source.seek(start)
    head = source.read(8)
    order = ORDERS.get(head[:4], "") if length >= 8 else ""
    if not order:
        return b""
    entry = _entry(source, start, length, order, struct.unpack(order + "I", head[4:])[0])
    if not entry:
        return b""
    return head[:4] + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def _entry(source: BinaryIO, start: int, length: int, order: str, at: int) -> bytes:
    """The entry of the orientation in the directory at `at`, without what its value leaves unused."""
    if at < 8 or at + 2 > length:
        return b""
    source.seek(start + at)
    count: int = struct.unpack(order + "H", source.read(2))[0]
    directory = source.read(min(count * ENTRY_BYTES, length - at - 2))
    for place in range(0, len(directory) - ENTRY_BYTES + 1, ENTRY_BYTES):
        tag, kind, values = struct.unpack_from(order + "HHI", directory, place)
        if tag == TAG and values == 1 and kind in NUMBERS:
            (value,) = struct.unpack_from(order + NUMBERS[kind], directory, place + 8)
            packed = struct.pack(order + "HHI" + NUMBERS[kind], TAG, kind, 1, value)
            return packed.ljust(ENTRY_BYTES, b"\0") if value in TURNED else b""
    return b""


def kept_xmp(packet: bytes) -> bytes:
    """A packet of XMP with the orientation alone; empty if this one says none, or upright."""
    found = XMP_SAYS.search(packet)
    return XMP_KEPT.format(found[1].decode()).encode() if found else b""
