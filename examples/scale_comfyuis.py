"""Run as many of the configured ComfyUIs as are wanted, the first ones first: scale_comfyuis.py START STOP EVERY_S"""

import asyncio
import sys

from comfyledger.client import Client


async def run(command: str, name: str) -> None:
    await (await asyncio.create_subprocess_shell(command.format(name))).wait()


async def main(start: str, stop: str, every_s: str) -> None:
    async with Client(name="scaler", timeout_s=None) as client:
        while True:
            info = await client.server_info()
            wanted = sum(work.backends_wanted for work in info.demand or ())
            for place, one in enumerate(info.backends):
                if place < wanted:
                    if one.state in {"paused", "draining"}:
                        await client.resume(f"backend:{one.name}")
                    if one.state in {"paused", "away"}:
                        await run(start, one.name)
                elif one.state == "connected":
                    await client.pause(f"backend:{one.name}")  # what it has ends first: it is paused then
                elif one.state == "paused":
                    await run(stop, one.name)
            await asyncio.sleep(float(every_s))


sys.exit(asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 4 else __doc__)
