"""The client in Chromium, from a page on an allowed origin, with the daemon killed in the middle."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

from aiohttp import web

from support.browser import CHROMIUM, visited
from support.processes import House
from support.spool_files import image
from typescript.steering import Served
from typescript.tools import CLIENT

PAGE = Path(__file__).with_name("page.html")
SECONDS_PER_IMAGE = 0.1


async def check(folder: Path) -> None:
    """Raises AssertionError, TimeoutError."""
    if CHROMIUM is None:
        print("test-typescript: there is no Chromium, so nothing is tested in a browser")
        return
    said: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    picture = image()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.read_text("utf-8"), content_type="text/html")

    async def portrait(_: web.Request) -> web.Response:
        return web.Response(body=picture, content_type="image/png")

    async def take(request: web.Request) -> web.Response:
        said.set_result(await request.json())
        return web.Response()

    routes = [web.get("/", page), web.get("/portrait.png", portrait), web.post("/said", take)]
    house = House(folder)
    try:
        async with Served(house, *routes, web.static("/client", CLIENT / "dist")) as served:
            house.daemon.environment["COMFYLEDGER_DOOR__ALLOWED_ORIGINS"] = json.dumps([served.url])
            await house.begin(seconds_per_image=SECONDS_PER_IMAGE)
            found = await visited(f"{served.url}/", folder / "profile", said)
        followed = {
            "input": f"sha256:{hashlib.sha256(picture).hexdigest()}",
            "width": 16,
            "stored": 12,
            "whole": True,
            "restarted": True,
            "shown": True,
        }
        assert found == {"websocket": followed, "http": followed, "refused": "unauthorized"}, found
        assert house.daemon.errors() == []
    finally:
        house.end()
