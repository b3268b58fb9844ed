"""HTTP/1.1 over connections that are kept, for the calls that every image needs: the prompt, its file, the deletions.

aiohttp's client takes seven times the processor time for such a call. It still makes all other calls, and these too
where the server has TLS, was added by a client, or sets cookies, and where the extra `speed` is not installed.
httptools reads the answers. Calls raise what aiohttp raises, except that `NotConnected` says that nothing was sent.

A connection serves one call at a time. It is used again if the answer was read to its end and both sides allow it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from multidict import CIMultiDict

from comfyledger.comfyui.transfer import NotConnected

KEEP_S: Final = 15.0
"""How long a connection waits for its next call, as in aiohttp: less than servers wait."""
KEPT_MAX: Final = 16
"""Idle connections to one server."""
HEAD_BYTES_MAX: Final = 65_536
"""Of an answer's headers, and of all else that comes beside its body; and what one read adds to it."""
BUFFER_BYTES_MAX: Final = 524_288
"""When so much of a body waits to be taken, no more is read."""
NEXT_ADDRESS_S: Final = 0.25
"""Before the next address of a host is tried beside the first (RFC 8305)."""


def _found(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None


class KeptConnections:
    """All of them, to be closed."""

    def __init__(self) -> None:
        self._every: set[_Connection] = set()

    def to(
        self, url: str, headers: dict[str, str], *, connect_timeout_s: float, answer_timeout_s: float
    ) -> KeptServer | None:
        """The server at an URL without userinfo; None if aiohttp must make the calls. `headers` go with each call."""
        parts, parser, eyeballs = urlsplit(url), _found("httptools"), _found("aiohappyeyeballs")
        is_plain = parts.scheme == "http" and url.isascii() and not (parts.query or parts.fragment)
        if parser is None or eyeballs is None or not is_plain:
            return None
        head = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": parts.netloc} | headers).items())

        def connection(server: KeptServer) -> _Connection:
            return _Connection(server, parser.HttpResponseParser, self._every)

        return KeptServer(
            parts.hostname or "",
            parts.port or 80,
            parts.path.rstrip("/"),
            head,
            connection,
            eyeballs.start_connection,
            connect_timeout_s,
            answer_timeout_s,
        )

    def close(self) -> None:
        for one in list(self._every):
            one.abort()


class KeptServer:
    """One server and the connections to it that wait for a call."""

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        head: str,
        connection: Callable[[KeptServer], _Connection],
        start: Callable[..., Any],
        connect_timeout_s: float,
        answer_timeout_s: float,
    ) -> None:
        self._host, self._port, self._path, self._head = host, port, path, head
        self._new, self._start = connection, start
        self._connect_timeout_s, self._answer_timeout_s = connect_timeout_s, answer_timeout_s
        self.idle: list[_Connection] = []
        self.sets_cookies = False
        """Whether it has set a cookie: from then on aiohttp makes the calls, which keeps them."""

    async def get(self, path: str, query: dict[str, str]) -> Answer:
        """Call and wait for the head of the answer, up to `answer_timeout_s`; the body is the caller's to limit.

        A connection that was closed meanwhile, before anything of an answer came, is replaced once.
        """
        asked = "&".join([f"{name}={quote(value)}" for name, value in query.items()])
        raw = f"GET {self._path}{path}?{asked} HTTP/1.1\r\n{self._head}\r\n".encode()
        kept = self._kept()
        if kept is not None:
            with suppress(aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await kept.call(raw, self._answer_timeout_s, whole=False)
        return await (await self._connected()).call(raw, self._answer_timeout_s, whole=False)

    async def post(self, path: str, body: bytes) -> Answer:
        """Call with a JSON body, and never twice. The whole answer must come within `answer_timeout_s`."""
        sized = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        raw = f"POST {self._path}{path} HTTP/1.1\r\n{self._head}{sized}".encode() + body
        connection = self._kept() or await self._connected()
        return await connection.call(raw, self._answer_timeout_s, whole=True)

    def _kept(self) -> _Connection | None:
        while self.idle:
            if (one := self.idle.pop()).is_open:
                return one
        return None

    async def _connected(self) -> _Connection:
        """Raises NotConnected, TimeoutError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                found = await loop.getaddrinfo(self._host, self._port, type=1)
                socket = await self._start(found, loop=loop, happy_eyeballs_delay=NEXT_ADDRESS_S)
                return (await loop.create_connection(lambda: self._new(self), sock=socket))[1]
        except TimeoutError:
            raise
        except OSError as error:
            raise NotConnected(*error.args if (error.errno or 0) > 0 else (error.strerror or str(error),)) from error


class Answer:
    """What a server answers: as much of `aiohttp.ClientResponse`, and of its `content`, as transfers use.

    It ends with the block that it is entered for. If it was not read to its end then, its connection is closed.
    """

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.is_whole = False
        self.pieces: list[bytes] = []
        self.error: Exception | None = None

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection.leave(self)

    @property
    def content(self) -> Answer:
        return self

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case, as aiohttp says it."""
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()

    def at_eof(self) -> bool:
        return self.is_whole and not self.pieces

    def read_nowait(self, n: int = -1) -> bytes:
        """What has come, whatever its size: BUFFER_BYTES_MAX and what one packet has limit it. Raises ClientError."""
        if not self.pieces:
            if self.error is not None:
                raise self.error
            return b""
        found = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        self._connection.taken()
        return found

    async def read(self, n: int = -1) -> bytes:
        """The next bytes; none at the end. Raises ClientError, and TimeoutError for a `post`."""
        while not (self.pieces or self.is_whole or self.error):
            await self._connection.more()
        return self.read_nowait(n)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        while piece := await self.read(n):
            yield piece


class _Connection(asyncio.Protocol):
    """One connection. The parser calls the methods whose names begin with `on_`.

    `until`: when what is awaited is too late, or an idle connection old. One timer looks at it now and then: a timer
    for each call would cost more than the call.
    """

    def __init__(self, server: KeptServer, parser: Callable[[_Connection], Any], every: set[_Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._server, self._every = server, every
        self._parser = parser(self)
        self._transport: Any = None
        self._answer: Answer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._whole = self._has_head = self._is_last = self._is_paused = False
        self._aside = self._buffered = 0

    # ---- for the server and its answers

    async def call(self, raw: bytes, timeout_s: float, *, whole: bool) -> Answer:
        """Send a request and wait for the head of its answer. `whole`: the time is for the body as well."""
        answer = self._answer = Answer(self)
        self._whole, self._has_head, self._aside, self._buffered = whole, False, 0, 0
        self._expect(timeout_s)
        self._transport.write(raw)
        try:
            while not self._has_head:
                if answer.error is not None:
                    raise answer.error
                await self.more()
        except BaseException:
            self.abort()
            raise
        return answer

    async def more(self) -> None:
        """Wait until something has come."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def taken(self) -> None:
        """What was buffered is taken."""
        self._buffered = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def leave(self, answer: Answer) -> None:
        """The call is over: the connection waits for another, or is closed."""
        if answer is not self._answer:
            return
        self._answer = None
        idle = self._server.idle
        if not (answer.is_whole and self.is_open) or self._is_last or len(idle) >= KEPT_MAX:
            self.abort()
            return
        self.taken()
        self._expect(KEEP_S)
        idle.append(self)

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    # ---- time

    def _expect(self, seconds: float) -> None:
        self._until = until = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > until:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._look)
        elif self._answer is None:
            self.abort()
        else:
            self._fail(TimeoutError())

    # ---- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._every.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._every.discard(self)
        with suppress(ValueError):
            self._server.idle.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is None or self._answer.is_whole:
            return
        if not self._has_head:
            self._fail(aiohttp.ServerDisconnectedError() if exc is None else aiohttp.ClientOSError(*exc.args))
        elif exc is None and not _tells_its_end(self._answer.headers):
            self.on_message_complete()
        else:
            self._fail(aiohttp.ClientPayloadError("The connection was closed before the end of the answer."))

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nothing was asked
            self.abort()
            return
        self._aside += len(data)
        try:
            self._parser.feed_data(data)
        except Exception as error:
            # The parser's errors, and what the methods below raise. An upgrade is one too: none was asked for.
            self._fail(aiohttp.ClientPayloadError(f"The answer is no HTTP/1.1: {error}"))
            return
        if self._aside > HEAD_BYTES_MAX and not self._answer.is_whole:
            self._fail(aiohttp.ClientPayloadError("The head of the answer is too large."))
        elif self._buffered > BUFFER_BYTES_MAX and not self._is_paused and not self._answer.is_whole:
            self._is_paused = True
            self._transport.pause_reading()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.is_whole:
            self._answer.error = self._answer.error or error
        self._until = None
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- from the parser

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.is_whole:
            self._is_last = True  # more came than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None and not self._has_head:
            self._answer.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        answer, status = self._answer, self._parser.get_status_code()
        if answer is None or self._has_head:
            return
        if status < 200:  # what is meant comes after it
            answer.headers.clear()
            return
        answer.status, self._has_head, self._aside = status, True, 0
        self._server.sets_cookies |= "Set-Cookie" in answer.headers
        if not self._whole:
            self._until = None
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._answer is not None and not self._answer.is_whole:
            self._answer.pieces.append(body)
            self._aside, self._buffered = 0, self._buffered + len(body)
            self._wake()

    def on_message_complete(self) -> None:
        if self._answer is not None and self._has_head and not self._answer.is_whole:
            self._answer.is_whole, self._until = True, None
            self._is_last = not self._parser.should_keep_alive()
            self._wake()


def _tells_its_end(headers: CIMultiDict[str]) -> bool:
    return "Content-Length" in headers or "Transfer-Encoding" in headers
