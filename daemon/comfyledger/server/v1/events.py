"""Events as Server-Sent Events: the same cursor over the log as a subscription of the websocket.

The id of an event is `EPOCH:POSITION`. A browser that connects again sends the last one that it saw, and continues
there without gap or duplicate. The first block has an id and no event, so that this holds before the first event, too.
Progress and previews have no id: they are not in the log. (WHATWG HTML, 9.2, server-sent events)
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final, NoReturn

import msgspec
import structlog
from aiohttp import web

from comfyledger import crash_points, wire
from comfyledger.core.naming.slugs import fold
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.queries.progress import Listener, Pushes
from comfyledger.queries.subscription import Cursor, Filter, checked, reached
from comfyledger.server import access
from comfyledger.server.app_keys import CONTEXT, Context
from comfyledger.server.tokens import Caller
from comfyledger.server.v1.held import hold
from comfyledger.server.v1.reading import header_of, read_get
from comfyledger.wire.routes import EVENT_STREAM, LAST_EVENT_ID, Route

RETRY_MS: Final = 1_000
"""After so long a browser connects again."""
KEEP_ALIVE_S: Final = 15.0
KEEP_ALIVE: Final = b":\n\n"
STALL_S: Final = 30.0
"""How long a client may take to receive one block, or anything at all if bytes wait for it. Then it is cut off. What it
needs stays in the log.
"""
HEADERS: Final = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The last one tells nginx to pass on each event at once."""
_TYPE: Final = re.compile(rf"\s*{EVENT_STREAM}\s*(;(?!\s*q=0(\.0*)?\s*$).*)?")
_ID: Final = re.compile(r"(\w{1,64}):([0-9]{1,19})", re.ASCII)

log = structlog.get_logger("comfyledger.door")


def wants_stream(request: web.Request) -> bool:
    """Whether the client accepts a stream. The case of a type is ignored; `q=0` excludes one. (RFC 9110, 12.5.1)"""
    accepted = ",".join(request.headers.getall("Accept", ())).lower().split(",")
    return any(_TYPE.fullmatch(one) for one in accepted)


async def stream(request: web.Request, route: Route, caller: Caller) -> web.StreamResponse:
    """Send events until somebody ends it. Raises Refused, before the first byte."""
    context = request.app[CONTEXT].shown_to(caller)
    message = _continued(request, read_get(request, route.as_stream))
    context.access.check_still(caller)
    await access.check_request(caller, message, context.reader)
    await reached(message, context.view, context.fleet.own)
    after, wanted = checked(message, context.view)
    response = web.StreamResponse(headers=HEADERS)
    if request.method == "HEAD":
        return response
    await hold(request, caller, _Stream(request, response, context).run(message, after, wanted))
    return response


def _continued(request: web.Request, message: wire.Message) -> wire.Subscribe:
    """After the event that the client saw last. Its header counts more than the URL, which a browser never changes.

    Raises Refused(invalid_field).
    """
    assert isinstance(message, wire.Subscribe)  # noqa: S101 (the route says so)
    seen = header_of(request, LAST_EVENT_ID)
    if not seen:
        return message
    found = _ID.fullmatch(seen)
    if found is None:
        text, hint = f"{seen[:100]!r} is not the id of an event.", "Send the `id` of the last event: EPOCH:POSITION."
        raise Refused("invalid_field", text, hint=hint, path=f"header.{LAST_EVENT_ID}")
    return msgspec.structs.replace(message, epoch=found[1], after=int(found[2]))


class _Stream:
    """One stream, while it is sent."""

    def __init__(self, request: web.Request, response: web.StreamResponse, context: Context) -> None:
        self._request, self._response, self._context = request, response, context
        self._epoch = context.view.epoch
        self._way_out = asyncio.Lock()

    async def run(self, message: wire.Subscribe, after: int, wanted: Filter) -> None:
        """Send until cancelled, or until the client has left."""
        pushes = Pushes(self._context.door.outbox_frames_max)
        listener = self._listener(message, pushes)
        cursor = Cursor(
            self._block, self._context.view, self._context.reader, self._context.event_frames, after, wanted
        )
        _limit_silence(self._request)
        try:
            await self._response.prepare(self._request)
            await self._send(f"retry: {RETRY_MS}\nid: {self._epoch}:{after}\n\n".encode())
            async with asyncio.TaskGroup() as group:
                group.create_task(cursor.run(self._send_event))
                group.create_task(pushes.run(self._send))
                group.create_task(self._keep_alive())
        except* ConnectionError:
            log.debug("door.client_left", remote=self._request.remote)
        except* Exception:
            log.exception("subscription.failed", remote=self._request.remote)
            self._cut_off()
        finally:
            if listener is not None:
                self._context.progress.remove(listener)

    def _listener(self, message: wire.Subscribe, pushes: Pushes) -> Listener | None:
        if not (message.progress or message.previews):
            return None
        user = fold(message.username) if message.username is not None else None

        def push(kind: str, data: wire.Answer) -> None:
            pushes.put(_block(kind, msgspec.json.encode(data)))

        listener = Listener("", message.batch_id, user, message.previews, push, self._context.only)
        self._context.progress.add(listener)
        return listener

    def _block(self, line: Line, rest: bytes) -> bytes:
        head = f"id: {self._epoch}:{line.position}\n".encode()
        return head + _block(line.kind, wire.streamed_event(rest))

    async def _send_event(self, block: bytes) -> None:
        crash_points.at("event.sending")
        await self._send(block)
        crash_points.at("event.sent")

    async def _keep_alive(self) -> None:
        """So that neither end takes a quiet log for a broken connection.

        Raises ConnectionError and cuts off a client that has received nothing since the last time. So few bytes may
        wait for it that no sender does.
        """
        received = -1
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            unsent = self._unsent_bytes()
            before, received = received, self._request.writer.output_size - unsent
            if unsent and received == before:
                self._stalled(KEEP_ALIVE_S)
            await self._send(KEEP_ALIVE)

    def _unsent_bytes(self) -> int:
        return self._request.transport.get_write_buffer_size() if self._request.transport is not None else 0

    async def _send(self, block: bytes) -> None:
        """Send one block at a time. Raises ConnectionError and cuts off a client that does not read."""
        async with self._way_out:
            try:
                async with asyncio.timeout(STALL_S):
                    await self._response.write(block)
            except TimeoutError:
                self._stalled(STALL_S)

    def _stalled(self, after_s: float) -> NoReturn:
        log.info("door.client_stalled", remote=self._request.remote, after_s=after_s)
        self._cut_off()
        raise ConnectionAbortedError from None

    def _cut_off(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


def _limit_silence(request: web.Request) -> None:
    """Let the kernel end a TCP connection whose client confirms no bytes, or has no room for any: what the kernel holds
    for it cannot be seen here. (tcp(7), TCP_USER_TIMEOUT)
    """
    held = request.transport.get_extra_info("socket") if request.transport is not None else None
    if held is not None and held.family != socket.AF_UNIX:
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1_000 * STALL_S))


def _block(kind: str, data: bytes) -> bytes:
    """Our JSON is one line, so it is one `data` field."""
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
