"""The client's connection: reconnects, repeats requests without an answer, and queues pushes for their readers.

Reading a frame never waits: an answer goes to its request, a push to the queue of its reader, and a request waits in an
outbox until the socket takes it. So a slow reader does not delay the answers of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar, cast

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from comfyledger import wire
from comfyledger.client.connecting import absent, connected, not_comfyledger, refusal_of, why_not
from comfyledger.client.finding import Address
from comfyledger.core.backoff import backoff
from comfyledger.errors import Refused

EVENTS_WAITING_MAX: Final = 1_000
"""Events of one subscription that wait for their reader; the log holds the rest."""
LIVE_WAITING_MAX: Final = 32
"""Above this many waiting items, progress and previews are dropped: they are of use at once or never."""
WAITING_S: Final = 600.0
"""How long an answer may take after each `waiting`: the daemon waits for a store, within limits of its own."""
HELLO_S: Final = 10.0
REFUSED_S: Final = 10.0
"""For how long a restarted daemon may refuse a token or name before those who wait are told: it may be another soon."""
AGAIN: Final = frozenset({"rate_limited", "behind"})
"""A request that is refused so is sent again after a delay that the daemon names."""
LASTING: Final = frozenset({"unauthorized", "forbidden_host", "forbidden_origin"})
DELAY_MIN_S: Final = 0.1
DELAY_MAX_S: Final = 5.0
TOO_LARGE: Final = 1009
"""Close code "message too big" (RFC 6455, section 7.4.1)."""

_OPEN: Final = "Use `async with Client() as client` in each event loop; for threads and scripts there is `SyncClient`."

Pushed = wire.LoggedEvent | wire.Progress | wire.Preview
A = TypeVar("A", bound=wire.Answer)


class Pending:
    """A request without an answer yet. `sent` counts how often it was sent; `held_back`: it was rate limited."""

    def __init__(self, number: int, message: wire.Message, feed: Feed | None) -> None:
        self.message = message
        self.frame = _encoded(message, number)
        self.feed = feed
        self.answer: asyncio.Future[wire.Answer] = asyncio.get_running_loop().create_future()
        self.limit: asyncio.Timeout | None = None
        self.sent = 0
        self.held_back = False

    def succeed(self, answer: wire.Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, refusal: Refused) -> None:
        """If a repeated retry or resume has nothing to do, its first copy did it."""
        if refusal.code == "nothing_to_do" and self.sent > 1:
            self.succeed(wire.ChangedCount(0))
        elif not self.answer.done():
            self.answer.set_exception(refusal)


class Feed:
    """A subscription of one reader, across connections. `after` is the last position that is queued."""

    def __init__(self, asked: wire.Subscribe) -> None:
        self.asked = asked
        self.after = asked.after
        self.epoch = asked.epoch
        self.id = ""
        self.items: deque[Pushed] = deque()
        self.woken = asyncio.Event()

    def request(self) -> wire.Subscribe:
        return msgspec.structs.replace(
            self.asked, after=self.after, epoch=self.epoch if self.after > 0 else self.asked.epoch
        )

    def begun(self, answer: wire.Subscribed) -> None:
        self.id = answer.subscription
        self.epoch = answer.epoch
        if self.after < 0:
            self.after = answer.position

    def ended(self) -> None:
        self.id = ""
        self.woken.set()

    def put(self, item: Pushed) -> bool:
        """Queue an item. False if there is no room for an event. Progress and previews without room are dropped."""
        if isinstance(item, wire.LoggedEvent):
            if len(self.items) >= EVENTS_WAITING_MAX:
                return False
            self.after = item.position
            self.items.append(item)
        elif len(self.items) < LIVE_WAITING_MAX:
            self.items.append(item)
        self.woken.set()
        return True


def _encoded(message: wire.Message, number: int) -> str:
    try:
        return wire.request_frame(message, number).decode()
    except UnicodeEncodeError as error:
        raise Refused("not_utf8", "A text in the request is not valid Unicode.") from error


def _unreadable(error: msgspec.MsgspecError) -> Refused:
    text = f"An answer of the daemon cannot be read: {error}."
    return Refused("protocol_version", text, hint="Use a client of the daemon's version.")


class Link:
    """Requests, subscriptions and the task that keeps one connection. `find` returns the daemon's present address."""

    def __init__(
        self,
        find: Callable[[], Address],
        name: str,
        timeout_s: float | None,
        wait: bool,
        on_waiting: Callable[[wire.Waiting], None] | None,
    ) -> None:
        self._find = find
        self._name = name
        self._timeout_s = timeout_s
        self._wait = wait
        self._on_waiting = on_waiting
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._feeds: dict[str, Feed] = {}
        self._unwanted: set[str] = set()
        self._outbox: asyncio.Queue[str] | None = None
        self._trouble = Refused("not_running")
        self._over: Refused | None = Refused("not_running", "The client is not open.", hint=_OPEN)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.welcome: wire.Welcome | None = None

    async def open(self) -> None:
        """Connect, unless it is open. Raises Refused with the reason why there is no connection."""
        if self._over is None and self._loop is not None and not self._loop.is_closed():
            self._check_loop()
            return
        self._over, self._loop = None, asyncio.get_running_loop()
        self._disconnected()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._task = asyncio.create_task(self._stay_connected(), name="comfyledger-client")
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._opened
        except TimeoutError:
            await self.close()
            raise self._trouble from None
        except BaseException:
            await self.close()
            raise

    def _check_loop(self) -> None:
        """A loop cannot wait for what happens in another one. Raises Refused."""
        if self._loop is not asyncio.get_running_loop():
            raise Refused("not_running", "The client was opened in another event loop.", hint=_OPEN)

    async def close(self) -> None:
        """Raises Refused(not_running) in another event loop than the one that opened it."""
        if self._loop is None or self._loop.is_closed():
            return  # it was never opened, or its connection ended with the loop that had it
        self._check_loop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end(Refused("not_running", "The client is closed."))

    # ---- requests and answers

    async def ask(self, message: wire.Message, kind: type[A], feed: Feed | None = None) -> A:
        if self._over is not None:
            raise self._over
        self._check_loop()
        number = next(self._numbers)
        pending = self._pending[number] = Pending(number, message, feed)
        try:
            self._post(pending)
            async with asyncio.timeout(self._timeout_s) as pending.limit:
                return cast(A, await pending.answer)
        except TimeoutError:
            raise self._trouble if self._outbox is None else Refused("timeout") from None
        finally:
            del self._pending[number]

    def _post(self, pending: Pending) -> None:
        """Send a request now, or as soon as there is a connection."""
        if self._outbox is not None:
            pending.sent += 1
            pending.held_back = False
            self._outbox.put_nowait(pending.frame)

    def _post_again(self, pending: Pending) -> None:
        """Send a rate-limited request again, unless a new connection has done so."""
        if pending.held_back and not pending.answer.done():
            self._post(pending)

    def unsubscribe(self, subscription: str) -> None:
        self._feeds.pop(subscription, None)
        if subscription and subscription not in self._unwanted and self._outbox is not None:
            self._unwanted.add(subscription)
            self._outbox.put_nowait(_encoded(wire.Unsubscribe(subscription), next(self._numbers)))

    def _take(self, frame: str | bytes) -> None:
        envelope = wire.read_envelope(frame)
        pending = self._pending.get(envelope.id) if isinstance(envelope.id, int) else None
        match envelope.type:
            case "result":
                if pending is not None:
                    self._take_result(pending, envelope)
            case "error":
                self._take_error(pending, refusal_of(cast(wire.ErrorInfo, wire.read_answer(envelope))))
            case "waiting":
                if pending is not None:
                    self._take_waiting(pending, cast(wire.Waiting, wire.read_answer(envelope)))
            case kind if kind in wire.ANSWERS:
                self._take_push(wire.read_answer(envelope))

    def _take_result(self, pending: Pending, envelope: wire.Envelope) -> None:
        """An answer that this version cannot read is the trouble of its request alone."""
        try:
            answer = wire.read_result(type(pending.message), envelope)
        except msgspec.MsgspecError as error:
            pending.fail(_unreadable(error))
            return
        if pending.feed is not None and isinstance(answer, wire.Subscribed):
            pending.feed.begun(answer)
            self._feeds[answer.subscription] = pending.feed
        pending.succeed(answer)

    def _take_error(self, pending: Pending | None, refusal: Refused) -> None:
        """A rate-limited request is sent again after its delay; so is one to a box of a fleet that is behind.

        The daemon refuses a frame that is too large without reading it, so it cannot name the request.
        """
        if pending is not None and refusal.code in AGAIN:
            pending.sent -= 1  # it was not accepted
            pending.held_back = True
            asyncio.get_running_loop().call_later(refusal.retry_after_s, self._post_again, pending)
        elif pending is not None:
            pending.fail(refusal)
        elif refusal.code == "frame_too_large":
            self._refuse_largest(refusal)

    def _take_waiting(self, pending: Pending, waiting: wire.Waiting) -> None:
        if pending.limit is not None and self._timeout_s is not None:
            pending.limit.reschedule(asyncio.get_running_loop().time() + max(WAITING_S, self._timeout_s))
        if self._on_waiting is not None:
            try:
                self._on_waiting(waiting)
            except Exception as error:  # the app's own: it belongs to who asked, and ends nothing else
                pending.answer.set_exception(error)

    def _take_push(self, push: wire.Answer) -> None:
        """A push without a reader, or for a reader who is too slow, ends its subscription."""
        match push:
            case wire.SubscriptionEnded(subscription=subscription):
                feed = self._feeds.pop(subscription, None)
                if feed is not None:
                    feed.ended()
            case wire.LoggedEvent() | wire.Progress() | wire.Preview():
                feed = self._feeds.get(push.subscription)
                if feed is None:
                    self.unsubscribe(push.subscription)
                elif not feed.put(push):
                    self.unsubscribe(push.subscription)
                    feed.ended()

    # ---- the connection

    async def _stay_connected(self) -> None:
        try:
            await self._reconnect_forever()
        except Refused as refusal:
            self._end(refusal)
        except msgspec.MsgspecError as error:
            self._end(_unreadable(error))
        except Exception as error:
            self._end(Refused("internal", f"The client is broken: {error!r}."))
            raise

    async def _reconnect_forever(self) -> None:
        """The iterator of websockets keeps the first address; a restarted daemon may have another port."""
        tries, refusal = 0, Lasting()
        while True:
            address = self._find()
            self._trouble = absent(address)
            try:
                async with connected(address) as socket:
                    self.welcome = await _hello(socket, self._name, address)
                    tries, refusal = 0, Lasting()
                    await self._speak(socket)
            except (OSError, EOFError, InvalidHandshake, InvalidURI) as error:
                self._trouble = why_not(address, error)
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == TOO_LARGE:
                    self._refuse_largest(Refused("frame_too_large", closed.rcvd.reason))
            self._give_up_unopened()
            if refusal.lasts(address, self._trouble, asyncio.get_running_loop().time()):
                self._refuse_all(self._trouble)
            tries += 1
            spread = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
            await asyncio.sleep(backoff(tries, DELAY_MIN_S, DELAY_MAX_S, spread))

    def _give_up_unopened(self) -> None:
        """Before the first connection, wait only with `wait`, and only for a daemon that is not running yet."""
        if not self._opened.done() and (not self._wait or self._trouble.code != "not_running"):
            raise self._trouble

    async def _speak(self, socket: ClientConnection) -> None:
        self._outbox = asyncio.Queue()
        for pending in self._pending.values():
            if not pending.answer.done():
                self._post(pending)
        if not self._opened.done():
            self._opened.set_result(None)
        writer = asyncio.create_task(_write(socket, self._outbox))
        try:
            async for frame in socket:
                self._take(frame)
        finally:
            writer.cancel()
            self._disconnected()

    def _disconnected(self) -> None:
        self._outbox = None
        self._unwanted.clear()
        for feed in self._feeds.values():
            feed.ended()
        self._feeds.clear()

    def _refuse_largest(self, refusal: Refused) -> None:
        """Fail the largest request: sent again, it would be refused each time."""
        sent = [pending for pending in self._pending.values() if pending.sent and not pending.answer.done()]
        if sent:
            max(sent, key=lambda pending: len(pending.frame)).fail(refusal)

    def _refuse_all(self, refusal: Refused) -> None:
        for pending in self._pending.values():
            pending.fail(refusal)

    def _end(self, refusal: Refused) -> None:
        self._over = self._over or refusal
        if not self._opened.done():
            self._opened.set_exception(refusal)
        self._refuse_all(refusal)
        self._disconnected()


class Lasting:
    """Whether a daemon refuses the same address and token for too long to be about to change."""

    def __init__(self) -> None:
        self._address: Address | None = None
        self._since = 0.0

    def lasts(self, address: Address, trouble: Refused, now: float) -> bool:
        if trouble.code not in LASTING:
            self._address = None
        elif address != self._address:
            self._address, self._since = address, now
        return self._address is not None and now - self._since >= REFUSED_S


async def _hello(socket: ClientConnection, name: str, address: Address) -> wire.Welcome:
    """Raises Refused with the daemon's reason, OSError if it does not answer in time."""
    hello = wire.Hello(name)
    await socket.send(_encoded(hello, 0))
    async with asyncio.timeout(HELLO_S):
        envelope = wire.read_envelope(await socket.recv())
    if envelope.type == "error":
        raise refusal_of(cast(wire.ErrorInfo, wire.read_answer(envelope)))
    if envelope.type != "result":
        raise not_comfyledger(address)
    return cast(wire.Welcome, wire.read_result(wire.Hello, envelope))


async def _write(socket: ClientConnection, outbox: asyncio.Queue[str]) -> None:
    """Ends with the connection; the next one sends again what was not sent."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.send(await outbox.get())
