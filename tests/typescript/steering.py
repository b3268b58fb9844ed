"""What a test in another process does with the daemon: kill it, start it, restore its ledger. Over HTTP on loopback."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from support.command_line import command
from support.processes import House

LABEL = "passing"
"""Of the token that a test revokes."""


class Steering:
    """Routes by which a test steers a house: POST `/kill`, `/begin`, `/restart`, `/backup`, `/restore`, `/revoke`.
    `/token` makes the token that `/revoke` revokes; GET `/door` has the daemon's present address and its own token."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._turn = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "/kill": self._kill,
            "/begin": self._house.daemon.begin,
            "/restart": self._restart,
            "/backup": self._backup,
            "/restore": self._restore,
        }
        tokens = [web.post("/token", self._new_token), web.post("/revoke", self._done(self._revoke))]
        return [
            web.get("/door", self._door),
            *tokens,
            *(web.post(path, self._done(step)) for path, step in steps.items()),
        ]

    def _done(self, step: Callable[[], Awaitable[None]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            async with self._turn:
                await step()
            return web.Response()

        return answer

    async def _door(self, _: web.Request) -> web.Response:
        return web.json_response({"url": self._house.daemon.url, "token": self._house.daemon.token})

    async def _new_token(self, _: web.Request) -> web.Response:
        return web.json_response(await command(self._house, "token", "add", LABEL))

    async def _revoke(self) -> None:
        await command(self._house, "token", "revoke", LABEL)

    async def _kill(self) -> None:
        await asyncio.to_thread(self._house.daemon.signal, signal.SIGKILL)

    async def _restart(self) -> None:
        await self._kill()
        await self._house.daemon.begin()

    @property
    def _copy(self) -> Path:
        return self._house.folder / "backup.db"

    async def _backup(self) -> None:
        await command(self._house, "backup", str(self._copy), "--force")

    async def _restore(self) -> None:
        """A new epoch, on the copy."""
        await self._kill()
        await command(self._house, "restore", str(self._copy), "--replace")
        for old in self._house.state.glob("ledger.db.replaced-*"):
            old.unlink()  # named by the second, and tests restore twice in one
        await self._house.daemon.begin()


class Served:
    """A house and what steers it, at an address of its own."""

    def __init__(self, house: House, *routes: web.RouteDef) -> None:
        self._app = web.Application()
        self._app.add_routes([*Steering(house).routes(), *routes])
        self.url = ""

    async def __aenter__(self) -> Served:
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
