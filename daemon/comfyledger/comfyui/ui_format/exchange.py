"""What goes through the pipes of the converting process, by kind."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comfyledger.errors import NodeMistake, Refused

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


def decoded(content: bytes) -> dict[str, Any]:
    """The graph in an answer. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(content, type=dict[str, Any])
