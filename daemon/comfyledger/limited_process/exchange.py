"""What goes through the pipes of a limited process: a kind, a length and as many bytes, in both directions."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

HEAD: Final = struct.Struct(">cQ")
READY: Final = b"R"
"""From the process, once, without content."""


def packed(kind: bytes, content: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(content)) + content


def read_from(pipe: BinaryIO) -> tuple[bytes, bytes] | None:
    """The next kind and content; None at the end of the pipe."""
    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    kind, length = HEAD.unpack(head)
    content = pipe.read(length)
    return (kind, content) if len(content) == length else None
