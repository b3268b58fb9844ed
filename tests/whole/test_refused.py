"""Graphs that ComfyUI refuses and the daemon does not check: they fail at once in ComfyUI's words, others go on."""

from __future__ import annotations

import json
from typing import Any

from support.processes import House, in_between
from support.wire_app import coloured, of_kind

TEXT_CHARS_MAX = 2_000
UNCHECKED = "limits.check_workflows = 'off'"
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
    await house.begin(UNCHECKED, seconds_per_image=0.02)
    lacking = {"class_type": "NodeOfMine", "inputs": {}, "_meta": {"title": "Node of mine" + "x" * 5_000}}
    await check_refused(house, graph(lacking), "Node of mine")


async def test_a_200_with_errors_on_our_output_is_a_refusal(house: House) -> None:
    """A ComfyUI that does not know `partial_execution_targets` answers 200 when another output is valid."""
    await house.comfyui.begin()
    async with in_between(house.comfyui.url, asked=without_targets) as url:
        house.configure(UNCHECKED, url=url)
        await house.daemon.begin()
        valid: dict[str, Any] = {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        }
        bad = graph({"class_type": "EmptyImage", "inputs": {**valid["inputs"], "width": -3}})
        bad["2"] = valid
        bad["8"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
        await check_refused(house, bad, "width")


def without_targets(path: str, body: bytes) -> bytes:
    """What a ComfyUI reads that does not know `partial_execution_targets`."""
    if path != "/prompt":
        return body
    sent = json.loads(body)
    del sent["partial_execution_targets"]
    return json.dumps(sent).encode()
