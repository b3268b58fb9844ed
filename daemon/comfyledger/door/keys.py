"""What every page of the door finds in its application."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from comfyledger.door.context import Context
from comfyledger.door.tokens import Caller

CONTEXT: Final = web.AppKey("context", Context)


class Sockets:
    """The open connections of a door, and who is at their other end."""

    def __init__(self) -> None:
        self.open: dict[web.WebSocketResponse, Caller] = {}


SOCKETS: Final = web.AppKey("sockets", Sockets)
