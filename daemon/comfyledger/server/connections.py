"""Who stands in the door: connections that showed a token, and those that did not.

Who showed none has seconds, whatever it does with them, and takes no place from those who did: there are so many places
for strangers at each kind of socket, and a newcomer takes that of the one who stands there longest. So a token that is
shown with the first request comes in however many say nothing. Between connection and aiohttp nothing is added: bytes
go straight through.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from aiohttp import web

from comfyledger.errors import Refused

STRANGER_S: Final = 5.0
"""For a connection to show a token. A sign of life (`/healthz`) needs less."""
STRANGERS_MAX: Final = 128
"""For TCP, and as many for Unix sockets."""
BUSY_HINT: Final = "Close connections that are not used, or raise [door] connections_max."


class Visit(asyncio.Protocol):
    """One connection, from its first moment to its last."""

    def __init__(self, visits: Visits, handler: web.RequestHandler) -> None:
        self._visits = visits
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
        self._visits.begin(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._visits.end(self)
        self.handler.connection_lost(exc)

    def show_out(self) -> None:
        """In order if nothing waits to be sent; whoever does not read is cut off."""
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


class Visits:
    """All connections of a door. `guests_max`: of those that showed a token."""

    def __init__(self, guests_max: int, strangers_max: int = STRANGERS_MAX) -> None:
        self.guests_max = guests_max
        self.strangers_max = strangers_max
        self._all: dict[Any, Visit] = {}
        self._strangers: dict[int, dict[Visit, asyncio.TimerHandle]] = {}
        self._guests: dict[Visit, None] = {}

    def entrance(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """What a listening socket makes of each connection."""
        return lambda: Visit(self, server())

    def begin(self, visit: Visit) -> None:
        self._all[visit.handler] = visit
        strangers = self._strangers.setdefault(_family(visit), {})
        while len(strangers) >= self.strangers_max:
            self._leave(next(iter(strangers)))
        strangers[visit] = asyncio.get_running_loop().call_later(STRANGER_S, self._leave, visit)

    def end(self, visit: Visit) -> None:
        self._all.pop(visit.handler, None)
        self._guests.pop(visit, None)
        self._forget_stranger(visit)

    def welcome(self, handler: Any) -> None:
        """The connection of this handler showed a token. Raises Refused(busy) if there are too many of them."""
        visit = self._all.get(handler)
        if visit is None or visit in self._guests:
            return
        if len(self._guests) >= self.guests_max:
            idle = next((one for one in self._guests if not one.under_way), None)
            if idle is None:
                text = f"There are {len(self._guests)} connections already."
                raise Refused("busy", text, hint=BUSY_HINT, retry_after_s=1.0)
            self._leave(idle)
        self._forget_stranger(visit)
        self._guests[visit] = None

    @contextmanager
    def answering(self, handler: Any) -> Iterator[None]:
        """A connection is not idle while one of its requests is answered."""
        visit = self._all.get(handler)
        if visit is None:
            yield
            return
        visit.under_way += 1
        try:
            yield
        finally:
            visit.under_way -= 1

    def _leave(self, visit: Visit) -> None:
        self._guests.pop(visit, None)
        self._forget_stranger(visit)
        visit.show_out()

    def _forget_stranger(self, visit: Visit) -> None:
        for strangers in self._strangers.values():
            timer = strangers.pop(visit, None)
            if timer is not None:
                timer.cancel()


def _family(visit: Visit) -> int:
    assert visit.transport is not None  # noqa: S101 (begun)
    found = visit.transport.get_extra_info("socket")
    return int(found.family) if found is not None else int(socket.AF_INET)
