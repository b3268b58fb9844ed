"""The floor of an event's delay: passes every message of ComfyUI's websocket to one client at once."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve


async def main() -> None:
    async def relay(client: ServerConnection) -> None:
        async with connect(f"{sys.argv[1]}/ws?clientId=relay", compression=None, max_size=None, proxy=None) as comfyui:
            async for frame in comfyui:
                await client.send(frame)

    async with serve(relay, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
