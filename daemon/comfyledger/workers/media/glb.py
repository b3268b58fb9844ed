"""GLB: a binary glTF 2.0 whose chunks fill the file; what programs wrote into `extras` is masked in place."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, check_parts, take, truncated
from comfyledger.workers.media.masked import Mask, Measured

MAGIC: Final = b"glTF"
JSON_BYTES_MAX: Final = 64 * 1_048_576
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_KEY: Final = re.compile(r"\s*:\s*")
_scanned: Final = json.JSONDecoder()


def measure_glb(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the chunks of a GLB fill it: one of JSON first, then one of data or none."""
    file.seek(0)
    magic, version, stated = struct.unpack("<4s2I", take(file, 12))
    if stated > size:
        raise truncated()
    if magic != MAGIC or version != 2 or stated < size:
        raise Broken("structure", "The GLB has another version than 2, or goes on after its end.")
    at, kinds, masks = 12, list[bytes](), list[Mask]()
    while at < size:
        check_parts(len(kinds))
        file.seek(at)
        length, kind = struct.unpack("<I4s", take(file, 8))
        if at + 8 + length > size:
            raise truncated()
        kinds.append(kind)
        if len(kinds) == 1:
            masks = list(_extras(file, at + 8, length))
        at += 8 + length
    if kinds[:1] != [b"JSON"]:
        raise Broken("structure", "The GLB does not begin with its description.")
    return Measured("glb", masks=tuple(masks))


def _extras(file: BinaryIO, at: int, length: int) -> Iterator[Mask]:
    """Every value of a key `extras` becomes an empty object and spaces, or 0 where that is too long."""
    if length > JSON_BYTES_MAX:
        raise Broken("structure", f"The description of the GLB has more than {JSON_BYTES_MAX} bytes.")
    text = _described(take(file, length))
    end = 0
    for found in _STRING.finditer(text):
        key = _KEY.match(text, found.end())
        if found.start() < end or key is None or json.loads(found[0]) != "extras":
            continue
        _, end = _scanned.raw_decode(text, key.end())
        span = end - key.end()
        yield Mask(at + key.end(), span, b"{}" if span > 1 else b"0", b" ")


def _described(raw: bytes) -> str:
    """The JSON of a glTF, one character for each byte, so that places in it are offsets. Raises Broken."""
    try:
        asset: Any = json.loads(raw)
        if not isinstance(asset, dict) or not isinstance(asset.get("asset"), dict):
            raise ValueError("it describes no asset")
    except (ValueError, RecursionError) as error:
        raise Broken("structure", f"The description of the GLB cannot be read: {str(error)[:100]}.") from error
    return raw.decode("latin-1")
