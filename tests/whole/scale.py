"""The size of a real user's collection, 2,700 characters of 60 images each, in a ledger and in an account, and what it
takes to look at all of it.

    python tests/whole/scale.py --characters 2700

The ledger is written through the core, in large groups; the account is a stand-in that holds the same images and gives
as many Admin calls an hour as a real one. The daemon and each command run as processes of their own. Printed are the
seconds and the most memory that each ever held (VmHWM).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.decide.decide import Policy, decide, needs
from comfyledger.core.decide.recorder import Draft
from comfyledger.core.events import (
    Event,
    ImageKept,
    ImageUploaded,
    PromptAccepted,
    PromptFinished,
    PromptSubmitting,
    UploadStarted,
)
from comfyledger.core.keys import whole_batch
from comfyledger.core.results import Accepted
from comfyledger.core.values import ImageNamed, OutputFile, PromptFixed, StoreRef, prompt_uuid
from comfyledger.ledger.sqlite.writer import Ledger
from support.cloudinary_process import CloudHouse
from support.ledger_builders import NOW_MS, submission
from support.processes import Daemon

IMAGES_EACH: Final = 60
USERS: Final = 50
GROUP: Final = 100
SEEDS: Final = 500
BYTES: Final = 1_500_000
ADMIN_BUDGET: Final = 500
"""Calls an hour, those of the free plan."""
PEAK_BYTES_MAX: Final = 300 * 2**20
STORE: Final = StoreRef("cloud", "cloudinary:demo/dynamic")

_PROGRAM: Final = """
import atexit, pathlib, sys
note = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: note.write_text(pathlib.Path("/proc/self/status").read_text()))
from comfyledger.__main__ import main
sys.exit(main())
"""
"""The command line, which says at its end what it held. Its parent's memory is not in it, as it would be in rusage."""


# ---- a ledger and an account of that size


def fill_ledger(path: Path, first: int, beyond: int) -> list[str]:
    """One batch for each character, everything stored, for so many characters more. The stems of the names given."""
    ledger = Ledger.open(path)
    stems: list[str] = []
    for start in range(first, beyond, GROUP):
        with ledger.group():
            stems += [_take_batch(ledger, number) for number in range(start, min(start + GROUP, beyond))]
    ledger.close()
    return stems


def _take_batch(ledger: Ledger, number: int) -> str:
    request = _request(number)
    with ledger.message():
        state = ledger.load(needs(request))
        decision = decide(state, request, NOW_MS, ledger.head.position, Policy())
        ledger.write(decision.recorded, state, (request.template,))
    assert isinstance(decision.answer, Accepted)
    with ledger.message():
        state = ledger.load(whole_batch(request.batch_id))
        draft = Draft(state, NOW_MS, ledger.head.position)
        for event in _story(request.batch_id, decision.answer.images):
            draft.emit(event)
        draft.settle(request.batch_id)
        ledger.write(tuple(draft.recorded), state, ())
    return decision.answer.images[0].public_id[:-1]


def _request(number: int) -> SubmitBatch:
    plain = submission(
        f"r{number}", user=f"User {number % USERS}", character=f"Character {number}", quantity=IMAGES_EACH
    )
    prompt = PromptFixed(1, tuple(range(1, IMAGES_EACH + 1)), 1, "main")
    return msgspec.structs.replace(plain, batch_id=f"01JD{number:022d}", prompts=(prompt,), stores=(STORE,))


def _story(batch_id: str, images: tuple[ImageNamed, ...]) -> Iterator[Event]:
    """One prompt that renders all, and every image on its way into the store."""
    about = (batch_id, 1, 1)
    yield PromptSubmitting(*about, prompt_uuid(*about), "main")
    yield PromptAccepted(*about)
    folder = f"comfyledger/{batch_id}"
    yield PromptFinished(*about, tuple(OutputFile(f"1-a1_{i.index:05}_.png", folder, "output") for i in images))
    for image in images:
        md5 = hashlib.md5(image.public_id.encode()).hexdigest()
        yield ImageKept(*about, image.index, image.file, md5 * 2, md5, BYTES, 1024, 1024, "png")
        yield UploadStarted(batch_id, image.index, STORE.name, 1)
        url = f"https://res.cloudinary.com/demo/image/upload/v1700000000/{image.public_id}.png"
        yield ImageUploaded(batch_id, image.index, image.file, STORE.name, url, details={"bytes": BYTES, "etag": md5})


