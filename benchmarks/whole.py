"""The whole path of an image: images a second, processor time, context switches and calls to ComfyUI, how soon an app
gets an event, and whether a GPU would wait.

    python benchmarks/whole.py --images 300 --rounds 3
    python benchmarks/whole.py --real http://127.0.0.1:8188 --rounds 5

The clients of `whole_clients.py` use the same ComfyUI, and all take turns. The bare one posts a prompt, hears its end
on the websocket, fetches the file, writes it to disk and remembers nothing. Ours numbers, logs, checks, keeps and
stores. The careful one shows what that must cost: it checks and keeps as durably and does nothing else.

By default ComfyUI is a stand-in that renders at once. `--real` takes a ComfyUI of this machine, for 64x64 images alone:
what calls it gets, and whether its queue is empty, only a stand-in tells.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import struct
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from websockets.asyncio.client import connect

from measured import line, say
from processes import ComfyUI, Daemon, daemon, peer, standin
from whole_app import App, app_of
from whole_clients import COLORS, SMALL, Careful, Peer
from whole_rounds import Rounds, in_turns
from whole_standin import HEAD, SIDE, photo

RELAYED: Final = 60
SECONDS_AN_IMAGE: Final = 0.05
GAPS: Final = 60
LARGE: Final = {**SMALL, "width": SIDE, "height": SIDE}
LARGE_SHARE: Final = 5
"""So many times fewer large images than small ones."""
FLOOR_ROUNDS: Final = 15


async def rounds_of(
    ours: Daemon, comfyui: ComfyUI, folder: Path, images: int, rounds: int, size: dict[str, int]
) -> dict[str, Rounds]:
    """The rounds of the daemon, of the bare client and of the careful one."""
    (folder / "bare").mkdir()
    (folder / "careful").mkdir()
    bare, careful = Peer(comfyui.url, folder / "bare", size), Careful(comfyui.url, folder / "careful", size)
    async with app_of(ours, size) as app:
        clients = {"ours": (app, ours.pid), "bare": (bare, os.getpid()), "careful": (careful, os.getpid())}
        return await in_turns(comfyui, clients, images, rounds)


def rate_lines(name: str, found: dict[str, Rounds]) -> Iterator[dict[str, Any]]:
    mine, bare, careful = (found[who].of("rate") for who in ("ours", "bare", "careful"))
    said = f"a bare client of the same ComfyUI: {bare:.0f}/s"
    yield line(f"{name}.images", mine, bare, "images/s", peer=said)
    limit = f"a client without a ledger that decodes, stores and logs durably, twice each: {careful:.0f}/s"
    yield line(f"{name}.limit", mine, careful, "images/s", floor=limit)


def cost_lines(name: str, found: dict[str, Rounds]) -> Iterator[dict[str, Any]]:
    ours, bare, careful = (found[who] for who in ("ours", "bare", "careful"))
    said = f"the careful client: {careful.of('voluntary'):.0f}; and {ours.of('involuntary'):.0f} involuntary"
    yield line(f"{name}.switches", ours.of("voluntary"), careful.of("voluntary"), "voluntary an image", peer=said)
    said = f"for the bare client: {bare.of('comfyui_ms'):.2f} ms of ComfyUI's processor time"
    yield line(f"{name}.comfyui", ours.of("comfyui_ms"), bare.of("comfyui_ms"), "ms/image", peer=said)
    if ours.calls:
        kinds = ", ".join(f"{kind} {count:.2f}" for kind, count in ours.calls_by_kind.items())
        said = f"the bare client: {bare.calls:.2f}; ours: {kinds}"
        yield line(f"{name}.calls", ours.calls, bare.calls, "HTTP calls an image", peer=said)


def written_line(name: str, ours: Rounds, store: Path) -> dict[str, Any]:
    """What the daemon gives to the disk for an image, beside two copies of the file: for the spool and for the store.

    `store`: a folder with such files.
    """
    copies = 2 * mean(file.stat().st_size for file in store.iterdir()) / 1_024
    said = f"two copies of the file: {copies:.1f} KiB"
    return line(f"{name}.written", ours.of("written_kib"), copies, "KiB to disk an image", floor=said)


def cpu_line(name: str, ours: Rounds, other_ms: float, other: str, kind: str) -> dict[str, Any]:
    """The processor time of the daemon beside another's."""
    split = f"ours: {ours.of('user_ms'):.1f} user, {ours.of('system_ms'):.1f} system"
    return line(
        f"{name}.cpu", ours.of("cpu_ms"), other_ms, "ms/image", **{kind: f"{other}: {other_ms:.2f} ms; {split}"}
    )


async def more_ms(ours: Daemon, relay: str) -> tuple[float, float]:
    """How much later than a bare relay our app hears that a prompt is done, and how long the relay takes.

    The relay passes on the message about the queue, which ComfyUI sends to everybody at the end of a prompt. The app
    waits for `prompt_finished`.
    """
    later: list[float] = []
    hops: list[float] = []
    async with (
        connect(ours.websocket, additional_headers=ours.headers, compression=None, max_size=None) as socket,
        connect(relay, compression=None, max_size=None) as bare,
    ):
        app, heard = App(socket), Heard(bare)
        info = await app.ask("server_info")
        await app.ask("subscribe", kinds=["prompt_finished"], after=info["position"], epoch=info["epoch"])
        for _ in range(RELAYED):
            heard.empty.clear()
            asked = {"request_id": uuid.uuid4().hex, "username": "Areg", "character": "Opal Fever"}
            start = time.time()
            await app.ask("submit_batch", quantity=1, inputs={**SMALL, "color": next(COLORS)}, **asked)
            _, at_s = await app.pushed.get()
            await heard.empty.wait()
            ended_s = heard.at_s[-1]
            later.append(at_s - ended_s)
            hops.append(ended_s - start)
    return 1_000 * median(later), 1_000 * median(hops)


