"""The floor of a durable answer: a bare aiohttp websocket that makes 4 KiB durable for each message and echoes it."""

from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web

PAGE = b"x" * 4_096


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    fd = request.app[FD]
    async for message in socket:
        os.pwrite(fd, PAGE, 0)
        os.fdatasync(fd)
        await socket.send_str(message.data)
    return socket


FD: web.AppKey[int] = web.AppKey("fd", int)


async def main() -> None:
    app = web.Application()
    app[FD] = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(app[FD], PAGE, 0)
    app.add_routes([web.get("/ws", echo)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"ws://127.0.0.1:{runner.addresses[0][1]}/ws", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
