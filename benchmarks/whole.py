"""The whole path with an instant ComfyUI: images a second, how soon an app gets an event, and whether a GPU would wait.

    python benchmarks/whole.py --images 300 --rounds 3

The peer uses the same stand-in, and both take turns. It posts a prompt, hears its end on the websocket, fetches the
file and writes it to disk, as fast as one process can, and remembers nothing. Ours numbers, logs, checks, keeps and
stores. A second peer shows what that must cost: it checks and keeps as durably and does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import itertools
import json
import os
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
from PIL import Image
from websockets.asyncio.client import connect

from measured import line, say
from processes import Daemon, daemon, peer, standin

AT_ONCE: Final = 3
"""Prompts of the peer in ComfyUI's queue, as many as ours."""
_colors = itertools.count()
SMALL: Final = {"width": 64, "height": 64, "color": 255}
SAVE: Final = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": ""}}
RELAYED: Final = 60
SECONDS_AN_IMAGE: Final = 0.05
GAPS: Final = 60


def graph(prefix: str, color: int) -> dict[str, Any]:
    empty = {"class_type": "EmptyImage", "inputs": {**SMALL, "batch_size": 1, "color": color}}
    return {"1": empty, "9": {**SAVE, "inputs": {**SAVE["inputs"], "filename_prefix": prefix}}}  # type: ignore[dict-item]


class Peer:
    """A bare client of ComfyUI."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self.heard_at: list[float] = []

    async def rendered_per_second(self, images: int) -> float:
        client_id = uuid.uuid4().hex
        async with (
            aiohttp.ClientSession() as session,
            connect(f"{self._url.replace('http', 'ws', 1)}/ws?clientId={client_id}", compression=None) as socket,
        ):
            ends: dict[str, asyncio.Future[float]] = {}
            listening = asyncio.create_task(self._listen(socket, ends))
            start = time.perf_counter()
            left = iter(range(images))

            async def worker() -> None:
                for number in left:
                    await self._render(session, client_id, number, ends)

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
            took = time.perf_counter() - start
            listening.cancel()
        return images / took

    async def _listen(self, socket: Any, ends: dict[str, asyncio.Future[float]]) -> None:
        async for frame in socket:
            if isinstance(frame, str):
                message = json.loads(frame)
                data = message["data"]
                if message["type"] == "executing" and data.get("node") is None:
                    ends[data["prompt_id"]].set_result(time.time())

    async def _render(
        self, session: aiohttp.ClientSession, client_id: str, number: int, ends: dict[str, asyncio.Future[float]]
    ) -> None:
        prompt_id = str(uuid.uuid4())
        ends[prompt_id] = asyncio.get_running_loop().create_future()
        prompt = graph(f"peer/{client_id}/{number}", next(_colors))
        body = {"prompt": prompt, "client_id": client_id, "prompt_id": prompt_id}
        async with session.post(f"{self._url}/prompt", json=body) as answer:
            await answer.read()
        await ends[prompt_id]
        async with session.get(f"{self._url}/history/{prompt_id}") as answer:
            (file,) = (await answer.json())[prompt_id]["outputs"]["9"]["images"]
        async with session.get(f"{self._url}/view", params=file) as answer:
            await self._keep(f"{client_id}-{number}.png", await answer.read())

    async def _keep(self, name: str, content: bytes) -> None:
        (self._folder / name).write_bytes(content)


class Careful(Peer):
    """A client that loses nothing but has no ledger. It hashes and decodes each image. It writes the image twice, as
    into a spool and a store: beside its place, synced, renamed, and the folder synced. It writes two lines to a durable
    log.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder)
        self._spool, self._store, self._log = folder / "spool", folder / "store", folder / "log"
        for place in (self._spool, self._store):
            place.mkdir()

    async def _keep(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._kept, name, content)

    def _kept(self, name: str, content: bytes) -> None:
        hashlib.sha256(content).hexdigest()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        for place in (self._spool, self._store):
            self._note(name)
            (place / f".{name}").write_bytes(content)
            _synced(place / f".{name}")
            (place / f".{name}").rename(place / name)
            _synced(place)

    def _note(self, name: str) -> None:
        with self._log.open("ab") as log:
            log.write(name.encode().ljust(4_096))
            log.flush()
            os.fdatasync(log.fileno())


