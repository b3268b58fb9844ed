"""The videos of the stand-in: one short clip that plays, in two containers, with its own mark and the prompt in it.

`clip.mp4` (H.264) and `clip.webm` (VP9, without cues and seek head) show a square that crosses 64 x 64 pixels in a
second; FFmpeg encoded them. What is added moves no offset that the files name: in the MP4 the index is the last box, in
the WebM nothing names offsets.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

_CLUSTER: Final = bytes.fromhex("1F43B675")
_SEGMENT: Final = bytes.fromhex("18538067")
_TRACK_UID: Final = bytes.fromhex("73C588")
"""The ID of the element and its length, 8 bytes."""


def mp4(mark: str, metadata: Mapping[str, Any]) -> bytes:
    """An MP4. `mark` stands in its `mdat` behind all samples, `metadata` as JSON in `moov.udta.meta`.

    The keys and values lie as FFmpeg writes them with `movflags=use_metadata_tags`, with which SaveVideo saves.
    """
    whole = _clip("clip.mp4")
    data, index = whole.index(b"mdat") - 4, whole.index(b"moov") - 4
    content = whole[data + 8 : index] + mark.encode()
    texts = _box(b"udta", _texts(metadata)) if metadata else b""
    return whole[:data] + _box(b"mdat", content) + _box(b"moov", whole[index + 8 :] + texts)


def webm(mark: str, metadata: Mapping[str, Any]) -> bytes:
    """A WebM. The number of its track comes from `mark`, and `metadata` stands as JSON in its tags."""
    whole = _clip("clip.webm")
    segment, cluster = whole.index(_SEGMENT), whole.index(_CLUSTER)
    number = whole.index(_TRACK_UID) + len(_TRACK_UID)
    tracks = whole[segment + 12 : number] + track_number(mark) + whole[number + 8 : cluster]
    content = tracks + (_tags(metadata) if metadata else b"") + whole[cluster:]
    return whole[:segment] + _SEGMENT + (1 << 56 | len(content)).to_bytes(8, "big") + content


def track_number(mark: str) -> bytes:
    """The 8 bytes by which a WebM shows for what it was made."""
    return hashlib.sha256(mark.encode()).digest()[:8]


@cache
def _clip(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _texts(metadata: Mapping[str, Any]) -> bytes:
    handler = _box(b"hdlr", bytes(8), b"mdta", bytes(13))
    names = b"".join(_box(b"mdta", name.encode()) for name in metadata)
    values = (_box(b"data", struct.pack(">II", 1, 0), json.dumps(value).encode()) for value in metadata.values())
    listed = b"".join(struct.pack(">II", 8 + len(value), place) + value for place, value in enumerate(values, 1))
    keys = _box(b"keys", struct.pack(">4xI", len(metadata)), names)
    return _box(b"meta", bytes(4), handler, keys, _box(b"ilst", listed))


def _tags(metadata: Mapping[str, Any]) -> bytes:
    simple = (
        _element("67C8", _element("45A3", name.upper().encode()), _element("4487", json.dumps(value).encode()))
        for name, value in metadata.items()
    )
    return _element("1254C367", _element("7373", _element("63C0"), *simple))


def _element(number: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes.fromhex(number) + (1 << 56 | len(body)).to_bytes(8, "big") + body
