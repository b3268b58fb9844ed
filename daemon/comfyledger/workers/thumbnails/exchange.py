"""What goes through the pipes of the drawing process, by kind. The file itself comes through a socket beside them."""

from __future__ import annotations

from typing import Final

import msgspec

from comfyledger.limited_process.exchange import packed

TASK: Final = b"D"
"""To the process: what is wanted of the file."""
THUMBNAIL: Final = b"T"
"""From the process: a WebP."""
REASON: Final = b"N"
"""From the process: why there is none, as the argument of `NotDrawn`, or `memory`."""


class NotDrawn(Exception):
    """There is no thumbnail. Its argument is the reason: `pixels`, `broken` or `codec`."""


class Task(msgspec.Struct, frozen=True):
    """A thumbnail that is wanted. `extension`: of the file; `side`: the longer one, in pixels."""

    extension: str
    side: int

    def frame(self) -> bytes:
        return packed(TASK, msgspec.json.encode(self))


def read(content: bytes) -> Task:
    return msgspec.json.decode(content, type=Task)
