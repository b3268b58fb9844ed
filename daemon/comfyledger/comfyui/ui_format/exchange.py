"""What goes through the pipes of the converting process: a kind, a length and as many bytes, in both directions."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Final

import msgspec

from comfyledger.errors import NodeMistake, Refused

HEAD: Final = struct.Struct(">cQ")
READY: Final = b"R"
"""From the process, once, without content."""
CLASSES: Final = b"C"
"""To the process: an answer of `/object_info`. It replaces the one before."""
DOCUMENT: Final = b"D"
"""To the process: a document as JSON."""
GRAPH: Final = b"G"
"""From the process: the graph of the document."""
REFUSAL: Final = b"F"
"""From the process: why there is none."""


class Refusal(msgspec.Struct, frozen=True):
    """A `Refused` on its way between processes."""

    code: str
    message: str
    hint: str
    path: str
    mistakes: tuple[NodeMistake, ...] = ()

    @classmethod
    def of(cls, refused: Refused) -> Refusal:
        return cls(refused.code, refused.message, refused.hint, refused.path, refused.mistakes)

    def error(self) -> Refused:
        return Refused(self.code, self.message, hint=self.hint, path=self.path, mistakes=self.mistakes)


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


def decoded(content: bytes) -> dict[str, Any]:
    """The graph in an answer. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(content, type=dict[str, Any])
