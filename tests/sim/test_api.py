"""Answers of the stand-in that no recording holds."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from comfyledger.comfyui import answers
from comfyledger.comfyui import messages as m
from comfyledger.sim.comfyui import prompt_queue
from comfyledger.sim.comfyui.server import SimOptions, serve
from support.waiting import DEADLINE_S


async def test_the_front_and_small_numbers_run_first(box: Any) -> None:
    await box.control(hold=["queue"])
    last = await box.submit(box.graph(1), number=7)
    first = await box.submit(box.graph(2), number=0.5)
    await box.submit(box.graph(3))
    front = await box.submit(box.graph(4), front=True)
    assert answers.parse_queue((await box.get("/queue"))[1]).pending[0] == front
    await box.control(hold=[])
    await box.finished(last)
    order = [ran["prompt_id"] for ran in (await box.ledger())["prompts"]]
    assert order[0] == front
    assert order.index(first) < order.index(last) == 3


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 404),
        ({"filename": "nope.png"}, 404),
        ({"filename": "../secret"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "a.png", "type": "elsewhere"}, 400),
        ({"filename": "a.png", "subfolder": "../.."}, 403),
        ({"filename": "a.png", "subfolder": "/etc"}, 403),
    ],
)
async def test_view_stays_in_its_folders(box: Any, params: dict[str, str], status: int) -> None:
    assert await box.get("/view", **params) == (status, b"")


async def test_a_long_chain_runs(box: Any) -> None:
    chain = box.graph()
    last = "1"
    for k in range(1_500):
        inputs = {"image": [last, 0], "blur_radius": 1, "sigma": 1.0}
        last = f"b{k}"
        chain[last] = {"class_type": "ImageBlur", "inputs": inputs}
    chain["9"]["inputs"]["images"] = [last, 0]
    assert (await box.finished(await box.submit(chain))).ended == "success"


async def test_everything_is_there_under_api_as_well(box: Any) -> None:
    for path in (
        "/prompt",
        "/queue",
        "/history",
        "/features",
        "/system_stats",
        "/object_info",
        "/object_info/KSampler",
    ):
        plain, prefixed = await box.get(path), await box.get(f"/api{path}")
        assert plain == prefixed
        assert plain[0] == 200
    assert json.loads((await box.get("/object_info/NoSuchNode"))[1]) == {}
    assert json.loads((await box.get("/system_stats"))[1])["system"]["comfyui_version"] == "0.33.0"


async def test_a_client_that_comes_back_hears_where_its_prompt_is(box: Any) -> None:
    await box.control(hold=["in_node"])
    prompt_id = await box.submit(box.graph())
    await box.held_at("in_node")
    async with box.connect() as socket:
        assert m.parse_text(await socket.recv()) == m.Status(1, "me")
        assert m.parse_text(await socket.recv()) == m.Executing("", "1")
    await box.control(hold=[])
    await box.finished(prompt_id)


@pytest.mark.parametrize(
    ("box", "asked_for", "some"),
    [
        ({}, None, False),
        ({}, "auto", True),
        ({}, "default", False),
        ({"preview_method": "auto"}, None, True),
        ({"preview_method": "auto"}, "none", False),
        ({"preview_method": "latent2rgb"}, "nonsense", True),
    ],
    indirect=["box"],
)
async def test_previews_come_if_the_server_or_the_prompt_says_so(box: Any, asked_for: str | None, some: bool) -> None:
    """As `set_preview_method` of ComfyUI 0.29.0 decides."""
    extra = {"extra_data": {"preview_method": asked_for}} if asked_for else {}
    frames: list[Any] = []
    async with box.connect() as socket, asyncio.timeout(DEADLINE_S):
        await box.submit(box.sampled(7), **extra)
        while not (frames and isinstance(frames[-1], str) and "execution_success" in frames[-1]):
            frames.append(await socket.recv())
    assert any(isinstance(frame, bytes) for frame in frames) is some


async def test_the_history_is_bounded(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_queue, "HISTORY_MAX", 3)
    prompt_ids = [await box.submit(box.graph(color)) for color in range(5)]
    await box.finished(prompt_ids[-1])
    assert list(json.loads((await box.get("/history"))[1])) == prompt_ids[-3:]
    await box.post("/history", {"clear": True})
    assert (await box.get("/history"))[1] == b"{}"


async def test_pictures_follow_the_seed_alone(box: Any) -> None:
    rows = []
    for seed in (5, 6, 5):
        (file,) = (await box.finished(await box.submit(box.sampled(seed)))).outputs["9"]
        with Image.open(box.output / file.subfolder / file.filename) as image:
            # Two rows, because further down the file's own name is drawn.
            rows.append(image.crop((0, 0, 64, 2)).tobytes())
        await box.control(forget=True)
    assert rows[0] == rows[2] != rows[1]


@pytest.mark.parametrize("disabled", [True, False])
async def test_files_carry_their_graph_unless_that_is_disabled(tmp_path: Path, disabled: bool, box: Any) -> None:
    options = SimOptions(output=tmp_path / "other", disable_metadata=disabled)
    async with await serve(options) as sim:
        box.sim = sim
        await box.finished(
            await box.submit(box.graph(prefix="x"), extra_data={"extra_pnginfo": {"workflow": {"a": 1}}})
        )
    with Image.open(tmp_path / "other" / "x_00001_.png") as image:
        texts = {} if disabled else {"prompt", "workflow"}
        assert set(image.text) == set(texts)  # type: ignore[attr-defined]


async def test_the_command_says_where_it_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "comfyledger.sim", "comfyui", "--port", "0", "--output", str(tmp_path / "out")]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=dict(os.environ))
    try:
        assert process.stdout
        where = json.loads(await asyncio.wait_for(process.stdout.readline(), DEADLINE_S))
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{where['url']}/prompt") as response:
                assert response.status == 200
            async with http.get(f"{where['control']}/ledger") as response:
                assert [r["path"] for r in (await response.json())["requests"]] == ["/prompt"]
    finally:
        process.terminate()
        assert await process.wait() == 0
