"""The demo's stand-ins for ComfyUI: one, or several, of which the last is killed in the middle and started again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from comfyledger import wire
from comfyledger.cli.demo_processes import DemoFailed, Processes
from comfyledger.cli.ui.terminal import several
from comfyledger.client import Client

LOOK_EVERY_S: Final = 0.02
AWAY_S: Final = 30.0
"""How long the daemon may take to notice that a stand-in is gone."""


class StandIns(msgspec.Struct, frozen=True):
    """The stand-ins by the names that the configuration gives them, with their addresses."""

    processes: Processes
    seconds_per_image: float
    urls: dict[str, str] = {}

    def begin(self, count: int) -> None:
        """Start so many. Raises DemoFailed."""
        for name in ["main"] if count == 1 else [f"gpu{number}" for number in range(1, count + 1)]:
            self.start(name)

    def start(self, name: str) -> None:
        """Start one, or start it again at the address that it had. Raises DemoFailed."""
        port = urlsplit(self.urls[name]).port or 0 if name in self.urls else 0
        output = self.processes.folder / f"comfyui-{name}"
        output.mkdir(exist_ok=True)
        words = ("--port", str(port), "--output", str(output), "--seconds-per-image", str(self.seconds_per_image))
        process = process_name(name)
        self.processes.start(process, ("comfyledger.sim", "comfyui", *words))
        self.urls[name] = self.processes.url_of(process, self.processes.output(process))

    async def kill_one(self, state: Path) -> str:
        """Kill the last one once it has work, and start it again when the daemon has noticed. Returns what was done."""
        name = list(self.urls)[-1]
        async with Client(state_dir=state, name="demo") as client:
            had = await _seen(client, name, has_work=True)
            self.processes.kill(process_name(name))
            await _seen(client, name, has_work=False)
        await asyncio.to_thread(self.start, name)
        there = several(had.running + had.waiting, "prompt")
        return f"The stand-in {name} was killed while it had {there}, and started again."


def process_name(backend: str) -> str:
    return f"stand-in-{backend}"


async def _seen(client: Client, name: str, *, has_work: bool) -> wire.BackendWork:
    """Wait until a ComfyUI has had work, or until it is away. Raises DemoFailed."""
    for _ in range(int(AWAY_S / LOOK_EVERY_S)):
        one = next(one for one in (await client.server_info()).backends if one.name == name)
        work = one.work or wire.BackendWork(0)
        if (work.running or work.waiting or work.ended.get("finished")) if has_work else not one.connected:
            return work
        await asyncio.sleep(LOOK_EVERY_S)
    raise DemoFailed(
        f"The stand-in {name} got no work." if has_work else f"The daemon did not notice that {name} died."
    )


async def shares(state: Path) -> list[str]:
    """What each ComfyUI has rendered, in sentences."""
    async with Client(state_dir=state, name="demo") as client:
        found = (await client.server_info()).backends
    return [f"{one.name} finished {several(one.work.ended.get('finished', 0), 'run')}" for one in found if one.work]