class Heard:
    """The times at which a message said that the queue was empty, and their number."""

    def __init__(self, socket: Any) -> None:
        self.at_s: list[float] = []
        self.empty = asyncio.Event()
        self._task = asyncio.create_task(self._read(socket))

    async def _read(self, socket: Any) -> None:
        async for frame in socket:
            if isinstance(frame, str) and '"queue_remaining":0' in frame.replace(" ", "") and '"sid"' not in frame:
                self.at_s.append(time.time())
                self.empty.set()


async def idle_moments(ours: Daemon, relay: str, images: int) -> int:
    """How often ComfyUI's queue was empty before the last image of a batch."""
    async with app_of(ours) as app, connect(relay, compression=None, max_size=None) as bare:
        heard = Heard(bare)
        await bare.ping()
        await app.rendered_per_second(images)
        return len(heard.at_s) - 1


def floor_ms(folder: Path) -> float:
    """Processor time to read a large file, to hash it with SHA-256 and MD5, and to inflate its pixels, once."""
    path = folder / "floor.png"
    path.write_bytes(photo())
    found: list[float] = []
    for _ in range(FLOOR_ROUNDS):
        start = time.process_time()
        content = path.read_bytes()
        hashlib.sha256(content).digest()
        hashlib.md5(content).digest()  # noqa: S324 (stores compare by it)
        zlib.decompress(b"".join(pixel_chunks(content)))
        found.append(1_000 * (time.process_time() - start))
    return median(found)


def pixel_chunks(png: bytes) -> Iterator[memoryview]:
    """What the IDAT chunks of a PNG hold."""
    view, at = memoryview(png), HEAD
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        if view[at + 4 : at + 8] == b"IDAT":
            yield view[at + 8 : at + 8 + size]
        at += 12 + size


@contextmanager
def comfyui_in(folder: Path, real: str) -> Iterator[ComfyUI]:
    """The real ComfyUI, if there is one; else a stand-in."""
    if real:
        yield ComfyUI(real)
    else:
        with standin(folder) as comfyui:
            yield comfyui


async def measure(folder: Path, images: int, rounds: int, real: str) -> None:
    with (
        comfyui_in(folder, real) as comfyui,
        daemon(folder, comfyui.url) as ours,
        peer("whole_relay.py", comfyui.url.replace("http", "ws", 1), folder=folder) as relay,
    ):
        found = await rounds_of(ours, comfyui, folder, images, rounds, SMALL)
        bare_ms = found["bare"].of("cpu_ms")
        for one in (
            *rate_lines("whole", found),
            cpu_line("whole", found["ours"], bare_ms, "the bare client", "peer"),
            *cost_lines("whole", found),
            written_line("whole", found["ours"], folder / "careful/store"),
        ):
            say(one)
        later, hop = await more_ms(ours, relay)
        said = f"a bare relay, which needs {hop:.1f} ms from the request on"
        say(line("whole.heard", later, hop, "ms later", floor=said))


async def measure_large(folder: Path, images: int, rounds: int) -> None:
    with peer("whole_standin.py", str(folder), folder=folder) as said:
        comfyui = ComfyUI(**json.loads(said))
        with daemon(folder, comfyui.url) as ours:
            found = await rounds_of(ours, comfyui, folder, images, rounds, LARGE)
            floor, text = floor_ms(folder), "reading, hashing (SHA-256, MD5) and inflating a file once"
            say(cpu_line("whole.large", found["ours"], floor, text, "floor"))
            for one in (*rate_lines("whole.large", found), *cost_lines("whole.large", found)):
                say(one)
            say(written_line("whole.large", found["ours"], folder / "careful/store"))


async def measure_gaps(folder: Path) -> None:
    with (
        standin(folder, "--seconds-per-image", str(SECONDS_AN_IMAGE)) as comfyui,
        daemon(folder, comfyui.url) as ours,
        peer("whole_relay.py", comfyui.url.replace("http", "ws", 1), folder=folder) as relay,
    ):
        moments = await idle_moments(ours, relay, GAPS)
        said = f"ends of prompts before the last: {GAPS - 1}"
        say(line("whole.idle", moments, GAPS - 1, "moments with an empty queue", floor=said))


def in_folder(work: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        asyncio.run(work(Path(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", default="", metavar="URL", help="of a ComfyUI of this machine, instead of stand-ins")
    given = parser.parse_args()
    in_folder(lambda folder: measure(folder, given.images, given.rounds, given.real))
    if given.real:
        print("whole.py: large images, calls and empty queues are measured with stand-ins alone", file=sys.stderr)
        return
    in_folder(lambda folder: measure_large(folder, max(1, given.images // LARGE_SHARE), given.rounds))
    in_folder(measure_gaps)


if __name__ == "__main__":
    main()
