"""A ComfyUI of two calls: it takes uploads into its input folder and serves them, as ComfyUI 0.29.0 does."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from comfyledger.comfyui.client import ComfyUI


class InputFolder:
    """`folder` is its input folder. `answers`: what a path answers instead. `asked` and `uploaded` count."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, web.Response] = {}
        self.asked: list[str] = []
        self.uploaded: list[str] = []
        self.fields: dict[str, Any] = {}
        self.bytes_sent = 0
        self.url = ""

    def path(self, name: str) -> Path:
        return self.folder / name

    def put(self, name: str, body: bytes, *, age_s: float = 0.0) -> None:
        """What somebody else writes there, some time ago."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        self.age(name, age_s)

    def age(self, name: str, age_s: float) -> None:
        changed_ns = time.time_ns() - int(age_s * 1e9)
        os.utime(self.path(name), ns=(changed_ns, changed_ns))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if said := self.answers.get(request.path):
            return said
        match request.path:
            case "/upload/image":
                return await self._upload(request)
            case "/view":
                return await self._view(request)
        return web.json_response({})

    async def _upload(self, request: web.Request) -> web.Response:
        fields: dict[str, Any] = dict(await request.post())
        image = fields.pop("image")
        self.fields = fields
        name = f"{fields['subfolder']}/{image.filename}".lstrip("/")
        self.put(name, image.file.read())
        self.uploaded.append(name)
        return web.json_response({"name": image.filename, "subfolder": fields["subfolder"], "type": fields["type"]})

    async def _view(self, request: web.Request) -> web.StreamResponse:
        """With the headers of aiohttp's FileResponse. What goes out is counted."""
        path = self.folder / request.query["subfolder"] / request.query["filename"]
        if not path.is_file():
            return web.Response(status=404)
        found = path.stat()
        etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        headers = {"Content-Disposition": f'filename="{path.name}"', "ETag": etag}
        is_known = request.headers.get("If-None-Match") == etag
        response = web.StreamResponse(status=304 if is_known else 200, headers=headers)
        response.last_modified = found.st_mtime
        response.content_length = 0 if is_known else found.st_size
        await response.prepare(request)
        with path.open("rb") as file:
            while not is_known and (piece := file.read(65_536)):
                await response.write(piece)
                self.bytes_sent += len(piece)
        await response.write_eof()
        return response


@asynccontextmanager
async def input_folder(folder: Path, **more: Any) -> AsyncIterator[tuple[InputFolder, ComfyUI]]:
    """The server, and a client of it."""
    server, app = InputFolder(folder), web.Application(client_max_size=1024**3)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as http:
            limits = {"connect_timeout_s": 2, "request_timeout_s": 20} | more
            yield server, ComfyUI(http, server.url, **limits)
    finally:
        await runner.cleanup()
