"""The process that draws thumbnails: an open file and what is wanted of it come in, a WebP or a reason goes out."""

from __future__ import annotations

import socket
import sys
from typing import Final

from PIL import Image

from comfyledger.limited_process import child
from comfyledger.workers.thumbnails import exchange
from comfyledger.workers.thumbnails.draw import drawn

MEMORY_BYTES: Final = 1_610_612_736
"""Of address space: a picture of the most pixels is in memory two to four times, as its decoder has it and as we do."""
PROCESSOR_S: Final = 10
"""For one file. The largest pictures take one to four, as JPEG less and as AVIF most."""


def main() -> None:
    """The argument is the descriptor of the socket through which files come."""
    Image.init()
    files = socket.socket(fileno=int(sys.argv[1]))
    child.limit(MEMORY_BYTES)
    for _, content in child.tasks(PROCESSOR_S):
        child.write(*_answer(files, exchange.read(content)))


def _answer(files: socket.socket, task: exchange.Task) -> tuple[bytes, bytes]:
    with child.received(files) as file:
        try:
            return exchange.THUMBNAIL, drawn(file, task.extension, task.side)
        except exchange.NotDrawn as reason:
            return exchange.REASON, str(reason).encode()
        except MemoryError:
            return exchange.REASON, b"memory"


if __name__ == "__main__":
    main()
