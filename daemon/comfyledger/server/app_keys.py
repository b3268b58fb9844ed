"""What every handler of the server finds in its application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec
from aiohttp import web

from comfyledger.metrics import Metrics
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.progress import ProgressFeed
from comfyledger.queries.subscription import FrameCache
from comfyledger.server.access import Access
from comfyledger.server.connections import Connections
from comfyledger.server.rate_limit import RateLimitedLog, TokenBucket
from comfyledger.server.tokens import Caller
from comfyledger.settings import Door
from comfyledger.workers.file_source import FileSource
from comfyledger.workers.process.notify import SILENT, Notifier


class Context(Dependencies, frozen=True, kw_only=True):
    """What the server itself needs, besides what admission and queries use. All connections share it."""

    access: Access
    door: Door
    progress: ProgressFeed
    event_frames: FrameCache
    file_source: FileSource
    metrics: Metrics
    disks: Mapping[str, Path]
    """A folder on each disk whose free space is reported: `ledger` and `spool`."""
    notifier: Notifier = SILENT

    def shown_to(self, caller: Caller) -> Self:
        """The same, limited to what a caller may see."""
        return self if caller.read_all else self.limited_to(caller.label)


CONTEXT: Final = web.AppKey("context", Context)


class Client(msgspec.Struct, frozen=True):
    """The caller of an open websocket, and the request that opened it."""

    caller: Caller
    request: web.Request


class Websockets:
    """The open websockets of the server."""

    def __init__(self) -> None:
        self.open: dict[web.WebSocketResponse, Client] = {}


WEBSOCKETS: Final = web.AppKey("sockets", Websockets)
CONNECTIONS: Final = web.AppKey("connections", Connections)
REFUSALS: Final = web.AppKey("refusals", RateLimitedLog)
RATES: Final = web.AppKey("rates", dict[bytes, TokenBucket])
"""How many HTTP requests each token may still send, by the digest of the token."""
