"""What every page of the door finds in its application."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from comfyledger.queries.dependencies import Dependencies
from comfyledger.server.access import Gate
from comfyledger.server.connections import Visits
from comfyledger.server.rate_limit import Sparing
from comfyledger.server.tokens import Caller
from comfyledger.settings import Door


class Context(Dependencies, frozen=True, kw_only=True):
    """What the server's own pages and sessions need beside what they answer from."""

    gate: Gate
    door: Door


CONTEXT: Final = web.AppKey("context", Context)


class Visitor(msgspec.Struct, frozen=True):
    """Who is at the other end of a connection, and the request that opened it."""

    caller: Caller
    request: web.Request


class Sockets:
    """The open connections of a door."""

    def __init__(self) -> None:
        self.open: dict[web.WebSocketResponse, Visitor] = {}


SOCKETS: Final = web.AppKey("sockets", Sockets)
VISITS: Final = web.AppKey("visits", Visits)
REFUSALS: Final = web.AppKey("refusals", Sparing)