def _synced(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class App:
    """An app of ours on its websocket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.pushed: asyncio.Queue[tuple[dict[str, Any], float]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame)
            if message["type"] == "event":
                self.pushed.put_nowait((message["data"], time.time()))
            elif message["type"] in {"result", "error"}:
                self._answers.put_nowait(message)

    async def ask(self, kind: str, **data: Any) -> dict[str, Any]:
        await self._socket.send(json.dumps({"type": kind, "id": 1, "data": data}))
        answer = await self._answers.get()
        if answer["type"] == "error":
            raise AssertionError(answer)
        return dict(answer["data"])

    async def rendered_per_second(self, images: int) -> float:
        """Seconds from the request until the whole batch is stored. No two images are equal, because ComfyUI would
        render equal ones once.
        """
        start = time.perf_counter()
        asked = {"request_id": uuid.uuid4().hex, "username": "Areg", "character": "Opal Fever"}
        wanted = [{"inputs": {"color": next(_colors)}} for _ in range(images)]
        batch = await self.ask("submit_batch", images=wanted, inputs=SMALL, **asked)
        while True:
            event, _ = await self.pushed.get()
            if event["kind"] == "batch_settled" and event["data"]["batch_id"] == batch["batch_id"]:
                if event["data"]["stored"] != images:
                    raise AssertionError(event)
                return images / (time.perf_counter() - start)


async def rates(ours: Daemon, url: str, folder: Path, images: int, rounds: int) -> tuple[float, float, float, float]:
    """The times of ours, of the bare peer and of the careful one, and the daemon's seconds of CPU for each image."""
    bare, careful = Peer(url, folder), Careful(url, folder)
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    async with connect(ours.websocket, additional_headers=ours.headers, compression=None, max_size=None) as socket:
        app = App(socket)
        await app.ask("subscribe", kinds=["batch_settled"])
        await app.rendered_per_second(10)
        used = ours.cpu_s()
        for _ in range(rounds):
            found[0].append(await app.rendered_per_second(images))
            found[1].append(await bare.rendered_per_second(images))
            found[2].append(await careful.rendered_per_second(images))
        used = ours.cpu_s() - used
    return median(found[0]), median(found[1]), median(found[2]), used / images / rounds


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
            await app.ask("submit_batch", quantity=1, inputs={**SMALL, "color": next(_colors)}, **asked)
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
    async with (
        connect(ours.websocket, additional_headers=ours.headers, compression=None, max_size=None) as socket,
        connect(relay, compression=None, max_size=None) as bare,
    ):
        app = App(socket)
        await app.ask("subscribe", kinds=["batch_settled"])
        heard = Heard(bare)
        await bare.ping()
        await app.rendered_per_second(images)
        return len(heard.at_s) - 1


async def measure(folder: Path, images: int, rounds: int) -> None:
    with (
        standin(folder) as url,
        daemon(folder, url) as ours,
        peer("whole_relay.py", url.replace("http", "ws", 1), folder=folder) as relay,
    ):
        mine, theirs, careful, cpu_s = await rates(ours, url, folder, images, rounds)
        said = f"a bare client of the same ComfyUI: {theirs:.0f}/s"
        say(line("whole.images", mine, theirs, "images/s", peer=said))
        say(line("whole.cpu", 1_000 * cpu_s, 1_000 / theirs, "ms/image", peer=f"{said}, {1_000 / theirs:.1f} ms each"))
        limit = f"a client without a ledger that decodes, stores and logs durably, twice each: {careful:.0f}/s"
        say(line("whole.limit", mine, careful, "images/s", floor=limit))
        later, hop = await more_ms(ours, relay)
        said = f"a bare relay, which needs {hop:.1f} ms from the request on"
        say({**line("whole.heard", later, hop, "ms later", floor=said)})


async def measure_gaps(folder: Path) -> None:
    with (
        standin(folder, SECONDS_AN_IMAGE) as url,
        daemon(folder, url) as ours,
        peer("whole_relay.py", url.replace("http", "ws", 1), folder=folder) as relay,
    ):
        moments = await idle_moments(ours, relay, GAPS)
        said = f"ends of prompts before the last: {GAPS - 1}"
        say(line("whole.idle", moments, GAPS - 1, "moments with an empty queue", floor=said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for work in (lambda folder: measure(folder, given.images, given.rounds), measure_gaps):
        with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
            asyncio.run(work(Path(name)))


if __name__ == "__main__":
    main()
