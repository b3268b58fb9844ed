"""Counts connections, those with a valid token apart from those without.

A connection without a token is closed after seconds, whatever it sends. Such anonymous connections have a limit of
their own at each kind of socket, and a new one replaces the oldest. So a client that sends its token with the first
request is served, however many others send nothing. Bytes pass between connection and aiohttp unchanged.

Below: how many connections the process can hold. They share file descriptors with the ledger, the spool and every call.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple, cast

import structlog
from aiohttp import web

from comfyledger.errors import Refused

ANONYMOUS_S: Final = 5.0
"""How long a connection may stay without a token. A request to `/healthz` needs less."""
ANONYMOUS_MAX: Final = 128
"""At TCP, and as many at Unix sockets."""
KEPT: Final = 256
"""Descriptors that connections never use; half of all descriptors if there are few."""
ENDLESS: Final = resource.RLIM_INFINITY
BUSY_HINT: Final = "Close unused connections, or raise [door] connections_max."

log = structlog.get_logger("comfyledger.door")


class Connection(asyncio.Protocol):
    """One connection, from its beginning to its end."""

    def __init__(self, connections: Connections, handler: web.RequestHandler) -> None:
        self._connections = connections
        self.handler = handler
        self.transport: asyncio.WriteTransport | None = None
        self.under_way = 0
        """Requests that are being answered. An open websocket counts as one."""
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

    def __enter__(self) -> None:
        self.under_way += 1

    def __exit__(self, *ended: object) -> None:
        self.under_way -= 1

    def close(self) -> None:
        """Close in order if nothing waits to be sent; abort if the client does not read."""
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


_CLOSED: Final = nullcontext()


class Connections:
    """All connections of the server. `authenticated_max` limits those with a valid token."""

    def __init__(self, authenticated_max: int, anonymous_max: int = ANONYMOUS_MAX) -> None:
        self.authenticated_max = authenticated_max
        self.anonymous_max = anonymous_max
        self._all: dict[Any, Connection] = {}
        self._anonymous: dict[int, dict[Connection, asyncio.TimerHandle]] = {}
        self._authenticated: dict[Connection, None] = {}

    def factory(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """The protocol factory of a listening socket."""
        return lambda: Connection(self, server())

    def begin(self, connection: Connection) -> None:
        self._all[connection.handler] = connection
        anonymous = self._anonymous.setdefault(_family(connection), {})
        while len(anonymous) >= self.anonymous_max:
            self._close(next(iter(anonymous)))
        anonymous[connection] = asyncio.get_running_loop().call_later(ANONYMOUS_S, self._close, connection)

    def end(self, connection: Connection) -> None:
        self._all.pop(connection.handler, None)
        self._authenticated.pop(connection, None)
        self._forget_anonymous(connection)

    def authenticate(self, handler: Any) -> None:
        """The connection of this handler sent a valid token. Raises Refused(busy) if too many have."""
        connection = self._all.get(handler)
        if connection is None or connection in self._authenticated:
            return
        if len(self._authenticated) >= self.authenticated_max:
            idle = next((one for one in self._authenticated if not one.under_way), None)
            if idle is None:
                text = f"There are {len(self._authenticated)} connections already."
                raise Refused("busy", text, hint=BUSY_HINT, retry_after_s=1.0)
            self._close(idle)
        self._forget_anonymous(connection)
        self._authenticated[connection] = None

    def answering(self, handler: Any) -> AbstractContextManager[None]:
        """A connection is not idle while one of its requests is being answered."""
        return self._all.get(handler, _CLOSED)

    def _close(self, connection: Connection) -> None:
        self._authenticated.pop(connection, None)
        self._forget_anonymous(connection)
        connection.close()

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
    """How many connections with a token, and how many without one at each kind of socket."""

    authenticated: int
    anonymous: int


def connection_limits(wanted: int, descriptors: int) -> ConnectionLimits:
    """The limits that a number of descriptors allows.

    Anonymous connections get at most a quarter of the free descriptors at each kind of socket.
    """
    rest = descriptors - min(KEPT, descriptors // 2)
    anonymous = min(ANONYMOUS_MAX, rest // 4)
    return ConnectionLimits(min(wanted, rest - 2 * anonymous), anonymous)


def claim_descriptors(wanted: int) -> ConnectionLimits:
    """Raise the process's own limit as far as needed and allowed, and divide what that gives."""
    needed = wanted + 2 * ANONYMOUS_MAX + KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != ENDLESS and soft < needed:
        soft = needed if hard == ENDLESS else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = connection_limits(wanted, needed if soft == ENDLESS else soft)
    if found.authenticated < wanted:
        log.warning("door.few_descriptors", descriptors=soft, needed=needed, connections_max=found.authenticated)
    return found
