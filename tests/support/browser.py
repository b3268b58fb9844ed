"""A real browser that looks at a page of a web server of the test's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from support.waiting import DEADLINE_S

T = TypeVar("T")
CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--mute-audio"),
)


class Pages:
    """A web server of somebody else, on a port of its own, and a browser that looks at its page."""

    def __init__(self) -> None:
        self.page = self.origin = ""
        self.drawing = b""
        """An SVG at `/drawing.svg`, shown as one."""
        self._said: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Pages:
        app = web.Application()
        app.add_routes([web.get("/", self._answer), web.post("/said", self._take), web.get("/drawing.svg", self._draw)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(text=self.page, content_type="text/html")

    async def _draw(self, _: web.Request) -> web.Response:
        return web.Response(body=self.drawing, content_type="image/svg+xml")

    async def _take(self, request: web.Request) -> web.Response:
        self._said.set_result(await request.json())
        return web.Response()

    async def visited(self, profile: Path) -> dict[str, Any]:
        """What the page's script has found out."""
        return await visited(self.origin + "/", profile, self._said)


async def visited(url: str, profile: Path, said: asyncio.Future[T]) -> T:
    """What the script of a page has found out, which a browser looks at until then."""
    assert CHROMIUM is not None
    words = (CHROMIUM, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", url)
    silent = asyncio.subprocess.DEVNULL
    browser = await asyncio.create_subprocess_exec(*words, stdout=silent, stderr=silent, start_new_session=True)
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await said
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        await browser.wait()
