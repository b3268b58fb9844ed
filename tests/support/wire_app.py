"""An app that speaks the wire in raw frames, for tests of the door and of the whole system.

Nothing here is taken from the Python client or from `wire`. Conditions are polled until a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from support.waiting import DEADLINE_S, until

SMALL = {"width": 64, "height": 64}
"""Inputs that keep pictures small, and large enough for the stand-in to draw the number on them."""

Frame = dict[str, Any]


class Refusal(Exception):
    """The daemon's `error` to a request."""

    def __init__(self, data: Frame) -> None:
        self.code: str = data["code"]
        self.data = data
        super().__init__(f"{self.code}: {data['message']}")


class App:
    """One connection to the door. `events` are those of all its subscriptions, as they came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.events: list[Frame] = []
        self.pushed: list[Frame] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._reader.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for raw in self._socket:
                self._take(json.loads(raw))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the daemon has gone"))
                future.exception()

    def _take(self, frame: Frame) -> None:
        waiting = self._waiting.get(frame["id"]) if frame["id"] is not None else None
        if frame["type"] == "event":
            self.events.append(frame["data"])
        elif waiting is None or frame["type"] == "waiting":
            self.pushed.append(frame)
        elif frame["type"] == "error":
            waiting.set_exception(Refusal(frame["data"]))
        else:
            waiting.set_result(frame["data"])

    async def ask(self, kind: str, **data: Any) -> Frame:
        """Send a request and wait for its answer. Raises Refusal."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"type": kind, "id": number, "data": data}))
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._waiting[number]
        finally:
            del self._waiting[number]

    async def submit(self, request_id: str, username: str = "Areg", quantity: int = 3, **more: Any) -> Frame:
        asked: Frame = {"character": "Opal Fever", "inputs": SMALL, **more}
        if "images" not in asked:
            asked["quantity"] = quantity
        return await self.ask("submit_batch", request_id=request_id, username=username, **asked)

    async def batch(self, batch_id: str) -> Frame:
        return await self.ask("get_batch", batch_id=batch_id)

    async def settled(self, *batch_ids: str, deadline_s: float = DEADLINE_S) -> list[Frame]:
        """Wait until these batches are settled; how each ended, in this order."""
        await self.ask("subscribe", kinds=["batch_settled"])

        def all_settled() -> bool:
            assert not self._reader.done(), "the connection has ended"
            return set(batch_ids) <= {event["stream"] for event in self.events if event["kind"] == "batch_settled"}

        await until(all_settled, f"{batch_ids} are settled", deadline_s)
        return [await self.batch(batch_id) for batch_id in batch_ids]

    async def counted(self, state: str, least: int, batch_id: str) -> Frame:
        """Wait until at least so many images of a batch are in a state; the batch."""

        async def reached() -> Frame | None:
            batch = await self.batch(batch_id)
            return batch if batch[state] >= least else None

        batch: Frame = await until(reached, f"{state} of {batch_id} is at least {least}")
        return batch

    async def log(self) -> list[Frame]:
        """Every event of the log, from the first to the present."""
        head = (await self.ask("server_info"))["position"]
        subscription = (await self.ask("subscribe"))["subscription"]

        def mine() -> list[Frame]:
            return [event for event in self.events if event["subscription"] == subscription]

        await until(lambda: len(mine()) >= head, "the log is read")
        await self.ask("unsubscribe", subscription=subscription)
        return mine()


def coloured(count: int) -> list[Frame]:
    """Images of which none can be taken from ComfyUI's cache of the others."""
    return [{"inputs": {"color": 1_000 * number}} for number in range(1, count + 1)]


def check_gap_free(log: Sequence[Frame]) -> None:
    assert [event["position"] for event in log] == list(range(1, len(log) + 1))


def of_kind(log: Iterable[Frame], kind: str) -> list[Frame]:
    return [event for event in log if event["kind"] == kind]


@contextlib.contextmanager
def narrow_socket(url: str) -> Any:
    """A connection of which the kernel holds little, so that the daemon feels at once that nobody reads."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.connect((host, int(port)))
        yield narrow
