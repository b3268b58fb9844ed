"""An app of ours on its websocket, which asks for images and waits until they are stored."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

from processes import Daemon
from whole_clients import COLORS, SMALL


class App:
    """An app of ours on its websocket."""

    def __init__(self, socket: Any, size: Mapping[str, int] = SMALL) -> None:
        self._socket, self._size = socket, size
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
        """Images a second, from the request until the whole batch is stored."""
        start = time.perf_counter()
        asked = {"request_id": uuid.uuid4().hex, "username": "Areg", "character": "Opal Fever"}
        wanted = [{"inputs": {"color": next(COLORS)}} for _ in range(images)]
        batch = await self.ask("submit_batch", images=wanted, inputs=self._size, **asked)
        while True:
            event, _ = await self.pushed.get()
            if event["kind"] == "batch_settled" and event["data"]["batch_id"] == batch["batch_id"]:
                if event["data"]["stored"] != images:
                    raise AssertionError(event)
                return images / (time.perf_counter() - start)


@asynccontextmanager
async def app_of(ours: Daemon, size: Mapping[str, int] = SMALL) -> AsyncIterator[App]:
    """An app that is connected and hears when its batches are settled."""
    async with connect(ours.websocket, additional_headers=ours.headers, compression=None, max_size=None) as socket:
        app = App(socket, size)
        await app.ask("subscribe", kinds=["batch_settled"])
        yield app
