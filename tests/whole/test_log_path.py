"""The daemon works on whatever becomes of its standard error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.processes import Daemon, House
from support.waiting import DEADLINE_S, until
from support.wire_app import coloured


class Mute(Daemon):
    """A daemon whose standard error is what the test says."""

    def __init__(self, house: House, stderr: int | None, redirect: str = "") -> None:
        super().__init__(house.folder, house.folder / "config.toml", house.state)
        self._stderr = stderr
        self._redirect = redirect

    def start(self) -> None:
        self.log.write_bytes(b"")
        words = ["sh", "-c", f'exec "$@" {self._redirect}', "sh", *self._arguments]
        self._popen = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._stderr or subprocess.DEVNULL
        )


def unread() -> tuple[int, Callable[[], None]]:
    """A pipe that is full already and stays so."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"\n" * 4_096)
    os.set_blocking(write, True)
    return write, lambda: os.close(read)


def left() -> tuple[int, Callable[[], None]]:
    """A pipe whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    return write, lambda: None


def full() -> tuple[int, Callable[[], None]]:
    return os.open("/dev/full", os.O_WRONLY), lambda: None


def dropped(house: House) -> int:
    headers = {"Authorization": f"Bearer {house.daemon.token}"}
    request = urllib.request.Request(house.daemon.url + "/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        lines = answer.read().decode().splitlines()
    return next(int(float(one.split()[1])) for one in lines if one.startswith("comfyledger_log_lines_dropped_total "))


async def works(house: House, daemon: Daemon) -> None:
    """A batch comes through, and the daemon ends in order within its time."""
    await house.comfyui.begin()
    house.configure('[logging]\nlevel = "debug"\nformat = "json"')
    house.daemon = daemon
    await daemon.begin()
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(4))
        (batch,) = await app.settled(asked["batch_id"])
    house.check_stored(batch)


async def test_a_batch_comes_through_although_nobody_takes_the_log(side_by_side: Any) -> None:
    await side_by_side(log_not_taken, [unread, left, full])


async def log_not_taken(house: House, made: Callable[[], tuple[int, Callable[[], None]]]) -> None:
    stderr, close = made()
    try:
        await works(house, daemon := Mute(house, stderr))
        if made is not unread:
            await until(lambda: dropped(house) > 0, "lost lines are counted")
        assert await asyncio.to_thread(daemon.signal, signal.SIGTERM) == 0
    finally:
        os.close(stderr)
        close()


async def test_a_daemon_without_standard_error_works_and_no_file_takes_its_place(house: House) -> None:
    await works(house, daemon := Mute(house, None, "2>&-"))
    assert Path(f"/proc/{daemon.pid}/fd/2").readlink() == Path("/dev/null")
    assert await asyncio.to_thread(daemon.signal, signal.SIGTERM) == 0


async def test_the_last_words_come_out(house: House) -> None:
    await house.begin()
    assert await asyncio.to_thread(house.daemon.signal, signal.SIGTERM) == 0
    assert "daemon.stopping" in [fact["event"] for fact in house.daemon.facts()]
