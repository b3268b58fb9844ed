"""Connections that show no token, against the real daemon with few file descriptors: work goes on beside them."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfyledger.server.connections import ANONYMOUS_MAX
from support.processes import Daemon, House
from support.waiting import until
from support.wire_app import coloured

COUNT = 600


class Poor(Daemon):
    """A daemon that may open so many files and not one more."""

    def __init__(self, house: House, descriptors: int) -> None:
        super().__init__(house.folder, house.folder / "config.toml", house.state)
        self._descriptors = descriptors

    def start(self) -> None:
        with self.log.open("ab") as log:
            words = ["sh", "-c", f'ulimit -n {self._descriptors}; exec "$@"', "sh", *self._arguments]
            self._popen = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)


@contextlib.asynccontextmanager
async def strangers(house: House) -> AsyncIterator[None]:
    """Hundreds of connections at the port and at the socket of the state folder that say nothing."""
    host, port = house.daemon.url.removeprefix("http://").split(":")
    door = json.loads((house.state / "door.json").read_text())["socket"]
    with contextlib.ExitStack() as stack:
        for number in range(COUNT):
            stack.enter_context(silent((host, int(port)) if number % 2 else door))
        yield


def silent(address: tuple[str, int] | str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    made.setblocking(False)
    with contextlib.suppress(BlockingIOError):  # at the port it goes on by itself
        made.connect(address)
    return made


@pytest.fixture(autouse=True)
def many_files() -> None:
    """For the test's own ends of the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * COUNT:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * COUNT, hard), hard))


@pytest.mark.parametrize("descriptors", [4_096, 700, 256])
async def test_six_hundred_silent_connections_hold_nobody_up(house: House, descriptors: int) -> None:
    await house.comfyui.begin()
    house.configure()
    house.daemon = Poor(house, descriptors)
    await house.daemon.begin()
    async with strangers(house), house.app() as app:
        asked = await app.submit("r1", images=coloured(6))
        async with strangers(house):
            (batch,) = await app.settled(asked["batch_id"])
        async with house.app() as other:
            assert (await other.ask("server_info"))["position"] > 0
        await until(lambda: open_files(house) < 2 * ANONYMOUS_MAX, "strangers are shown out within seconds")
    house.check_stored(batch)
    names = {fact["event"] for fact in house.daemon.facts()}
    assert ("door.few_descriptors" in names) == (descriptors < 1_000)
    assert "library.message" not in names, "no call ever found all descriptors taken"


def open_files(house: House) -> int:
    return len(list(Path(f"/proc/{house.daemon.pid}/fd").iterdir()))
