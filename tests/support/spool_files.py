"""Files for tests of the spool, and how they come in."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

from PIL import Image

from comfyledger.workers.media.media_file import ProvedFile
from comfyledger.workers.spool.spool import Spool

LIMITS: dict[str, Any] = {"strip": True, "bytes_max": 1_000_000, "pixels_max": 1_000_000}


def image(kind: str = "PNG", colour: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (colour, 1, 2)).save(out, kind)
    return out.getvalue()


async def stream(content: bytes, piece: int = 100) -> AsyncIterator[bytes]:
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


async def keep(spool: Spool, index: int = 1, content: bytes | None = None, **limits: Any) -> ProvedFile:
    chunks = stream(image() if content is None else content)
    return await spool.keep("B1", index, 1, chunks, **{**LIMITS, **limits})
