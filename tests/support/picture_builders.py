"""Small whole pictures of the formats that only their structure proves, each with a secret in its metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable

from support.media_builders import PROMPT, SECRET, box

EXR_LINES = 5
XMP = b"<x:xmpmeta>" + PROMPT + b"</x:xmpmeta>"


def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
    return name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value


def exr_header(*more: bytes) -> bytes:
    """Of 8 by 5 pixels, uncompressed; the prompt as an attribute, as SaveImageAdvanced writes it."""
    window = struct.pack("<4i", 0, 0, 7, EXR_LINES - 1)
    channels = b"Y\0" + struct.pack("<I4B2I", 2, 0, 0, 0, 0, 1, 1) + b"\0"
    attributes = [
        attribute(b"channels", b"chlist", channels),
        attribute(b"comments", b"string", SECRET),
        attribute(b"compression", b"compression", b"\0"),
        attribute(b"dataWindow", b"box2i", window),
        attribute(b"displayWindow", b"box2i", window),
        attribute(b"lineOrder", b"lineOrder", b"\0"),
        attribute(b"preview", b"preview", struct.pack("<2I", 1, 5) + SECRET),
        attribute(b"prompt", b"string", PROMPT),
    ]
    return b"".join((*attributes, *more)) + b"\0"


def exr_file(flags: int, headers: bytes, chunks: list[bytes]) -> bytes:
    """A file whose chunks follow its table in their order."""
    head = struct.pack("<4sI", b"\x76\x2f\x31\x01", 2 | flags) + headers
    at, table = len(head) + 8 * len(chunks), b""
    for chunk in chunks:
        table += struct.pack("<Q", at)
        at += len(chunk)
    return head + table + b"".join(chunks)


def exr_rows() -> list[bytes]:
    return [struct.pack("<2i", line, 32) + bytes(range(32)) for line in range(EXR_LINES)]


def exr() -> bytes:
    return exr_file(0, exr_header(), exr_rows())


def tiled_exr() -> bytes:
    """Tiles of 4 by 4 at four levels: 2 x 2, 1 x 1, 1 x 1 and 1 x 1 of them."""
    tiles = attribute(b"tiles", b"tiledesc", struct.pack("<2IB", 4, 4, 1))
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)]
    chunks = [struct.pack("<5i", x, y, level, level, 16) + bytes(range(16)) for x, y, level in places]
    return exr_file(0x200, exr_header(tiles), chunks)


def exr_of_parts() -> bytes:
    """A part of rows and a part of deep rows."""
    count = attribute(b"chunkCount", b"int", struct.pack("<i", EXR_LINES))
    rows = exr_header(attribute(b"name", b"string", b"a"), attribute(b"type", b"string", b"scanlineimage"), count)
    deep = exr_header(attribute(b"name", b"string", b"b"), attribute(b"type", b"string", b"deepscanline"), count)
    chunks = [struct.pack("<3i", 0, line, 32) + bytes(range(32)) for line in range(EXR_LINES)]
    chunks += [struct.pack("<2i3Q", 1, line, 8, 24, 24) + bytes(range(32)) for line in range(EXR_LINES)]
    return exr_file(0x1000, rows + deep + b"\0", chunks)


def tiff(order: str = "<", *, big: bool = False, pixels_last: bool = False) -> bytes:
    """12 by 8 pixels of grey in two strips, turned; texts, Exif and XMP beside it, and what an earlier writing left."""
    width, number, offset = (8, "Q", "Q") if big else (4, "H", "I")
    form = order + offset
    parts = {
        "pixels": bytes(range(1, 97)),
        "text": PROMPT + b"\0",
        "old": b"left by an earlier writing: " + SECRET,
        "profile": b"profile" * 4,
        "xmp": XMP,
        "exif": bytes(len(SECRET)),
        "offsets": bytes(8),
        "counts": bytes(8),
        "directory": b"",
    }
    names = [name for name in parts if name != "pixels" or not pixels_last] + ["pixels"] * pixels_last
    if pixels_last:
        names.insert(0, names.pop(names.index("directory")))

    def file(places: dict[str, int]) -> bytes:
        """The file, with places that may still be wrong."""
        at = places.get

        def entry(tag: int, kind: int, values: int, value: int | bytes) -> bytes:
            if isinstance(value, int):
                value = struct.pack(order + "H" if kind == 3 else form, value)
            return struct.pack(order + "2H" + offset, tag, kind, values) + value.ljust(width, b"\0")[:width]

        strips = struct.pack(order + "2I", at("pixels", 0), at("pixels", 0) + 48), struct.pack(order + "2I", 48, 48)
        entries = [
            entry(256, 3, 1, 12), entry(257, 3, 1, 8), entry(258, 3, 1, 8), entry(259, 3, 1, 1), entry(262, 3, 1, 1),
            entry(270, 2, len(parts["text"]), at("text", 0)),
            entry(273, 4, 2, strips[0] if big else at("offsets", 0)), entry(274, 3, 1, 6), entry(277, 3, 1, 1),
            entry(278, 3, 1, 4), entry(279, 4, 2, strips[1] if big else at("counts", 0)), entry(305, 2, 4, b"abc"),
            entry(700, 1, len(XMP), at("xmp", 0)), entry(34665, 4, 1, at("exif", 0)),
            entry(34675, 7, len(parts["profile"]), at("profile", 0)),
        ]  # fmt: skip
        directory = struct.pack(order + number, len(entries)) + b"".join(entries) + bytes(width)
        parts.update(offsets=strips[0], counts=strips[1], exif=SECRET, directory=directory)
        head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
        head += struct.pack(order + "2HQ", 8, 0, at("directory", 0)) if big else struct.pack(form, at("directory", 0))
        for name in names:
            head += bytes(len(head) % 2)
            places[name] = len(head)
            head += parts[name]
        return head

    places: dict[str, int] = {}
    file(places)
    return file(places)


def heif(brand: bytes = b"avif") -> bytes:
    """A picture, its Exif and its XMP in one box of content, and a text in `idat`."""
    picture, exif = bytes(range(1, 41)), bytes(4) + b"II*\0" + SECRET
    kind = box(b"ftyp", brand, bytes(4), b"mif1", brand)
    infos = [
        (1, b"av01", b""),
        (2, b"Exif", b""),
        (3, b"mime", b"application/rdf+xml\0"),
        (4, b"mime", b"text/plain\0"),
    ]
    names = [box(b"infe", b"\2\0\0\0", struct.pack(">2H4s", item, 0, what), b"\0", rest) for item, what, rest in infos]
    size = box(b"ispe", bytes(4), struct.pack(">2I", 64, 48))
    small = box(b"ispe", bytes(4), struct.pack(">2I", 8, 6))
    properties = box(b"iprp", box(b"ipco", size, small), box(b"ipma", bytes(4), struct.pack(">IHBB", 1, 1, 1, 0x81)))

    def meta(first: int) -> bytes:
        places = [(1, 0, first, 20), (2, 0, first + 40, len(exif)), (3, 0, first + 40 + len(exif), len(XMP))]
        table = b"\1\0\0\0" + struct.pack(">2BH", 0x44, 0x00, 4)
        for item, way, at, length in places:
            pieces = [(at, 20), (at + 20, 20)] if item == 1 else [(at, length)]
            table += struct.pack(">4H", item, way, 0, len(pieces)) + b"".join(
                struct.pack(">2I", *one) for one in pieces
            )
        table += struct.pack(">4H2I", 4, 1, 0, 1, 2, len(SECRET))
        return box(
            b"meta", bytes(4), box(b"pitm", bytes(4), b"\0\1"), box(b"iloc", table),
            box(b"iinf", bytes(4), b"\0\4", *names), properties, box(b"idat", b"..", SECRET),
        )  # fmt: skip

    return kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", picture, exif, XMP)


def jxl() -> bytes:
    """A codestream in two pieces, with Exif and XMP between them, one of them compressed."""
    pieces = box(b"jxlp", bytes(4), bytes(range(40))), box(b"jxlp", b"\x80\0\0\1", bytes(range(50)))
    texts = box(b"Exif", bytes(4), b"II*\0", SECRET), box(b"xml ", XMP), box(b"brob", b"xml ", SECRET)
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl ", bytes(4), b"jxl ")
    return head + texts[0] + pieces[0] + texts[1] + texts[2] + pieces[1]


def svg() -> bytes:
    """As SaveSVGNode leaves it: the prompt after each tag of a drawing, those inside included."""
    text = b"<metadata>\n<![CDATA[\n" + PROMPT + b"\n]]></metadata>"
    inner = b"<svg>" + text + b"<path d='M0 0L3 3'/></svg>"
    head = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    return (
        head + text + b"<!-- two --><g><metadata><a b='" + SECRET + b"'/></metadata><metadata/>" + inner + b"</g></svg>"
    )


PICTURES: dict[str, Callable[[], bytes]] = {
    "exr": exr,
    "exr, of tiles": tiled_exr,
    "exr, of parts": exr_of_parts,
    "tiff": tiff,
    "tiff, big endian": lambda: tiff(">"),
    "tiff, big": lambda: tiff(big=True),
    "tiff, pixels last": lambda: tiff(pixels_last=True),
    "avif": heif,
    "heic": lambda: heif(b"heic"),
    "jxl": jxl,
    "svg": svg,
}
