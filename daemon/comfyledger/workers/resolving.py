"""Resolves names for connections to servers that a client has named. Every address is judged before it is used.

A name may come to mean another address at any time (DNS rebinding). So it is resolved anew for each connection, and
the connection goes to an address that was judged. A host that is written as an address is never resolved: judge it
before.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

Judge = Callable[[str, str], str]
"""Why a host may not be reached at an address; empty if it may."""


class NotAllowed(OSError):
    """A name means an address that may not be reached. aiohttp shows `strerror` to people."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)

    def __str__(self) -> str:
        return self.strerror or ""


class JudgedResolver(AbstractResolver):
    """For a connector of aiohttp. Refuses a name if any of its addresses may not be reached."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises NotAllowed, OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        for *_, place in found:
            if why := self._judge(host, str(place[0])):
                raise NotAllowed(why)
        return [
            ResolveResult(
                hostname=host, host=str(place[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        """Nothing is open."""
