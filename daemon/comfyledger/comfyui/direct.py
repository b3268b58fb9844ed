"""Calls that go where they were sent, as whom the URL says: a redirect is an answer like another, and never followed.

What redirects stands before ComfyUI: a proxy that wants a login, or that moved. Whoever followed it would store the
picture of a login page, or of another host, as a user's.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from comfyledger.core.urls import Reached

PLACE_CHARS_MAX: Final = 200


class Direct(connect):
    """A connection to just the address that was given."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Called by `websockets` for each answer that is no handshake."""
        return exc


def login_header(place: Reached) -> dict[str, str]:
    """Basic authentication (RFC 7617, in UTF-8); empty where the URL names no user."""
    if not (place.user or place.password):
        return {}
    return {"Authorization": "Basic " + b64encode(f"{place.user}:{place.password}".encode()).decode()}


def redirected(path: str, location: str) -> str:
    """What is said of a redirect, in two sentences. `location` may hold a secret behind its host."""
    try:
        parts = urlsplit(location)
        host = parts.netloc.rpartition("@")[2] or "another path"
    except ValueError:
        host = "somewhere else"
    return (
        f"{path} is redirected to {host[:PLACE_CHARS_MAX]}, which is not followed."
        " Set the url of [comfyui.NAME] to an address at which ComfyUI itself answers."
    )


def redirection_of(error: BaseException) -> str:
    """The same of a socket that could not be opened; empty if it was not redirected."""
    if isinstance(error, InvalidStatus) and 300 <= error.response.status_code < 400:
        return redirected("/ws", error.response.headers.get("Location", ""))
    return ""