def seed(house: CloudHouse, stems: list[str], start: int = 1, count: int = IMAGES_EACH) -> None:
    """So many images of each series into the account; the stand-in's seeds have the MD5 of their public id."""
    seeds = [{"prefix": stem, "start": start, "count": count, "bytes": BYTES} for stem in stems]
    for first in range(0, len(seeds), SEEDS):
        house.account.control(seed=seeds[first : first + SEEDS])


# ---- what it takes


@dataclass(frozen=True)
class Took:
    """What one process took, and what it said."""

    name: str
    seconds: float
    peak_bytes: int
    code: int | None = 0
    out: bytes = b""
    aside: str = ""

    def __str__(self) -> str:
        return f"{self.name:32}{self.seconds:8.1f} s{self.peak_bytes / 2**20:9.1f} MiB"


class Scale:
    """A daemon with such a ledger in front of such an account."""

    def __init__(self, house: CloudHouse) -> None:
        self.house = house
        house.daemon = Daemon(house.folder, house.folder / "config.toml", house.state)
        self._stems: list[str] = []

    async def begin(self) -> None:
        """Start the stand-ins, for a ledger and an account without anything."""
        await asyncio.gather(self.house.account.begin(), self.house.comfyui.begin())
        self.house.account.control(admin_budget=ADMIN_BUDGET)
        self.house.configure()

    def fill(self, characters: int) -> None:
        """So many characters more, while no daemon runs."""
        new = fill_ledger(self.house.state / "ledger.db", len(self._stems), len(self._stems) + characters)
        seed(self.house, new)
        self._stems += new

    async def open(self) -> Took:
        began = time.monotonic()
        await self.house.daemon.begin()
        return self.daemon("daemon, until its door opens", time.monotonic() - began)

    def daemon(self, name: str, seconds: float = 0.0) -> Took:
        return Took(name, seconds, self.house.daemon.peak_bytes())

    async def run(self, *words: str) -> Took:
        """A command of the command line."""
        note = self.house.folder / f"{words[0]}.status"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COMFYLEDGER_")}
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, str(note), "--state-dir", str(self.house.state), *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        out, aside = await process.communicate()
        seconds = time.monotonic() - began
        peak = 1024 * int(note.read_text().partition("VmHWM:")[2].split()[0])
        return Took(" ".join(words[:3]), seconds, peak, process.returncode, out, aside.decode())

    async def audit(self) -> Took:
        """With the stores, in an hour of its own."""
        self.house.account.control(admin_used=0)
        return await self.run("audit", "--stores", "--json", "--config", str(self.house.folder / "config.toml"))

    async def take_over(self, more: int = 1) -> Took:
        """Somebody else has put more images of each character into the account; an import, in an hour of its own."""
        seed(self.house, self._stems, IMAGES_EACH + 1, more)
        self.house.account.control(admin_used=0)
        return await self.run("import", "cloudinary", "--json")

    def calls(self) -> int:
        """Admin calls of this hour."""
        return int(self.house.account.control()["admin_used"])


async def measure(folder: Path, characters: int) -> None:
    made = Scale(CloudHouse(folder))
    try:
        await made.begin()
        began = time.monotonic()
        made.fill(characters)
        print(f"{characters * IMAGES_EACH:,} images; made in {time.monotonic() - began:.0f} s")
        print(_whole(await made.open()))
        for words in (
            ("status",),
            ("batches",),
            ("batches", "--json", "--limit", "500"),
            ("images", "--json", "--limit", "500"),
            ("images", "--state", "parked"),
        ):
            print(_whole(await made.run(*words)))
        print(_whole(await made.audit()), f"{made.calls()} Admin calls")
        print(_whole(await made.take_over()), f"{made.calls()} Admin calls")
        print(_whole(made.daemon("daemon, after all of these")))
    finally:
        made.house.end()


def _whole(took: Took) -> Took:
    """As it was, if it was well and within its memory."""
    assert took.peak_bytes < PEAK_BYTES_MAX, took
    assert took.code == 0, f"{took.name}: {took.code}: {took.aside}{took.out[:2000].decode()}"
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--characters", type=int, default=2_700, help=f"each has {IMAGES_EACH} images")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="comfyledger-scale-") as name:
        asyncio.run(measure(Path(name), given.characters))


if __name__ == "__main__":
    main()
