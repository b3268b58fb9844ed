"""One websocket: requests in, replies out, and its subscriptions.

A bad frame is answered and the connection stays open. Requests begin in the order of their frames and are answered when
they are done; the number under way is limited. What waits for a slow client is limited too: one frame for each request
and subscription, and a short queue of progress from which the oldest is dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from aiohttp import WSMessage, WSMsgType, web

from comfyledger import crash_points, wire
from comfyledger.core.naming.slugs import fold
from comfyledger.errors import Refused
from comfyledger.queries.progress import Listener, Pushes
from comfyledger.queries.subscription import Cursor, checked, frames_for, reached
from comfyledger.server import access, answering
from comfyledger.server.app_keys import Context
from comfyledger.server.rate_limit import TokenBucket
from comfyledger.server.tokens import Caller

REQUESTS_MAX: Final = 64
"""Requests under way at once for one connection; further frames wait unread."""
WAITING_AFTER_S: Final = 0.5
"""A request without a reply by then gets the notice `waiting`."""
UNSENT_BYTES: Final = 16_384
"""The low-water mark of asyncio's transports: below it no writer waits."""
STALL_S: Final = 30.0
"""How long a client may take to receive one frame. Then it is cut off."""

log = structlog.get_logger("comfyledger.door")


class Session:
    """A client's connection, from its first frame to its last."""

    def __init__(self, context: Context, request: web.Request, socket: web.WebSocketResponse, caller: Caller) -> None:
        self._context = context.shown_to(caller)
        self._request = request
        self._socket = socket
        self._caller = caller
        self._label = caller.label or answering.DEFAULT_LABEL
        self._bucket = TokenBucket(context.door.frames_per_second_max, asyncio.get_running_loop().time())
        self._slots = asyncio.Semaphore(REQUESTS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: dict[str, tuple[asyncio.Task[None], Listener | None]] = {}
        self._made = 0
        self._way_out = asyncio.Lock()
        self._pushes = Pushes(context.door.outbox_frames_max)

    async def run(self) -> None:
        sender = asyncio.create_task(self._pushes.run(self._send_frame))
        try:
            async for message in self._socket:
                await self._take(message)
        finally:
            for subscription in list(self._subscriptions):
                self._end(subscription)
            for task in (sender, *self._tasks):
                task.cancel()
            await asyncio.gather(sender, *self._tasks, return_exceptions=True)

    # ---- in

    async def _take(self, message: WSMessage) -> None:
        if message.type is WSMsgType.BINARY:
            refusal = Refused("binary_frame", hint="Send JSON in text frames.")
            await self._refuse(self._id_in(message.data), refusal)
        elif message.type is WSMsgType.TEXT:
            await self._read(message.data)

    async def _read(self, frame: bytes) -> None:
        limit = self._context.door.frame_bytes_max
        if len(frame) > limit:
            hint = "Configure large workflows as a file, or raise [door] frame_bytes_max."
            refusal = Refused("frame_too_large", f"A frame has at most {limit} bytes, not {len(frame)}.", hint=hint)
            await self._refuse_frame(frame, None, refusal, is_paced=False)
            return
        request_id: wire.Id = None
        is_paced = False
        try:
            envelope = wire.read_asked(frame)
            request_id = envelope.id
            await self._wait_for_rate()
            is_paced = True
            message = wire.read_request(envelope)
        except Refused as refusal:
            await self._refuse_frame(frame, request_id, refusal, is_paced=is_paced)
            return
        await self._slots.acquire()
        task = asyncio.create_task(self._answer(request_id, message, bytes(envelope.data)))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _refuse_frame(self, frame: bytes, request_id: wire.Id, refusal: Refused, *, is_paced: bool) -> None:
        """Refuse a frame, unless it repeats a request that was accepted under other limits or by another release."""
        try:
            envelope = wire.read_envelope(frame)
        except Refused:
            envelope = wire.Envelope("")
        known_id = self._id_in(frame) if request_id is None else request_id
        if envelope.type != wire.TYPE_OF[wire.SubmitBatch] or refusal.code == "rate_limited":
            await self._refuse(known_id, refusal)
            return
        try:
            if not is_paced:
                await self._wait_for_rate()
            raw = bytes(envelope.data)
            answer = await answering.answer_unread(self._context, self._caller, self._label, refusal, raw)
            await self._send("result", answer, envelope.id)
        except Refused as final:
            await self._refuse(known_id, final)

    def _id_in(self, frame: bytes) -> wire.Id:
        return wire.id_in(frame, whole=len(frame) <= self._context.door.frame_bytes_max)

    async def _wait_for_rate(self) -> None:
        """Raises Refused(rate_limited) for a frame that comes too soon, once the client may send again."""
        wait_s = self._bucket.take(asyncio.get_running_loop().time())
        if wait_s:
            await asyncio.sleep(wait_s)
            hint = "Send fewer frames, or raise [door] frames_per_second_max."
            raise Refused("rate_limited", hint=hint, retry_after_s=round(wait_s, 3))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled():
            task.exception()  # retrieved, so that a client that left is not logged

    async def _answer(self, request_id: wire.Id, message: wire.Message, raw: bytes) -> None:
        notice = asyncio.get_running_loop().call_later(WAITING_AFTER_S, self._push_waiting, request_id, message)
        try:
            answer = await self._result(message, raw)
            crash_points.at("reply.sending")
            await self._send("result", self._context.file_urls.added(answer, self._request), request_id)
            crash_points.at("reply.sent")
        except Refused as refusal:
            await self._refuse(request_id, refusal)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            await self._refuse(request_id, answering.unexpected(wire.TYPE_OF[type(message)], self._label))
        finally:
            notice.cancel()

    async def _result(self, message: wire.Message, raw: bytes) -> wire.Answer:
        match message:
            case wire.Hello() | wire.Subscribe() | wire.Unsubscribe():
                self._context.access.check_still(self._caller)
                await access.check_request(self._caller, message, self._context.reader)
                if isinstance(message, wire.Subscribe):
                    await reached(message, self._context.view, self._context.fleet.own)
                return self._about_connection(message)
            case _:
                return await answering.answer(self._context, self._caller, self._label, message, raw)

    def _about_connection(self, message: wire.Hello | wire.Subscribe | wire.Unsubscribe) -> wire.Answer:
        match message:
            case wire.Hello():
                return self._hello(message)
            case wire.Subscribe():
                return self._subscribe(message)
            case wire.Unsubscribe(subscription=subscription):
                self._known(subscription)
                self._end(subscription)
                return wire.Unsubscribed(subscription)

    def _hello(self, message: wire.Hello) -> wire.Welcome:
        if message.protocol != wire.PROTOCOL:
            hint = "Use a client of the same major version as the daemon."
            text = f"This daemon speaks protocol {wire.PROTOCOL}, not {message.protocol}."
            raise Refused("protocol_version", text, hint=hint, path="$.data.protocol")
        self._label = self._caller.label or message.client
        view = self._context.view
        return wire.Welcome(
            "comfyledger",
            self._context.version,
            wire.PROTOCOL,
            self._label,
            view.ledger_id,
            view.epoch,
            view.position,
            right=self._caller.right,
            read_all=self._caller.read_all,
        )

    # ---- subscriptions

    def _subscribe(self, message: wire.Subscribe) -> wire.Subscribed:
        limit = self._context.door.subscriptions_max
        if len(self._subscriptions) >= limit:
            hint = "Unsubscribe from what you no longer need, or ask for several kinds in one subscription."
            raise Refused("subscriptions_limit", f"A connection has at most {limit} subscriptions.", hint=hint)
        after, wanted = checked(message, self._context.view)
        self._made += 1
        subscription = f"s{self._made}"
        listener = self._listen(subscription, message)
        cursor = Cursor(
            frames_for(subscription),
            self._context.view,
            self._context.reader,
            self._context.event_frames,
            after,
            wanted,
        )
        task = asyncio.create_task(self._follow(subscription, cursor))
        self._subscriptions[subscription] = (task, listener)
        return wire.Subscribed(subscription, self._context.view.epoch, after)

    def _listen(self, subscription: str, message: wire.Subscribe) -> Listener | None:
        if not (message.progress or message.previews):
            return None
        user = fold(message.username) if message.username is not None else None
        listener = Listener(
            subscription, message.batch_id, user, message.previews, self._push_progress, self._context.only
        )
        self._context.progress.add(listener)
        return listener

    async def _follow(self, subscription: str, cursor: Cursor) -> None:
        async def send(frame: bytes) -> None:
            crash_points.at("event.sending")
            await self._send_frame(frame)
            crash_points.at("event.sent")

        try:
            await asyncio.sleep(0)  # the reply to `subscribe` goes first
            await cursor.run(send)
        except ConnectionError:
            return
        except Exception:
            log.exception("subscription.failed", label=self._label)
            self._end(subscription)
            ended = wire.SubscriptionEnded(subscription, "internal", "The subscription broke; subscribe again.")
            await self._send("subscription_ended", ended)

    def _known(self, subscription: str) -> None:
        if subscription not in self._subscriptions:
            hint = "Give the `subscription` of the reply to `subscribe`."
            raise Refused("unknown_subscription", hint=hint, path="$.data.subscription")

    def _end(self, subscription: str) -> None:
        task, listener = self._subscriptions.pop(subscription)
        if listener is not None:
            self._context.progress.remove(listener)
        if task is not asyncio.current_task():
            task.cancel()

    # ---- out

    async def _refuse(self, request_id: wire.Id, refusal: Refused) -> None:
        await self._send("error", wire.error_of(refusal), request_id)

    async def _send(self, kind: str, data: Any, request_id: wire.Id = None) -> None:
        await self._send_frame(wire.frame(kind, data, request_id))

    async def _send_frame(self, frame: bytes) -> None:
        """Send one frame at a time: aiohttp delays only the sender whose frame fills the buffer, not the others.

        Raises ConnectionError and cuts off a client that does not read. What it needs stays in the log.
        """
        async with self._way_out:
            if self._has_little_unsent():
                await self._socket.send_frame(frame, WSMsgType.TEXT)
                return
            try:
                async with asyncio.timeout(STALL_S):
                    await self._socket.send_frame(frame, WSMsgType.TEXT)
            except TimeoutError:
                log.info("door.client_stalled", label=self._label, after_s=STALL_S)
                self._cut_off()
                raise ConnectionAbortedError from None

    def _has_little_unsent(self) -> bool:
        """Whether so little waits for the client that nobody must wait. Mostly true, which saves a timer a frame."""
        transport = self._request.transport
        return transport is not None and transport.get_write_buffer_size() < UNSENT_BYTES

    def _cut_off(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    def _push_waiting(self, request_id: wire.Id, message: wire.Message) -> None:
        if isinstance(message, wire.SubmitBatch | wire.OpenSeries):
            text = "The stores are asked which numbers they hold, or ComfyUI which nodes it has."
            self._pushes.put(wire.frame("waiting", wire.Waiting("series_unanswered", text), request_id))

    def _push_progress(self, kind: str, data: wire.Answer) -> None:
        self._pushes.put(wire.frame(kind, data))
