"""What the documents show, done: the example in Python, the conversation in raw frames, the commands."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from websockets.asyncio.client import ClientConnection, connect

from comfyledger.cli.main import cli
from support.documents import CLI, ROOT, conversation, shell_lines
from support.processes import House
from support.waiting import DEADLINE_S, PATIENT, until
from support.wire_app import of_kind

EXAMPLE = ROOT / "examples" / "follow_a_batch.py"
EVERY = list(range(1, 61))
OF_THE_RUN = {"batch_id", "ledger_id", "epoch", "position", "at_ms", "stream", "url"}
"""Fields whose values are another in each run."""


class Example:
    """The example as a process of its own."""

    def __init__(self, house: House, *arguments: str) -> None:
        self._out = house.folder / f"example-{len(list(house.folder.glob('example-*')))}.out"
        with self._out.open("wb") as out:
            self._popen = subprocess.Popen(
                [sys.executable, str(EXAMPLE), *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COMFYLEDGER_STATE_DIR": str(house.state)},
            )

    @property
    def lines(self) -> list[str]:
        return self._out.read_text("utf-8").splitlines()

    def stored(self) -> list[str]:
        return [line.partition(" ")[2] for line in self.lines if line.startswith("stored ")]

    async def ended(self) -> int:
        try:
            await until(lambda: self._popen.poll() is not None, f"the example ends: {self.lines}")
        finally:
            self._popen.kill()
        return self._popen.wait()


async def test_the_example_follows_its_batch_over_a_killed_daemon(house: House) -> None:
    await house.begin()
    house.comfyui.control(hold=["start"])
    example = Example(house, "order-1001", "Areg", "Opal Fever", "60")
    await house.comfyui.let_run(1)
    await until(example.stored, "the first image is stored")
    assert len(example.stored()) < 60
    house.daemon.signal(signal.SIGKILL)
    house.comfyui.control(hold=[])
    await house.daemon.begin()
    assert await example.ended() == 0
    assert example.lines[0] == f"numbers {' '.join(map(str, EVERY))}"
    assert sorted(example.stored()) == sorted(path.as_uri() for path in house.stored().values())
    async with house.app() as app:
        log = await app.log()
        house.check_stored(await app.batch(log[1]["stream"]))
    assert sorted(event["data"]["image"] for event in of_kind(log, "image_uploaded")) == EVERY
    assert len(of_kind(log, "batch_requested")) == 1


async def test_a_restarted_app_gets_the_same_numbers_and_no_image_twice(house: House) -> None:
    await house.begin()
    first = Example(house, "order-1001", "Areg", "Opal Fever", "2")
    assert await first.ended() == 0
    again = Example(house, "order-1001", "Areg", "Opal Fever", "2")
    assert await again.ended() == 0
    assert again.lines == first.lines
    assert len(house.stored()) == len(house.comfyui.posted()) == 2


# ---- the conversation


async def test_the_conversation_that_is_shown_takes_place(house: House) -> None:
    await house.begin()
    headers = {"Authorization": f"Bearer {house.daemon.token}"}
    async with connect(
        house.daemon.url.replace("http", "ws") + "/ws", additional_headers=headers, proxy=None, **PATIENT
    ) as socket:
        await converse(socket, conversation())


async def converse(socket: ClientConnection, frames: Sequence[tuple[str, str]]) -> None:
    """Send what the client sends, and compare what comes with what is shown, but for what is the run's own."""
    own: dict[str, str] = {}
    for side, frame in frames:
        if side == ">":
            asked = frame
            for shown, real in own.items():
                asked = asked.replace(shown, real)
            await socket.send(asked)
        else:
            async with asyncio.timeout(DEADLINE_S):
                said = json.loads(await socket.recv())
            compare(json.loads(frame), said, own)


def compare(shown: Any, said: Any, own: dict[str, str], name: str = "") -> None:
    if isinstance(shown, dict) and isinstance(said, dict):
        assert list(shown) == list(said)
        for key, value in shown.items():
            compare(value, said[key], own, key)
    elif name in OF_THE_RUN:
        assert type(shown) is type(said)
        own |= {shown: said} if isinstance(shown, str) else {}
    else:
        assert shown == said, name


# ---- the commands


async def test_the_commands_that_are_shown_do_what_they_say(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.begin()
    monkeypatch.setenv("COMFYLEDGER_STATE_DIR", str(house.state))
    monkeypatch.chdir(ROOT)
    lines = shell_lines(CLI, "comfyledger", "run: beside a daemon")
    assert lines
    for line in lines:
        result: Result = await asyncio.to_thread(CliRunner().invoke, cli, shlex.split(line)[1:])
        assert (result.exit_code, bool(result.output)) == (0, True), f"{line}: {result.output}"
    assert len(house.stored()) == 3
