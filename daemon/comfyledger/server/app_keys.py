"""What every handler of the server finds in its application."""

from __future__ import annotations

import asyncio
from typing import Final, Self

import msgspec
from aiohttp import web

from comfyledger.errors import Refused
from comfyledger.metrics import Metrics
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.progress import ProgressFeed
from comfyledger.queries.subscription import FrameCache
from comfyledger.server.access import Access
from comfyledger.server.connections import BUSY_HINT, Connections
from comfyledger.server.file_urls import FileUrls
from comfyledger.server.rate_limit import RateLimitedLog, TokenBucket
from comfyledger.server.tokens import Caller
from comfyledger.settings import Door
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.fleet.peer_key import PeerKey
from comfyledger.workers.process.notify import SILENT, Notifier


class Context(Dependencies, frozen=True, kw_only=True):
    """What the server itself needs, besides what admission and queries use. All connections share it."""

    access: Access
    file_urls: FileUrls
    door: Door
    progress: ProgressFeed
    event_frames: FrameCache
    file_source: FileSource
    metrics: Metrics
    peer_key: PeerKey | None = None
    """With which other boxes of the fleet sign what they ask for; None without a fleet."""
    notifier: Notifier = SILENT

    def shown_to(self, caller: Caller) -> Self:
        """The same, limited to what a caller may see."""
        return self if caller.read_all else self.limited_to(caller.label)


CONTEXT: Final = web.AppKey("context", Context)


class Client(msgspec.Struct, frozen=True):
    """The caller of an open websocket or a long answer, and the request that opened it."""

    caller: Caller
    request: web.Request


class Websockets:
    """The open websockets of the server."""

    def __init__(self) -> None:
        self.open: dict[web.WebSocketResponse, Client] = {}


WEBSOCKETS: Final = web.AppKey("sockets", Websockets)
HELD: Final = web.AppKey("held", dict[asyncio.Task[None], Client])
"""Long answers over HTTP, by the task that each one runs."""
UPLOADS: Final = web.AppKey("uploads", asyncio.Semaphore)
"""Limits how many input files come at the same time."""
CONNECTIONS: Final = web.AppKey("connections", Connections)
REFUSALS: Final = web.AppKey("refusals", RateLimitedLog)
RATES: Final = web.AppKey("rates", dict[bytes, TokenBucket])
"""How many HTTP requests each token may still send, by the digest of the token."""

SPARED: Final = 32
"""Connections above `connections_max`, for tokens that have fewer than `SPARED_EACH`."""
SPARED_EACH: Final = 2


def check_room(app: web.Application, caller: Caller) -> None:
    """Whether another websocket or long answer may begin. Raises Refused(busy).

    One token cannot take all connections: others have a few in reserve.
    """
    most, clients = app[CONTEXT].door.connections_max, [*app[WEBSOCKETS].open.values(), *app[HELD].values()]
    if len(clients) < most:
        return
    own = sum(one.caller.digest == caller.digest for one in clients)
    if own >= SPARED_EACH or len(clients) >= most + SPARED:
        raise Refused("busy", f"There are {len(clients)} connections already.", hint=BUSY_HINT, retry_after_s=1.0)
