"""Who stands in the door: connections that showed a token, and those that did not.

Who showed none has seconds, whatever it does with them, and takes no place from those who did: there are so many places
for strangers at each kind of socket, and a newcomer takes that of the one who stands there longest. So a token that is
shown with the first request comes in however many say nothing. Between connection and aiohttp nothing is added: bytes
go straight through.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, cast

import structlog
from aiohttp import web

from comfyledger.errors import Refused

ANONYMOUS_S: Final = 5.0
"""For a connection to show a token. A sign of life (`/healthz`) needs less."""
ANONYMOUS_MAX: Final = 128
"""For TCP, and as many for Unix sockets."""
KEPT: Final = 256
"""Descriptors that connections never take; half of them all where there are few."""
ENDLESS: Final = resource.RLIM_INFINITY
BUSY_HINT: Final = "Close connections that are not used, or raise [door] connections_max."

log = structlog.get_logger("comfyledger.door")


class Connection(asyncio.Protocol):
    """One connection, from its first moment to its last."""

    def __init__(self, connections: Connections, handler: web.RequestHandler) -> None:
        self._connections = connections
        self.handler = handler
        self.transport: asyncio.WriteTransport | None = None
        self.under_way = 0
        """Requests that are being answered; a websocket is one for as long as it stands."""
        self.data_received = handler.data_received  # type: ignore[method-assign]
        self.eof_received = handler.eof_received  # type: ignore[method-assign]
        self.pause_writing = handler.pause_writing  # type: ignore[method-assign]
        self.resume_writing = handler.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one by its methods, not by its class
        self.handler.connection_made(self.transport)
        self._connections.begin(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.end(self)
        self.handler.connection_lost(exc)

    def show_out(self) -> None:
        """In order if nothing waits to be sent; whoever does not read is cut off."""
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


class Connections:
    """All connections of a door. `authenticated_max`: of those that showed a token."""

    def __init__(self, authenticated_max: int, anonymous_max: int = ANONYMOUS_MAX) -> None:
        self.authenticated_max = authenticated_max
        self.anonymous_max = anonymous_max
        self._all: dict[Any, Connection] = {}
        self._anonymous: dict[int, dict[Connection, asyncio.TimerHandle]] = {}
        self._authenticated: dict[Connection, None] = {}

    def entrance(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """What a listening socket makes of each connection."""
        return lambda: Connection(self, server())

    def begin(self, connection: Connection) -> None:
        self._all[connection.handler] = connection
        anonymous = self._anonymous.setdefault(_family(connection), {})
        while len(anonymous) >= self.anonymous_max:
            self._leave(next(iter(anonymous)))
        anonymous[connection] = asyncio.get_running_loop().call_later(ANONYMOUS_S, self._leave, connection)

    def end(self, connection: Connection) -> None:
        self._all.pop(connection.handler, None)
        self._authenticated.pop(connection, None)
        self._forget_anonymous(connection)

    def welcome(self, handler: Any) -> None:
        """The connection of this handler showed a token. Raises Refused(busy) if there are too many of them."""
        connection = self._all.get(handler)
        if connection is None or connection in self._authenticated:
            return
        if len(self._authenticated) >= self.authenticated_max:
            idle = next((one for one in self._authenticated if not one.under_way), None)
            if idle is None:
                text = f"There are {len(self._authenticated)} connections already."
                raise Refused("busy", text, hint=BUSY_HINT, retry_after_s=1.0)
            self._leave(idle)
        self._forget_anonymous(connection)
        self._authenticated[connection] = None

    @contextmanager
    def answering(self, handler: Any) -> Iterator[None]:
        """A connection is not idle while one of its requests is answered."""
        connection = self._all.get(handler)
        if connection is None:
            yield
            return
        connection.under_way += 1
        try:
            yield
        finally:
            connection.under_way -= 1

    def _leave(self, connection: Connection) -> None:
        self._authenticated.pop(connection, None)
        self._forget_anonymous(connection)
        connection.show_out()

    def _forget_anonymous(self, connection: Connection) -> None:
        for anonymous in self._anonymous.values():
            timer = anonymous.pop(connection, None)
            if timer is not None:
                timer.cancel()


def _family(connection: Connection) -> int:
    assert connection.transport is not None  # noqa: S101 (begun)
    found = connection.transport.get_extra_info("socket")
    return int(found.family) if found is not None else int(socket.AF_INET)


# ---- file descriptors


class ConnectionLimits(NamedTuple):
    """For connections that showed a token, and for those that did not: of these for each kind of socket."""

    authenticated: int
    anonymous: int


def connection_limits(wanted: int, descriptors: int) -> ConnectionLimits:
    """What so many descriptors allow: a quarter of what is not kept for each kind of strangers, at most."""
    rest = descriptors - min(KEPT, descriptors // 2)
    strangers = min(ANONYMOUS_MAX, rest // 4)
    return ConnectionLimits(min(wanted, rest - 2 * strangers), strangers)


def claim_descriptors(wanted: int) -> ConnectionLimits:
    """Raise the process's own limit as far as it needs and may, and share out what that gives."""
    needed = wanted + 2 * ANONYMOUS_MAX + KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != ENDLESS and soft < needed:
        soft = needed if hard == ENDLESS else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = connection_limits(wanted, needed if soft == ENDLESS else soft)
    if found.authenticated < wanted:
        log.warning("door.few_descriptors", descriptors=soft, needed=needed, connections_max=found.authenticated)
    return found
