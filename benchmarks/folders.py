"""What ComfyUI pays for a save after it has saved 100,000 of our images: it lists the folder to find its counter.

    python benchmarks/folders.py --images 100000 --rounds 5

SaveImage lists the folder of its prefix and takes the highest counter (ComfyUI's `get_save_image_path`). Here this is
modelled on real folders. Each batch has a subfolder of its own, so each listing is short. The peer is a save into an
empty output folder. For comparison: the same images in one folder, as they would be without comfyledger. Also our own
folder store: a put beside as many files of one character, compared with a put beside none.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Final

from comfyledger.plugin_api import Deposit, Stored
from comfyledger_folder.disk import Disk
from measured import in_turns, line, say

SAVES: Final = 200
SHARED_SAVES: Final = 10
PUTS: Final = 100
A_BATCH: Final = 8


def save(output: Path, prefix: str) -> None:
    """A save as ComfyUI does it, without the picture."""
    folder, name = output / os.path.dirname(prefix), os.path.basename(prefix)
    folder.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(name) + r"_(\d+)_")
    counters = [int(found[1]) for found in map(pattern.match, os.listdir(folder)) if found]
    (folder / f"{name}_{max(counters, default=0) + 1:05}_.png").touch()


def prefix_of(batch: int, image: int) -> str:
    """The prefix of one of our attempts (ARCHITECTURE.md, section 4)."""
    return f"comfyledger/01jd{batch:022}/{image}-a1"


def fill(output: Path, images: int) -> None:
    for number in range(images):
        path = output / f"{prefix_of(number // A_BATCH, 1 + number % A_BATCH)}_00001_.png"
        if number % A_BATCH == 0:
            path.parent.mkdir(parents=True)
        path.touch()


class Output:
    """An output folder, and saves into batches that are new to it."""

    def __init__(self, folder: Path, images: int, shared: str = "") -> None:
        self._folder, self._next, self._shared = folder, images, shared
        if shared:
            folder.mkdir()
            for number in range(images):
                (folder / f"{shared}_{number:05}_.png").touch()
        else:
            fill(folder, images)

    def us_a_save(self, saves: int = SAVES) -> float:
        start = time.perf_counter()
        for _ in range(saves):
            self._next += 1
            save(self._folder, self._shared or prefix_of(self._next // A_BATCH, 1 + self._next % A_BATCH))
        return 1e6 * (time.perf_counter() - start) / saves


class Store:
    """The folder store: it puts one image after the other into a folder with other files."""

    def __init__(self, root: Path, folder: str) -> None:
        self._disk, self._folder, self._numbers = Disk(root, root / "state"), folder, itertools.count()
        self._source = root / "source"
        self._source.write_bytes(b"an image")
        self._put()

    def _put(self) -> None:
        number = next(self._numbers)
        sha256, md5 = (hashlib.new(kind, b"an image").hexdigest() for kind in ("sha256", "md5"))
        name = f"{self._folder}/x_{number}"
        one = Deposit(f"batch/{number}", name, "png", self._source, sha256, md5, 8, first_attempt=True)
        if not isinstance(outcome := self._disk.put(one), Stored):
            raise AssertionError(outcome)

    def us_a_put(self) -> float:
        start = time.perf_counter()
        for _ in range(PUTS):
            self._put()
        return 1e6 * (time.perf_counter() - start) / PUTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        folder = Path(name)
        full, empty = Output(folder / "full", given.images), Output(folder / "empty", 0)
        shared = Output(folder / "shared", given.images, "ComfyUI")
        os.sync()  # or the disk would still be at work on what was filled
        mine, none = in_turns(given.rounds, full.us_a_save, empty.us_a_save)
        together = shared.us_a_save(SHARED_SAVES)
        beside, alone = in_turns(given.rounds, Store(folder, "shared").us_a_put, Store(folder, "alone").us_a_put)
    said = f"a save into an empty output folder: {none:.0f} us"
    say(line("folders.save", mine, none, "us", peer=said))
    say(line("folders.shared", together, none, "us", peer=said))
    said = f"a put into a folder of its own: {alone:.0f} us"
    say(line("folders.put", beside, alone, "us", peer=said))


if __name__ == "__main__":
    main()
