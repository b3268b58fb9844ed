"""Two clients of ComfyUI that the daemon is compared with. They stay as they are: a faster daemon raises a ratio, a
slower client does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
from PIL import Image
from websockets.asyncio.client import connect

AT_ONCE: Final = 3
"""Prompts of a client in ComfyUI's queue, as many as ours."""
COLORS: Final = itertools.count()
"""No two images are equal, because ComfyUI would render equal ones once."""
SMALL: Final = {"width": 64, "height": 64, "color": 255}
SAVE: Final = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": ""}}


def graph(prefix: str, color: int, size: Mapping[str, int] = SMALL) -> dict[str, Any]:
    empty = {"class_type": "EmptyImage", "inputs": {**size, "batch_size": 1, "color": color}}
    return {"1": empty, "9": {**SAVE, "inputs": {**SAVE["inputs"], "filename_prefix": prefix}}}  # type: ignore[dict-item]


class Peer:
    """A bare client of ComfyUI: it posts a prompt, hears its end on the websocket, fetches the file and writes it to
    disk, as fast as one process can, and remembers nothing.
    """

    def __init__(self, url: str, folder: Path, size: Mapping[str, int] = SMALL) -> None:
        self._url, self._folder, self._size = url, folder, size
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
        prompt = graph(f"peer/{client_id}/{number}", next(COLORS), self._size)
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

    def __init__(self, url: str, folder: Path, size: Mapping[str, int] = SMALL) -> None:
        super().__init__(url, folder, size)
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
