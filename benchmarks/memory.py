"""How much memory a daemon needs with 100,000 finished images, compared with a daemon that has a few.

python benchmarks/memory.py --images 100000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from websockets.asyncio.client import connect

from comfyledger.ledger.sqlite.writer import Ledger
from measured import line, say
from processes import Daemon, daemon
from scale_ledger import Life

GROUP: Final = 200
MIB: Final = 1_048_576
PAGES: Final = 20
"""Pages of the newest batches and of the log, read before anything is measured. What reading leaves in memory counts.
"""


def grown(folder: Path, images: int) -> None:
    """A ledger with `images` finished images."""
    path = folder / "state" / "ledger.db"
    path.parent.mkdir(parents=True)
    life = Life()
    with closing(Ledger.open(path)) as ledger:
        while ledger.head.position < 3.5 * images:  # events: about so many for each image
            life.more(ledger, GROUP)


async def read(ours: Daemon) -> None:
    async with connect(ours.websocket, additional_headers=ours.headers, compression=None, max_size=None) as socket:
        for page in range(PAGES):
            for kind, data in (("list_batches", {"limit": 100}), ("read_log", {"after": page * 200, "limit": 200})):
                await socket.send(json.dumps({"type": kind, "id": page, "data": data}))
                await socket.recv()


def held_mib(images: int) -> float:
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        folder = Path(name)
        grown(folder, images)
        with daemon(folder) as ours:
            asyncio.run(read(ours))
            return ours.rss_bytes() / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    many, few = held_mib(parser.parse_args().images), held_mib(100)
    say(line("memory.images", many, few, "MiB", peer=f"100 images: {few:.0f} MiB"))


if __name__ == "__main__":
    main()
