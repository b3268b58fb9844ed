"""Graphs that ComfyUI refuses: their batch fails at once in ComfyUI's own words, and the others go on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from whole_house import House, coloured, of_kind

TEXT_CHARS_MAX = 2_000
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}


def graph(image: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"1": image, "9": SAVE, **more}


async def check_refused(house: House, bad: dict[str, Any], said: str) -> None:
    async with house.app() as app:
        good = await app.submit("good", images=coloured(10))
        asked = await app.submit("bad", "Mina", quantity=5, workflow=bad, inputs={})
        (batch, going_on) = await app.settled(asked["batch_id"], good["batch_id"])
        events = [event for event in await app.log() if event["stream"] == asked["batch_id"]]
    assert (batch["failed"], batch["stored"]) == (5, 0)
    assert going_on["stored"] == 10
    assert said in batch["images"][0]["text"]
    assert all(len(image["text"]) <= TEXT_CHARS_MAX for image in batch["images"])
    (refused, *_) = of_kind(events, "prompt_refused")
    assert said in refused["texts"][refused["data"]["words"]]
    attempts = {event["data"]["attempt"] for event in of_kind(events, "prompt_submitting")}
    assert attempts == {1}, "a refused graph was sent again"


async def test_a_graph_with_a_node_that_comfyui_lacks_fails_at_once(house: House) -> None:
    await house.begin(seconds_per_image=0.02)
    await check_refused(house, graph({"class_type": "NodeOfMine" + "x" * 5_000, "inputs": {}}), "NodeOfMine")


async def test_a_200_with_errors_on_our_output_is_a_refusal(house: House) -> None:
    """A ComfyUI that does not know `partial_execution_targets` answers 200 when another output is valid."""
    await house.comfyui.begin()
    async with older_comfyui(house.comfyui.url) as url:
        house.configure(url=url)
        await house.daemon.begin()
        valid = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
        bad = graph({"class_type": "EmptyImage", "inputs": {**valid["inputs"], "width": -3}})
        bad["2"] = valid
        bad["8"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
        await check_refused(house, bad, "width")


@asynccontextmanager
async def older_comfyui(url: str) -> AsyncIterator[str]:
    """The stand-in as it would be without `partial_execution_targets`."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        if request.path == "/ws":
            raise web.HTTPTemporaryRedirect(f"{url.replace('http', 'ws', 1)}{request.path_qs}")
        body = await request.read()
        if request.path == "/prompt":
            sent = json.loads(body)
            del sent["partial_execution_targets"]
            body = json.dumps(sent).encode()
        async with session.request(request.method, url + request.path_qs, data=body) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        async with aiohttp.ClientSession() as session:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
