"""The client's tests in Node. Each file runs in a process of its own, against one house."""

from __future__ import annotations

from pathlib import Path

from support.processes import House
from typescript.steering import Served
from typescript.tools import CLIENT, node, socket_flags

CONFIG = """
            [inputs]
            bytes_max = 2097152
"""
SECONDS_PER_IMAGE = 0.05


async def check(folder: Path) -> None:
    """Raises AssertionError."""
    flags = socket_flags()
    if flags is None:
        print("test-typescript: this Node has no WebSocket, so only Server-Sent Events are tested in it")
    house = House(folder)
    try:
        await house.begin(CONFIG, seconds_per_image=SECONDS_PER_IMAGE)
        async with Served(house) as served:
            environment = {"STEERING": served.url, "TRANSPORTS": "http" if flags is None else "websocket,http"}
            tests = sorted((CLIENT / "build").glob("*.test.js"))
            assert tests
            words = ["--test", "--test-reporter=spec", "--test-concurrency=1", *(flags or [])]
            await node(*words, *tests, environment=environment, timeout_s=300)
        assert house.daemon.errors() == []
    finally:
        house.end()
