"""A bare broadcast of the `websockets` package: on a command it sends every frame of a file to all clients."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from websockets.asyncio.server import ServerConnection, broadcast, serve


async def main(frames: list[str]) -> None:
    connected: set[ServerConnection] = set()

    async def attend(client: ServerConnection) -> None:
        connected.add(client)
        try:
            async for word in client:
                for frame in frames if word == "go" else ():
                    broadcast(connected, frame)
                    await asyncio.sleep(0)
        finally:
            connected.discard(client)

    async with serve(attend, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text("utf-8").splitlines()))
