"""Connections to ComfyUIs that clients have added: never to a link-local address, whatever a name comes to mean.

Such addresses belong to the machine itself or to the host that runs it; cloud providers give credentials there. The
HTTP calls use `guarded_session`, the websocket asks `address_of`. A host that is written as an address is judged by
`why_never_at` when it is added, and again at each start.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import aiohttp

from comfyledger.core.addresses import is_written, why_never
from comfyledger.workers.resolving import JudgedResolver


def _judge(_: str, address: str) -> str:
    return why_never(address)


_RESOLVER: Final = JudgedResolver(_judge)


def guarded_session() -> aiohttp.ClientSession:
    """One session for all of them, to be closed. It keeps no cookies, and resolves a name for each connection."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_RESOLVER, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def address_of(host: str, port: int) -> str:
    """An address of a host to connect to. Raises NotAllowed, OSError."""
    found = await _RESOLVER.resolve(host, port)
    return found[0]["host"]


def why_never_at(url: str) -> str:
    """Why a URL whose host is an address is never called; empty if it may be, or if its host is a name."""
    host = urlsplit(url).hostname or ""
    return why_never(host) if is_written(host) and host != "localhost" else ""
