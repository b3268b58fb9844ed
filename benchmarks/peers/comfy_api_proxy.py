"""The daemon beside comfy-api-proxy, the lighter server in front of ComfyUI, and both beside a bare client.

    python -m venv FOLDER && FOLDER/bin/pip install comfy-api-proxy==0.1.6
    python benchmarks/peers/comfy_api_proxy.py --command FOLDER/bin/comfy-api-proxy --rounds 5
    python benchmarks/peers/comfy_api_proxy.py --command FOLDER/bin/comfy-api-proxy --real http://127.0.0.1:8188

All use one ComfyUI and take turns. The proxy runs as

    comfy-api-proxy run --comfyui URL --port PORT --state-dir FOLDER

so that it remembers its jobs. Its client has as many jobs at once as ours has prompts, asks for each every POLL_S until
it has ended, fetches the file through the proxy and writes it to disk. The proxy checks no file and stores none. If it
is not installed, this program says so and measures nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from measured import line, say
from processes import daemon, listener, process, until
from whole import comfyui_in
from whole_app import app_of
from whole_clients import AT_ONCE, COLORS, Peer, graph
from whole_rounds import Rounds, in_turns

POLL_S: Final = 0.003
"""Shorter costs the proxy more, longer makes its client wait: of 1 to 10 ms this gives the most images a second."""
NAME: Final = "comfy-api-proxy"
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})


class ProxyClient:
    """A client of the proxy's API."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder

    async def rendered_per_second(self, images: int) -> float:
        left = iter(range(images))
        async with aiohttp.ClientSession() as session:

            async def worker() -> None:
                for _ in left:
                    await self._render(session, uuid.uuid4().hex)

            start = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
            return images / (time.perf_counter() - start)

    async def _render(self, session: aiohttp.ClientSession, name: str) -> None:
        body = {"workflow": graph(f"proxy/{name}/1", next(COLORS))}
        async with session.post(f"{self._url}/api/v2/jobs", json=body, headers={"Idempotency-Key": name}) as answer:
            job = await answer.json()
        while job["status"] not in ENDED:
            await asyncio.sleep(POLL_S)
            async with session.get(f"{self._url}/api/v2/jobs/{job['id']}") as answer:
                job = await answer.json()
        (file,) = job["outputs"]
        async with session.get(file["url"]) as answer:
            (self._folder / f"{name}.png").write_bytes(await answer.read())


@contextmanager
def proxy(command: str, comfyui: str, folder: Path) -> Iterator[tuple[str, int]]:
    """The address and the process of a proxy that keeps its state in this folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("run", "--comfyui", comfyui, "--port", str(port), "--state-dir", str(folder / "proxy-state"))
    with process(words, folder / "proxy.log", program=command):
        yield f"http://127.0.0.1:{port}", until(lambda: listening(port), "the proxy listens")


def listening(port: int) -> int | None:
    try:
        return listener(port)
    except LookupError:
        return None


async def measure(folder: Path, command: str, images: int, rounds: int, real: str) -> None:
    (folder / "files").mkdir()
    with (
        comfyui_in(folder, real) as comfyui,
        daemon(folder, comfyui.url) as ours,
        proxy(command, comfyui.url, folder) as (url, pid),
    ):
        async with app_of(ours) as app:
            clients: dict[str, Any] = {
                "ours": (app, ours.pid),
                "proxy": (ProxyClient(url, folder / "files"), pid),
                "bare": (Peer(comfyui.url, folder / "files"), os.getpid()),
            }
            found = await in_turns(comfyui, clients, images, rounds)
    for one in lines(found["ours"], found["proxy"], found["bare"]):
        say(one)


def lines(ours: Rounds, proxy: Rounds, bare: Rounds) -> Iterator[dict[str, Any]]:
    """Ours beside the proxy, and the proxy beside the bare client."""
    for name, figure, unit in (
        ("images", "rate", "images/s"),
        ("cpu", "cpu_ms", "ms/image"),
        ("comfyui", "comfyui_ms", "ms/image"),
    ):
        mine, other = ours.of(figure), proxy.of(figure)
        yield line(f"peers.proxy.{name}", mine, other, unit, peer=f"{NAME}: {other:.2f}")
    rate, other = proxy.of("rate"), bare.of("rate")
    yield line("peers.proxy.bare", rate, other, "images/s of the proxy", peer=f"a bare client: {other:.0f}")
    if proxy.calls:
        said = ", ".join(f"{kind} {count:.2f}" for kind, count in proxy.calls_by_kind.items())
        yield line("peers.proxy.calls", ours.calls, proxy.calls, "HTTP calls an image", peer=f"{NAME}: {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--real", default="", metavar="URL", help="of a ComfyUI of this machine, instead of a stand-in")
    parser.add_argument("--command", default=NAME, metavar="PATH", help=f"of {NAME} (default: the one on PATH)")
    given = parser.parse_args()
    command = shutil.which(given.command)
    if command is None:
        print(f"peers/comfy_api_proxy.py: {given.command} is not installed; nothing is measured", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        asyncio.run(measure(Path(name), command, given.images, given.rounds, given.real))


if __name__ == "__main__":
    main()
