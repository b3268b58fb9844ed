"""A server of a few lines that speaks as the daemon does: for the laws of the Python client."""

from __future__ import annotations

import asyncio
import http
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, unix_serve

from comfyledger import wire
from comfyledger.errors import Refused
from support.waiting import until

BATCH = "01JD0000000000000000000001"
Answer = Callable[[dict[str, Any]], Any]


def accepted(data: dict[str, Any]) -> wire.BatchAccepted:
    return wire.BatchAccepted(BATCH, "e1", 1, 1, [1], ["Areg_opal-fever_image_1"])


def batch_info(status: str) -> wire.BatchInfo:
    return wire.BatchInfo(
        *(BATCH, status, "", "Areg", "Opal Fever", False, "empty-image", "normal", "default", "r", 0, 1),
        *(1, 0, 0, 1, 0, 0, 0),
    )


class AnsweringServer:
    """A door of a few lines at a socket: a log in memory, subscriptions over it, and answers that a test replaces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[str] = []
        self.epoch = "e1"
        self.token = "secret"
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.answers: dict[str, Answer] = {"submit_batch": accepted, "get_batch": lambda _: batch_info("settled")}
        self.silent: set[str] = set()
        self.live: list[wire.Answer] = []
        self.connections: set[ServerConnection] = set()
        self.server: Server | None = None
        self._grown = asyncio.Event()

    async def start(self) -> None:
        self.server = await unix_serve(self._speak, str(self.path), process_request=self._let_in, max_size=1_000_000)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def drop(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self.connections):
            connection.transport.abort()
        await until(lambda: not self.connections)

    def happen(self, *kinds: str) -> None:
        self.events += kinds
        self._grown.set()
        self._grown = asyncio.Event()

    def requests(self, kind: str) -> list[dict[str, Any]]:
        return [frame["data"] for frame in self.asked if frame["type"] == kind]

    def _let_in(self, connection: ServerConnection, request: Any) -> Any:
        self.headers.append(request.headers.get("Authorization", ""))
        if self.headers[-1] != f"Bearer {self.token}":
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "")
        return None

    async def _speak(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        cursors: dict[str, asyncio.Task[None]] = {}
        try:
            async for frame in connection:
                if len(frame) > 200_000:
                    refusal = wire.error_of(Refused("frame_too_large"))
                    await connection.send(wire.frame("error", refusal).decode())
                    continue
                await self._reply(connection, json.loads(frame), cursors)
        finally:
            self.connections.discard(connection)
            for cursor in cursors.values():
                cursor.cancel()

    async def _reply(
        self, connection: ServerConnection, frame: dict[str, Any], cursors: dict[str, asyncio.Task[None]]
    ) -> None:
        self.asked.append(frame)
        kind, number, data = frame["type"], frame["id"], frame["data"]
        if kind in self.silent:
            return
        try:
            answer = self._answer(kind, data, len(cursors))
        except Refused as refusal:
            await connection.send(wire.frame("error", wire.error_of(refusal), number).decode())
            return
        await connection.send(wire.frame("result", answer, number).decode())
        if kind == "subscribe":
            name, after = answer.subscription, data.get("after", 0)
            cursors[name] = asyncio.create_task(self._read_log(connection, name, after))
        if kind == "unsubscribe":
            cursors[data["subscription"]].cancel()

    def _answer(self, kind: str, data: dict[str, Any], cursors: int) -> Any:
        if kind == "hello":
            return wire.Welcome("comfyledger", "0", 1, data["client"], "l1", self.epoch, len(self.events))
        if kind == "subscribe":
            if data.get("after", 0) > 0 and data.get("epoch") != self.epoch:
                raise Refused("epoch_changed")
            return wire.Subscribed(f"s{cursors}", self.epoch, len(self.events))
        if kind == "unsubscribe":
            return wire.Unsubscribed(data["subscription"])
        return self.answers[kind](data)

    async def _read_log(self, connection: ServerConnection, name: str, after: int) -> None:
        position = len(self.events) if after < 0 else after
        for push in self.live:
            await connection.send(wire.frame("progress", push).decode())
        while True:
            for kind in self.events[position:]:
                position += 1
                event = {"subscription": name, "epoch": self.epoch, "position": position, "kind": kind}
                rest = {"at_ms": position, "stream": BATCH, "data": {"n": position}}
                await connection.send(wire.frame("event", event | rest).decode())
            await self._grown.wait()


def tell(state: Path, door: AnsweringServer) -> None:
    (state / "door.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "socket": str(door.path)}))
    (state / "token").write_text(door.token + "\n")
