"""The websockets of the stand-in: who is connected, and the one loop that sends.

Sockets are kept by client id as in ComfyUI, with its faults. A second socket of the same id replaces the first. When
the end of the first is noticed, the second is removed and receives nothing more (recording `zombie`). One loop sends
everything in order, so a client that does not read blocks all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as tcp
import struct
import uuid
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from comfyledger.comfyui.messages import PREVIEW, PREVIEW_WITH_METADATA
from comfyledger.sim.comfyui.faults import Breaking

OUTBOX_FRAMES_MAX: Final = 100_000
_JPEG: Final = 1
_BEGUN_FRAME: Final = b'\x81\x7e\x10\x00{"type": "progress", "data"'
"""The head of a text frame of 4,096 bytes, and the first few of them."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

FEATURES: Final[dict[str, Any]] = {
    "supports_preview_metadata": True,
    "supports_model_type_tags": True,
    "max_upload_size": 104_857_600,
    "extension": {"manager": {"supports_v4": True}},
    "node_replacements": True,
    "assets": False,
}

Frame = str | bytes


class _Socket:
    def __init__(self, response: web.WebSocketResponse, request: web.Request) -> None:
        self.response = response
        self.request = request
        self.wants_metadata = False
        self.is_half_open = False
        self.outlived = False
        """Whether the server that opened it has gone. A client that uses it again gets a reset."""

    def abort(self) -> None:
        if self.request.transport:
            self.request.transport.abort()

    def reset_within_frame(self) -> None:
        if self.request.transport:
            self.request.transport.write(_BEGUN_FRAME)
            self.request.transport.get_extra_info("socket").setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, _RESET_ON_CLOSE)
            self.request.transport.abort()

    def half_open(self) -> None:
        self.is_half_open = True
        if isinstance(self.request.transport, asyncio.ReadTransport):
            self.request.transport.pause_reading()

    def mend(self) -> None:
        if self.outlived:
            self.abort()
        elif self.is_half_open and isinstance(self.request.transport, asyncio.ReadTransport):
            self.is_half_open = False
            self.request.transport.resume_reading()


class Sockets:
    """`deaf` makes the sending loop drop everything while the sockets stay open."""

    def __init__(self) -> None:
        self.deaf = False
        self.open: set[_Socket] = set()
        self._by_client: dict[str, _Socket] = {}
        self._outbox: asyncio.Queue[tuple[str | None, Frame]] = asyncio.Queue(OUTBOX_FRAMES_MAX)

    async def settled(self) -> None:
        """Wait until everything in the outbox is sent."""
        await self._outbox.join()

    def send(self, event: str, fields: Any, client_id: str | None) -> None:
        """Send a message to one client, or to all for None."""
        if client_id is None or self.is_listening(client_id):
            self._put(client_id, _text(event, fields))

    def send_preview(self, jpeg: bytes, about: dict[str, Any], client_id: str) -> None:
        """Send a preview of the type that the client asked for."""
        if self.wants_metadata(client_id):
            head = json.dumps(about | {"image_type": "image/jpeg"}).encode()
            self._put(client_id, _numbers(PREVIEW_WITH_METADATA, len(head)) + head + jpeg)
        else:
            self._put(client_id, _numbers(PREVIEW, _JPEG) + jpeg)

    @property
    def listening(self) -> int:
        """How many sockets receive broadcasts."""
        return 0 if self.deaf else sum(not socket.is_half_open for socket in self._by_client.values())

    def is_listening(self, client_id: str | None) -> bool:
        """Whether a socket of this client is connected."""
        return client_id in self._by_client

    def wants_metadata(self, client_id: str) -> bool:
        """Whether the client announced at its start that it accepts previews of type 4."""
        socket = self._by_client.get(client_id)
        return socket is not None and socket.wants_metadata

    async def send_forever(self) -> None:
        """Send everything in the outbox, until cancelled."""
        while True:
            client_id, frame = await self._outbox.get()
            targets = [s for c, s in self._by_client.items() if client_id in (None, c) and not s.is_half_open]
            for socket in [] if self.deaf else targets:
                await _send(socket.response, frame)
            self._outbox.task_done()

    async def listen(self, request: web.Request, remaining: int, running: dict[str, Any] | None) -> web.StreamResponse:
        """Serve one socket until it closes. `running`: the node that its client's prompt is at."""
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        response = web.WebSocketResponse()
        await response.prepare(request)
        socket = _Socket(response, request)
        self.open.add(socket)
        self._by_client[client_id] = socket
        try:
            depth = {"status": {"exec_info": {"queue_remaining": remaining}}, "sid": client_id}
            await _send(response, _text("status", depth))
            if running:
                await _send(response, _text("executing", running))
            await self._read(socket)
        finally:
            self.open.discard(socket)
            # By id and not by socket: this is ComfyUI's fault, kept on purpose.
            self._by_client.pop(client_id, None)
        return response

    def drop(self) -> None:
        """Cut every connection without a close frame, as a killed process does."""
        for socket in list(self.open):
            socket.abort()

    async def break_all(self, how: Breaking) -> None:
        """Break every connection in the way that was asked for."""
        for socket in list(self.open):
            match how:
                case "too_big":
                    await socket.response.close(code=WSCloseCode.MESSAGE_TOO_BIG)
                case "mid_frame":
                    socket.reset_within_frame()
                case "half_open":
                    socket.half_open()
                case "zombie":
                    self._by_client = {c: s for c, s in self._by_client.items() if s is not socket}

    def mend(self) -> None:
        """Read and write every half-open connection again."""
        for socket in list(self.open):
            socket.mend()

    def forget(self) -> None:
        """Act as a restarted server; a client whose connection is half open does not notice."""
        for socket in self.open:
            socket.outlived = socket.is_half_open

    def send_big(self, size_bytes: int) -> None:
        """Send every client one text frame of this size."""
        frame = _text("progress_state", {"prompt_id": "", "nodes": {}})
        self._put(None, frame[:-1] + " " * (size_bytes - len(frame)) + "}")

    async def _read(self, socket: _Socket) -> None:
        is_first = True
        async for frame in socket.response:
            if is_first and frame.type == WSMsgType.TEXT:
                await _answer_flags(socket, frame.data)
            is_first = False

    def _put(self, client_id: str | None, frame: Frame) -> None:
        # A client that never reads must not fill the memory: what is too much is lost, as it is for a deaf socket.
        with contextlib.suppress(asyncio.QueueFull):
            self._outbox.put_nowait((client_id, frame))


async def _answer_flags(socket: _Socket, text: str) -> None:
    with contextlib.suppress(msgspec.DecodeError, AttributeError):
        message = msgspec.json.decode(text)
        if message.get("type") == "feature_flags":
            socket.wants_metadata = message.get("data", {}).get("supports_preview_metadata") is True
            await _send(socket.response, _text("feature_flags", FEATURES))


async def _send(response: web.WebSocketResponse, frame: Frame) -> None:
    with contextlib.suppress(ConnectionError, RuntimeError):
        await (response.send_str(frame) if isinstance(frame, str) else response.send_bytes(frame))


def _text(event: str, fields: Any) -> str:
    return msgspec.json.encode({"type": event, "data": fields}).decode()


def _numbers(first: int, second: int) -> bytes:
    return first.to_bytes(4, "big") + second.to_bytes(4, "big")
