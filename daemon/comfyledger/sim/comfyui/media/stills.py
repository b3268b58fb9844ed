"""What else the stand-in saves: animated WebP, PNG and GIF by Pillow, EXR and GLB by hand, each with its metadata."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec
from PIL import Image
from PIL.PngImagePlugin import PngInfo

_MODEL: Final = 0x0110
_FLOAT, _WHOLE, _ARRAY, _INDEX = 5126, 5125, 34962, 34963


class Mesh(msgspec.Struct, frozen=True):
    """A body with four corners, whose places follow from the seed text."""

    seed: str = ""


def animated_webp(pictures: Sequence[Image.Image], fps: float, metadata: Mapping[str, Any]) -> bytes:
    """An animated WebP, with the metadata in the EXIF fields `Model` and before."""
    exif = pictures[0].getexif()
    for place, (name, value) in enumerate(metadata.items()):
        exif[_MODEL - place] = f"{name}:{json.dumps(value)}"
    return _saved(pictures, "WEBP", fps, exif=exif, lossless=True)


def animated_png(pictures: Sequence[Image.Image], fps: float, metadata: Mapping[str, Any]) -> bytes:
    """An animated PNG, with the metadata in `comf` chunks behind the first picture."""
    chunks = PngInfo()
    for name, value in metadata.items():
        chunks.add(b"comf", name.encode() + b"\0" + json.dumps(value).encode(), after_idat=True)
    return _saved(pictures, "PNG", fps, pnginfo=chunks, compress_level=1)


def gif(pictures: Sequence[Image.Image], fps: float, _: Mapping[str, Any]) -> bytes:
    """An animated GIF, without metadata."""
    return _saved(pictures, "GIF", fps, loop=0)


def _saved(pictures: Sequence[Image.Image], kind: str, fps: float, **options: Any) -> bytes:
    out = io.BytesIO()
    duration, rest = int(1000 / fps), list(pictures[1:])
    pictures[0].save(out, kind, save_all=True, append_images=rest, duration=duration, **options)
    return out.getvalue()


def exr(picture: Image.Image, metadata: Mapping[str, Any]) -> bytes:
    """An OpenEXR file of 32-bit scan lines without compression; the metadata are `string` attributes of its header."""
    width, height = picture.size
    window = ("box2i", struct.pack("<4i", 0, 0, width - 1, height - 1))
    channel = struct.pack("<i4x2i", 2, 1, 1)
    attributes = {
        "channels": ("chlist", b"".join(name + b"\0" + channel for name in (b"B", b"G", b"R")) + b"\0"),
        "compression": ("compression", b"\0"),
        "dataWindow": window,
        "displayWindow": window,
        "lineOrder": ("lineOrder", b"\0"),
        "pixelAspectRatio": ("float", struct.pack("<f", 1)),
        "screenWindowCenter": ("v2f", bytes(8)),
        "screenWindowWidth": ("float", struct.pack("<f", 1)),
        **{name: ("string", json.dumps(value).encode()) for name, value in metadata.items()},
    }
    head = b"\x76\x2f\x31\x01\x02\0\0\0" + b"".join(_attribute(*one) for one in attributes.items()) + b"\0"
    lines = [_line(picture, row) for row in range(height)]
    first = len(head) + 8 * height
    places = struct.pack(f"<{height}Q", *(first + row * len(lines[0]) for row in range(height)))
    return head + places + b"".join(lines)


def _attribute(name: str, typed: tuple[str, bytes]) -> bytes:
    kind, value = typed
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def _line(picture: Image.Image, row: int) -> bytes:
    pixels = picture.crop((0, row, picture.width, row + 1)).tobytes()
    planes = b"".join(
        struct.pack(f"<{picture.width}f", *(byte / 255 for byte in pixels[plane::3])) for plane in (2, 1, 0)
    )
    return struct.pack("<2i", row, len(planes)) + planes


def glb(mesh: Mesh, metadata: Mapping[str, Any]) -> bytes:
    """A binary glTF 2.0; the metadata stand in `asset.extras`, each value as a text of JSON."""
    places = Random(hashlib.sha256(mesh.seed.encode()).digest())  # noqa: S311 - a body
    corners = [[round(places.uniform(-1, 1), 3) for _ in range(3)] for _ in range(4)]
    content = struct.pack("<12f", *(side for corner in corners for side in corner))
    content += struct.pack("<12I", 0, 1, 2, 0, 2, 3, 0, 3, 1, 1, 3, 2)
    asset: dict[str, Any] = {"version": "2.0", "generator": "ComfyUI"}
    if metadata:
        asset["extras"] = {name: json.dumps(value) for name, value in metadata.items()}
    bounds = {
        "max": [max(side) for side in zip(*corners, strict=True)],
        "min": [min(side) for side in zip(*corners, strict=True)],
    }
    described = {
        "asset": asset,
        "buffers": [{"byteLength": len(content)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48, "target": _ARRAY},
            {"buffer": 0, "byteOffset": 48, "byteLength": 48, "target": _INDEX},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": _FLOAT, "count": 4, "type": "VEC3", **bounds},
            {"bufferView": 1, "componentType": _WHOLE, "count": 12, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "mode": 4}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content
    return b"glTF" + struct.pack("<2I", 2, 12 + len(chunks)) + chunks
