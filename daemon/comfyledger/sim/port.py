"""A listening port of a stand-in for a store. It counts connections and can refuse them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

HOST: Final = "127.0.0.1"


class Port:
    """One application on one port of the loopback address."""

    def __init__(self, app: web.Application, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._port = port
        self._server: asyncio.Server | None = None
        self._total = 0
        self._most = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self._port}"

    async def open(self) -> None:
        """Set up and listen. Raises OSError if the port is taken."""
        await self._runner.setup()
        await self.listen()

    async def listen(self) -> None:
        """Accept connections; port 0 becomes the free one that was found."""
        if self._server is None:
            self._server = await asyncio.get_running_loop().create_server(self._connect, HOST, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections and cut the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections():
            connection.force_close()

    async def close(self) -> None:
        """Stop for good."""
        await self.refuse()
        await self._runner.cleanup()

    def count_connections(self) -> None:
        """Update the maximum with the connections that are open now."""
        self._most = max(self._most, len(self._connections()))

    def reset_counters(self) -> None:
        """Set the counters to zero."""
        self._total = self._most = 0

    def state(self) -> dict[str, Any]:
        """How many connections there are and were."""
        return {
            "listening": self._server is not None,
            "connections_open": len(self._connections()),
            "connections_max": self._most,
            "connections_total": self._total,
        }

    def _connect(self) -> asyncio.Protocol:
        self._total += 1
        server = self._runner.server
        assert server is not None  # noqa: S101 - set up before it listens
        return server()

    def _connections(self) -> list[Any]:
        return list(self._runner.server.connections) if self._runner.server else []
