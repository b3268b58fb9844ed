"""What every page of the door finds in its application."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from comfyledger.door.context import Context

CONTEXT: Final = web.AppKey("context", Context)


class Sockets:
    """The open connections of a door."""

    def __init__(self) -> None:
        self.open: set[web.WebSocketResponse] = set()


SOCKETS: Final = web.AppKey("sockets", Sockets)
