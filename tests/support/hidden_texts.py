"""A search for a text in the bytes of a file, in every form in which a program may have hidden it there."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator

INFLATED_BYTES_MAX = 1_048_576


def forms(content: bytes) -> Iterator[bytes]:
    """The bytes, the same without zeros between letters (UTF-16), and whatever is compressed with zlib in them."""
    yield content
    yield content.replace(b"\0", b"")
    for found in re.finditer(rb"[\x08\x18\x28\x38\x48\x58\x68\x78][\x01\x5e\x9c\xda]", content):
        try:
            yield zlib.decompressobj().decompress(content[found.start() :], INFLATED_BYTES_MAX)
        except zlib.error:
            continue


def hides(content: bytes, text: bytes) -> bool:
    """Whether a text stands in these bytes: plain, with zeros between, compressed, as base64, or its first part."""
    words = (text, text[:16], base64.b64encode(text)[: len(text)])
    return any(word in form for form in forms(content) for word in words)
