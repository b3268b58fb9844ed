"""A stand-in for ComfyUI whose images are of 1.5 MB, as photographs of 1024x1024 are, and cost it no drawing.

    python benchmarks/whole_standin.py FOLDER

All images have the same pixels. Each has the graph in a text chunk, as ComfyUI writes it.
"""

from __future__ import annotations

import asyncio
import io
import json
import signal
import struct
import sys
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from PIL import Image

from comfyledger.comfyui.messages import ViewFile
from comfyledger.sim.comfyui.catalogue import NODES
from comfyledger.sim.comfyui.nodes import Saved, Surroundings, shown
from comfyledger.sim.comfyui.pictures import plan_save
from comfyledger.sim.comfyui.server import SimOptions, serve

SIDE: Final = 1_024
NOISE: Final = bytes(96 + value % 8 for value in range(256))
"""Three random bits in each byte, of which deflate makes about 1.5 MB."""
HEAD: Final = 33
"""Of a PNG: the signature and IHDR."""


@cache
def photo() -> bytes:
    """A PNG of SIDE by SIDE pixels, as ComfyUI would compress it."""
    pixels = Random(7).randbytes(SIDE * SIDE * 3).translate(NOISE)  # noqa: S311 (a picture)
    file = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), pixels).save(file, "PNG", compress_level=4)
    return file.getvalue()


def with_text(png: bytes, key: str, value: str) -> bytes:
    body = b"tEXt" + key.encode() + b"\0" + value.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:HEAD] + chunk + png[HEAD:]


def save_photo(inputs: dict[str, Any], around: Surroundings) -> Saved:
    """In place of SaveImage."""
    plan = plan_save(around.folders.output, inputs["filename_prefix"], inputs["images"][0], around.now)
    name = plan.filename(0)
    (plan.folder / name).write_bytes(with_text(photo(), "prompt", json.dumps(around.metadata["prompt"])))
    return shown("images", [ViewFile(name, plan.subfolder, "output")], inputs["images"])


async def main(folder: Path) -> None:
    NODES["SaveImage"] = msgspec.structs.replace(NODES["SaveImage"], run=save_photo)  # type: ignore[index]
    photo()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await serve(SimOptions(output=folder / "output")) as running:
        print(json.dumps({"url": running.url, "control": running.control_url}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
