"""One daemon in front of many ComfyUIs: how busy they are, and what an image costs the daemon beside one ComfyUI.

    python benchmarks/backends.py --backends 100 --seconds 5 --images 1600 --spread 0.5
    python benchmarks/backends.py --backends 8 --seconds 0 --images 400 --rounds 3

The stand-ins run in one process. The peer is the same daemon with one stand-in that is as fast as all of them together,
so that images come at the same rate. Stand-ins that render at once (`--seconds 0`) are never busy: then only the
daemon's processor time and the rate are compared, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any, Final, NamedTuple

from backends_standins import BUSY
from measured import line, say
from processes import Daemon, daemon, peer
from whole_app import App, app_of
from whole_clients import COLORS, SMALL

USERS: Final = 10
BATCH: Final = 20
MIDDLE: Final = (0.1, 0.9)
"""The part of the time in which the share is taken: neither the first prompts nor the last ones."""
CONNECTING: Final = 300
CONNECTED_S: Final = 0.1
"""How often, and after how long, the daemon is asked whether all are connected."""
MIB: Final = 2**20


class Ran(NamedTuple):
    """A run: its images, begin and end, seconds of the daemon's processor for one, and the daemon's memory after it."""

    images: int
    began: float
    ended: float
    cpu_s: float
    rss_bytes: int


@contextmanager
def several(folder: Path, count: int, seconds: float, spread: float) -> Iterator[Daemon]:
    """A daemon in front of so many stand-ins, below a folder of its own."""
    folder.mkdir()
    words = (str(count), str(seconds), str(spread), str(folder))
    with peer("backends_standins.py", *words, folder=folder) as said, daemon(folder, json.loads(said)) as ours:
        yield ours


async def rendered(ours: Daemon, images: int) -> Ran:
    """Ask for images in batches of several users, and wait until all are stored."""
    async with app_of(ours) as app:
        for _ in range(CONNECTING):
            if all(one["connected"] for one in (await app.ask("server_info"))["backends"]):
                break
            await asyncio.sleep(CONNECTED_S)
        used, began = ours.cpu_s(), time.time()
        batches = [await submitted(app, number, size) for number, size in enumerate(sizes(images))]
        await settled(app, {batch["batch_id"] for batch in batches}, images)
        return Ran(images, began, time.time(), (ours.cpu_s() - used) / images, ours.rss_bytes())


def sizes(images: int) -> Iterator[int]:
    for begin in range(0, images, BATCH):
        yield min(BATCH, images - begin)


async def submitted(app: App, number: int, size: int) -> dict[str, Any]:
    """No two images are equal, because ComfyUI would render equal ones once."""
    asked = {"request_id": uuid.uuid4().hex, "username": f"User {number % USERS}", "character": "Opal Fever"}
    wanted = [{"inputs": {"color": next(COLORS)}} for _ in range(size)]
    return await app.ask("submit_batch", images=wanted, inputs=SMALL, **asked)


async def settled(app: App, batches: set[str], images: int) -> None:
    """Wait until all images of these batches are stored. The app hears of earlier batches too."""
    while batches:
        about = (await app.pushed.get())[0]["data"]
        if about["batch_id"] in batches:
            batches.remove(about["batch_id"])
            images -= about["stored"]
    if images:
        raise AssertionError(f"{images} images are not stored")


def in_turns(folder: Path, backends: int, images: int, rounds: int) -> tuple[list[Ran], list[Ran]]:
    """Rounds of a daemon with one instant stand-in, and of one with several. They take turns."""
    found: tuple[list[Ran], list[Ran]] = ([], [])
    with several(folder / "one", 1, 0.0, 0.0) as one, several(folder / "many", backends, 0.0, 0.0) as many:
        for ours in (one, many):
            asyncio.run(rendered(ours, BATCH))
        for number in range(rounds):
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                found[place].append(asyncio.run(rendered((one, many)[place], images)))
    return found


def measure_instant(folder: Path, backends: int, images: int, rounds: int) -> None:
    one, many = in_turns(folder, backends, images, rounds)
    cpu, rate = ([1_000 * median(ran.cpu_s for ran in runs) for runs in (many, one)], [rate_of(many), rate_of(one)])
    said = f"one instant stand-in, {{:.2f}}; ours with {backends}"
    say(line("backends.instant.cpu", *cpu, "ms/image", peer=said.format(cpu[1])))
    say(line("backends.instant.images", *rate, "images/s", peer=said.format(rate[1])))


def rate_of(runs: list[Ran]) -> float:
    """Images a second: the median of the rounds."""
    return median(ran.images / (ran.ended - ran.began) for ran in runs)


def busy(folder: Path, ran: Ran) -> float:
    """How many stand-ins had a prompt in the middle of the run, on average."""
    begin, end = (ran.began + part * (ran.ended - ran.began) for part in MIDDLE)
    with (folder / BUSY).open(encoding="utf-8") as lines:
        samples = (json.loads(one) for one in lines if one.endswith("\n"))
        return mean(count for at, count in samples if begin <= at <= end)


def measure(folder: Path, backends: int, seconds: float, images: int, spread: float) -> None:
    with several(folder / "one", 1, seconds / backends, 0.0) as ours:
        one = asyncio.run(rendered(ours, max(1, images // 4)))
    with several(folder / "many", backends, seconds, spread) as ours:
        many = asyncio.run(rendered(ours, images))
    at_work = busy(folder / "many", many)
    said = f"{backends} stand-ins of {seconds:g} s an image, spread {spread:g}, load {os.getloadavg()[0]:.1f}"
    same = f"one stand-in of {seconds / backends:g} s an image"
    say(line("backends.busy", at_work / backends, 1.0, "of the time", floor=said))
    say(line("backends.cpu", 1_000 * many.cpu_s, 1_000 * one.cpu_s, "ms/image", peer=same))
    say({**line("backends.memory", many.rss_bytes, one.rss_bytes, "", peer=same), **more(many, one)})


def more(many: Ran, one: Ran) -> dict[str, Any]:
    return {"value": round((many.rss_bytes - one.rss_bytes) / MIB, 1), "unit": "MiB more"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backends", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--images", type=int, default=1_600)
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3, help="of instant stand-ins")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        if given.seconds > 0:
            measure(Path(name), given.backends, given.seconds, given.images, given.spread)
        else:
            measure_instant(Path(name), given.backends, given.images, given.rounds)


if __name__ == "__main__":
    main()
