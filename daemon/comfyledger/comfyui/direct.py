"""Calls to the configured address and no other, with the user and password of its URL. No redirect is followed.

A redirect comes from a proxy in front of ComfyUI that wants a login or has moved. A client that followed it would store
a file of the login page, or of another host, as a user's image.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from comfyledger.core.urls import Reached

PLACE_CHARS_MAX: Final = 200
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
CLOSE_S: Final = 1.0
PING_S: Final = 20.0
"""Between two pings, and how long to wait for the answer to one."""


AddressOf = Callable[[str, int], Awaitable[str]]
"""Finds an address of a host to connect to. Raises OSError."""


class Direct(connect):
    """A websocket that follows no redirect."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Called by `websockets` for each answer that is no handshake."""
        return exc


def direct_websocket(url: str, headers: dict[str, str], open_timeout_s: float, address: str = "") -> Direct:
    """One connection, to await or to enter. Raises OSError, TimeoutError and WebSocketException when it is opened.

    `address`: where to connect; without it, the host of the URL is resolved.
    """
    elsewhere: dict[str, Any] = {"host": address} if address else {}
    return Direct(
        url,
        additional_headers=headers,
        max_size=FRAME_BYTES_MAX,
        open_timeout=open_timeout_s,
        close_timeout=CLOSE_S,
        ping_interval=PING_S,
        ping_timeout=PING_S,
        compression=None,
        proxy=None,
        **elsewhere,
    )


def login_header(place: Reached) -> dict[str, str]:
    """The header of basic authentication (RFC 7617, in UTF-8); empty if the URL names no user."""
    if not (place.user or place.password):
        return {}
    return {"Authorization": "Basic " + b64encode(f"{place.user}:{place.password}".encode()).decode()}


def redirected(path: str, location: str) -> str:
    """Two sentences that report a redirect. They name only the host of `location`: the rest may hold a secret."""
    try:
        parts = urlsplit(location)
        host = parts.netloc.rpartition("@")[2] or "another path"
    except ValueError:
        host = "somewhere else"
    return (
        f"{path} is redirected to {host[:PLACE_CHARS_MAX]}, which is not followed."
        " Its url must be an address at which ComfyUI itself answers."
    )


def redirection_of(error: BaseException) -> str:
    """The same for a websocket that could not be opened; empty if it was not redirected."""
    if isinstance(error, InvalidStatus) and 300 <= error.response.status_code < 400:
        return redirected("/ws", error.response.headers.get("Location", ""))
    return ""
