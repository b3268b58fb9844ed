"""Taking over what a store holds already: interrupted, gone on with, repeated; and the batches that come after it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from support.processes import House
from support.waiting import PATIENT, until
from support.wire_app import check_gap_free, of_kind

OUTLIER = "Bo/characters/opal-fever/images/Bo_opal-fever_image_20251122"


def place(root: Path) -> None:
    """What three people have, two pages and a half, and what is nobody's."""
    names = ["holiday.png", "Areg/notes.txt", f"{OUTLIER}.png"]
    names += [f"Areg/characters/opal-fever/images/Areg_opal-fever_image_{number}.png" for number in range(1, 58)]
    names += [f"mina/premade_characters/opal-fever/images/mina_opal-fever_image_{n}.jpg" for n in range(1, 1_201)]
    names += [f"Bo/characters/opal-fever/images/Bo_opal-fever_image_{number}.png" for number in range(1, 4)]
    for folder in {Path(name).parent for name in names}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_bytes(name.encode())


def digests(root: Path) -> dict[str, str]:
    """Every file with its content, but not what the store writes for itself."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".comfyledger"))
    return {str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


class Between:
    """Between the command line and the daemon: counts the pages asked for, and passes only so many on."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.cursors: list[str] = []
        self.pages_max = 2

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        async with serve(self._speak, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _speak(self, client: ServerConnection) -> None:
        url = self.house.daemon.url.replace("http", "ws", 1) + "/ws"
        headers = {"Authorization": f"Bearer {self.house.daemon.token}"}
        async with connect(url, additional_headers=headers, proxy=None, **PATIENT) as daemon:
            back = asyncio.create_task(self._answer(daemon, client))
            with contextlib.suppress(ConnectionClosed):
                async for frame in client:
                    await self._ask(frame, daemon)
            back.cancel()

    async def _ask(self, frame: str | bytes, daemon: ClientConnection) -> None:
        message = json.loads(frame)
        if message["type"] == "survey_store":
            self.cursors.append(message["data"].get("cursor", ""))
        if len(self.cursors) <= self.pages_max:
            await daemon.send(frame)

    @staticmethod
    async def _answer(daemon: ClientConnection, client: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in daemon:
                await client.send(frame)


async def command(house: House, url: str, *words: str) -> asyncio.subprocess.Process:
    """The command line as a process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COMFYLEDGER_")}
    program = (sys.executable, "-m", "comfyledger", "--state-dir", str(house.state), "--url", url, "import", "folder")
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*program, *words, stdout=pipe, stderr=pipe, env=environment)


async def imported(house: House, url: str, *words: str) -> tuple[int | None, dict[str, int], str]:
    """How an import ends, what it says, and what beside that."""
    process = await command(house, url, "--json", *words)
    out, aside = await process.communicate()
    return process.returncode, json.loads(out), aside.decode()


async def test_an_import_that_was_killed_goes_on_and_all_batches_after_it(house: House) -> None:
    place(house.images)
    before = digests(house.images)
    await house.begin()
    between = Between(house)
    async with between.listen() as url, house.app() as app:
        killed = await command(house, url)
        await until(lambda: len(between.cursors) > between.pages_max, "the third page is asked for")
        killed.kill()
        await killed.communicate()
        assert (await app.ask("server_info"))["position"] == 0

        between.pages_max = 100
        code, said, aside = await imported(house, url)
        assert code == 1, "the outlier is left to a person"
        assert "1,000 files" in aside
        assert between.cursors[0] == ""
        assert between.cursors[2] != ""
        assert between.cursors[3:] == between.cursors[2:3], "a page was read twice, or left out"
        assert (said["files"], said["others"], said["opened"]) == (1_263, 2, 2)
        assert digests(house.images) == before

        code, said, _ = await imported(house, url, "--accept-outlier")
        assert (code, said["opened"], said["unchanged"]) == (0, 1, 2)
        position = (await app.ask("server_info"))["position"]
        code, said, _ = await imported(house, url, "--accept-outlier")
        assert (code, said["opened"], said["raised"], said["unchanged"]) == (0, 0, 0, 3)
        assert (await app.ask("server_info"))["position"] == position == 3

        asked = [await app.submit(user, user, premade=user == "Mina") for user in ("Areg", "Mina", "Bo")]
        await app.settled(*(batch["batch_id"] for batch in asked))
        log = await app.log()
    assert [batch["numbers"][0] for batch in asked] == [58, 1_201, 20_251_123]
    assert len(of_kind(log, "series_raised")) == 3
    assert of_kind(log, "series_opened") == [], "a store was asked again"
    check_gap_free(log)
    after = digests(house.images)
    assert after.items() >= before.items()
    assert len(after) == len(before) + 9
