"""Many stand-ins for ComfyUI in one process. Prints their addresses, and then writes how many of them are at work.

    python benchmarks/backends_standins.py COUNT SECONDS SPREAD FOLDER

Each needs SECONDS for an image, more or less by up to SPREAD of it, drawn with a fixed seed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from comfyledger.sim.comfyui.server import SimOptions, serve

SAMPLE_EVERY_S: Final = 0.02
BUSY: Final = "busy.jsonl"
"""A line for each sample: the time, and how many stand-ins have a prompt."""


async def main(count: int, seconds: float, spread: float, folder: Path) -> None:
    speeds = random.Random(7)  # noqa: S311 - the same speeds in each run
    async with AsyncExitStack() as stack:
        options = (
            SimOptions(
                output=folder / f"output-{number}", seconds_per_image=seconds * speeds.uniform(1 - spread, 1 + spread)
            )
            for number in range(count)
        )
        sims = [await stack.enter_async_context(await serve(one)) for one in options]
        print(json.dumps([sim.url for sim in sims]), flush=True)
        with (folder / BUSY).open("w", encoding="utf-8") as samples:
            while True:
                samples.write(json.dumps([time.time(), sum(not sim.is_idle for sim in sims)]) + "\n")
                samples.flush()
                await asyncio.sleep(SAMPLE_EVERY_S)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
