"""What docs/http.md shows and the examples over HTTP, done with curl and Node against a real daemon."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.documents import HTTP, ROOT, blocks
from support.processes import House
from support.spool_files import image
from support.waiting import DEADLINE_S
from support.wire_app import Frame, of_kind

CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
NODE = pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")


@asynccontextmanager
async def running(house: House, *command: str, text: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that finds the daemon as the documents say. curl fails where it is refused."""
    (house.folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\nno-buffer\n")
    environment = {
        **os.environ,
        "COMFYLEDGER_STATE_DIR": str(house.state),
        "CURL_HOME": str(house.folder),
        "TOKEN": house.daemon.token,
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, env=environment, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # a shell and what it runs
            await process.wait()


async def output(house: House, *command: str, text: str = "") -> str:
    """What a program prints. It must end well."""
    async with running(house, *command, text=text) as process:
        told, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode == 0, told.decode()
        return told.decode()


def here(house: House, block: str) -> str:
    """A block as it must be for the house's folder, port and picture."""
    placed = block.replace("~/.local/state/comfyledger", str(house.state)).replace("~/", f"{house.folder}/")
    return placed.replace("http://127.0.0.1:9831", house.daemon.url)


def without_addresses(batch: Frame) -> Frame:
    """A batch but for its signed addresses, which are made anew each time."""
    images = [{name: value for name, value in one.items() if name != "file_url"} for one in batch["images"]]
    return {**batch, "images": images}


def marked(mark: str, language: str) -> list[str]:
    return [body for found, body in blocks(HTTP, language) if found == f"run: {mark}"]


@CURL
async def test_every_line_of_curl_that_is_shown_does_what_it_says(house: House) -> None:
    await house.begin()
    (house.folder / "portrait.png").write_bytes(image())
    script = "\n".join(["set -e; shopt -s expand_aliases", *(here(house, block) for block in marked("curl", "bash"))])
    first, again, *more = map(json.loads, (await output(house, "bash", text=script)).splitlines())
    assert without_addresses(first) == without_addresses(again)
    assert (first["status"], first["stored"]) == ("settled", 2)
    assert len(more) == 10
    assert more[-1]["inputs"][0]["input"] == more[-2]["input"]
    assert len(house.stored()) == len(house.comfyui.posted()) == 2


@CURL
async def test_the_stream_that_is_shown_has_the_event_that_is_shown(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        batch = await app.submit("r1", quantity=2)
        await app.settled(batch["batch_id"])
    (block,) = marked("stream", "bash")
    shown = next(body for _, body in blocks(HTTP, "text") if body.startswith("retry: "))
    async with running(house, "bash", text=f"exec 2>&1\n{here(house, block)}") as process:
        assert process.stdout is not None
        names = [line.partition(":")[0] for line in shown.splitlines()]
        lines = [await asyncio.wait_for(process.stdout.readline(), DEADLINE_S) for _ in names]
    told = [line.decode().rstrip("\n") for line in lines]
    assert [line.partition(":")[0] for line in told] == names
    assert told[0] == shown.splitlines()[0]
    data = [json.loads(text[-1].removeprefix("data: ")) for text in (told, shown.splitlines())]
    assert data[0].keys() == data[1].keys()
    assert data[0]["data"].keys() == data[1]["data"].keys()


@NODE
async def test_the_lines_of_node_that_are_shown_wait_for_a_batch(house: House) -> None:
    await house.begin()
    (block,) = marked("node", "js")
    told = await output(house, "node", "--input-type=module", "-", text=here(house, block))
    assert told.splitlines() == [f"stored {name}" for name in sorted(house.stored())]
    assert len(told.splitlines()) == 2


@CURL
async def test_the_script_waits_for_its_batch_and_gets_it_again(house: House) -> None:
    await house.begin()
    script = [str(ROOT / "examples" / "submit_and_wait.sh"), "order-1", "Areg", "Opal Fever", "2"]
    first, again = [json.loads(await output(house, *script)) for _ in range(2)]
    assert without_addresses(first) == without_addresses(again)
    assert first["stored"] == len(house.stored()) == len(house.comfyui.posted()) == 2
    async with running(house, *script[:-1], "3") as process:
        told, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert (process.returncode, json.loads(told)["code"]) == (1, "request_id_conflict")


@NODE
async def test_the_example_in_node_follows_its_batch_over_a_killed_daemon(house: House) -> None:
    await house.begin(seconds_per_image=0.15)
    example = [str(ROOT / "examples" / "follow_a_batch.mjs"), "order-1001", "Areg", "Opal Fever", "6"]
    async with running(house, "node", *example) as process:
        assert process.stdout is not None
        lines = [(await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)).decode() for _ in range(2)]
        house.daemon.signal(signal.SIGKILL)
        await house.daemon.begin()
        rest = await asyncio.wait_for(process.stdout.read(), DEADLINE_S)
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    lines += rest.decode().splitlines(keepends=True)
    assert lines[0] == "numbers 1 2 3 4 5 6\n"
    stored = [Path(line.strip().removeprefix("stored file://")) for line in lines[1:]]
    assert sorted(stored) == sorted(house.stored().values())
    async with house.app() as app:
        assert len(of_kind(await app.log(), "batch_requested")) == 1
