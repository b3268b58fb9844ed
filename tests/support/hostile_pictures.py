"""Small files that are made to break a decoder, or to have it take gigabytes."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

PIXELS, BROKEN = "The picture has more than 67,108,864 pixels.", "The file cannot be decoded."


def png(width: int, height: int, *more: bytes) -> bytes:
    """A grey PNG that says it is so large; its pixels end after the first row. `more`: chunks before them."""
    header, row = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0), zlib.compress(bytes(width + 1))
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", header), *more, chunk(b"IDAT", row), chunk(b"IEND", b"")))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def inflating(size_bytes: int) -> bytes:
    return b"x\0\0" + zlib.compress(bytes(size_bytes), 9)


def gif(frames: int) -> bytes:
    out = io.BytesIO()
    Image.new("P", (4, 4)).save(out, "GIF")
    content = out.getvalue()
    start = content.index(b",")
    return content[:start] + content[start:-1] * frames + b";"


def gif_beyond_its_screen() -> bytes:
    head = b"GIF89a" + struct.pack("<2H3B", 4, 4, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<4HB", 0, 0, 65_535, 65_535, 0) + b"\x02\x03\x84\x1f\x05\0;"


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A directory with these entries: tag, type, count and value."""
    table = b"".join(struct.pack("<2H2I", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<I", following)


WEBP_OF_16383 = bytes.fromhex("524946461c000000574542505650384c0f0000002ffebfff0f0710fd8ffe0722a2ff0100")
_LARGE_TIFF = ((256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 4))
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "a PNG of 16384 x 16384": ("png", png(16_384, 16_384), PIXELS),
    "a PNG of 2^31 x 2^31": ("png", png(4, 4)[:16] + struct.pack(">2I", 2**31 - 1, 2**31 - 1), BROKEN),
    "a PNG whose pixels are no zlib": ("png", png(4, 4, chunk(b"IDAT", b"no zlib at all")), BROKEN),
    "a PNG with a profile of 16 MB": ("png", png(4, 4, chunk(b"iCCP", inflating(16_000_000))), BROKEN),
    "a PNG with a text of 16 MB": ("png", png(4, 4, chunk(b"zTXt", inflating(16_000_000))), BROKEN),
    "a WebP of 16383 x 16383": ("webp", WEBP_OF_16383, PIXELS),
    "a GIF with a frame beyond its screen": ("gif", gif_beyond_its_screen(), PIXELS),
    "a TIFF of 60000 x 60000": ("tiff", tiff(*_LARGE_TIFF), PIXELS),
    "a TIFF whose directory is its own successor": ("tiff", tiff(following=8), BROKEN),
    "a TIFF with values behind its end": ("tiff", tiff((256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 1 << 30, 8)), BROKEN),
    "a drawing under a picture's name": ("png", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", BROKEN),
    "a PostScript under a picture's name": ("tiff", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", BROKEN),
    "nothing": ("jpg", b"", BROKEN),
}
"""By what each is: its extension, its bytes, and why there is no thumbnail of it."""
