"""`describe_workflow` at the door of a daemon: what it says is what a submission takes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.comfyui.node_classes import NodeClasses
from support.graphs import node
from support.waiting import until

in_module = pytest.mark.asyncio(loop_scope="module")

SECRET = "sk-abcdefghijklmnop"
MINE = {
    "1": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
    "2": node("LoadImage", image="not-there.png"),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
    "10": node("SaveImage", images=["2", 0], filename_prefix="x"),
}


def by_name(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["type"] == "result", answer
    return {one["name"]: one for one in answer["data"]["inputs"]}


async def seen(door: Any) -> None:
    every = door.context.node_classes.values()
    await until(lambda: all(one.known is not None for one in every), "every ComfyUI has said what it has")


async def describe(door: Any, workflow: str) -> dict[str, Any]:
    async with door.raw() as raw:
        return dict(await raw.ask("describe_workflow", workflow=workflow))


@in_module
async def test_a_sample_has_its_kinds_ranges_and_lists(lasting_door: Any) -> None:
    await seen(lasting_door)
    with lasting_door.unchanged():
        answer = await describe(lasting_door, "text-to-image")
    data, inputs = answer["data"], by_name(answer)
    assert list(inputs) == ["prompt", "negative", "checkpoint", "width", "height", "steps", "cfg"]
    assert [inputs[name]["kind"] for name in inputs] == ["text", "text", "choice", "int", "int", "int", "float"]
    assert inputs["checkpoint"]["default"] in inputs["checkpoint"]["choices"]
    assert (inputs["width"]["min"], inputs["width"]["step"], inputs["prompt"]["multiline"]) == (16, 8, True)
    assert (data["backends"], data["has_seed"], data["medium"]) == (["main"], True, "image")
    assert data["images_per_prompt_max"] == 64
    assert all(one["known"] for one in inputs.values())


@in_module
async def test_over_http_the_answer_is_the_same(lasting_door: Any) -> None:
    frame = await describe(lasting_door, "empty-image")
    headers = {"Authorization": f"Bearer {lasting_door.token}"}
    url = f"{lasting_door.url}/v1/workflows/empty-image/inputs"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert json.loads(await answer.read()) == frame["data"]


@in_module
async def test_a_workflow_that_is_not_there_is_refused_with_the_nearest(lasting_door: Any) -> None:
    data = (await describe(lasting_door, "empty-imag"))["data"]
    assert (data["code"], data["path"]) == ("unknown_workflow", "$.data.workflow")
    assert "'empty-image'" in data["hint"]


@in_module
async def test_while_no_comfyui_was_seen_the_values_alone_tell(
    lasting_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(NodeClasses, "known", None)
    monkeypatch.setattr(NodeClasses, "fresh", nothing)
    answer = await describe(lasting_door, "text-to-image")
    kinds = {name: (one["kind"], one.get("known", False)) for name, one in by_name(answer).items()}
    assert "backends" not in answer["data"]
    assert kinds["steps"] == ("int", False)
    assert kinds["checkpoint"] == ("text", False)


@pytest.fixture
def own(tmp_path: Path) -> str:
    """Sections of a configuration with workflows of its own."""
    files = {
        "own": MINE,
        "secret": {**MINE, "2": node("KeyedLoader", api_key=SECRET, password="", label="x"), "10": MINE["9"]},
    }
    for name, graph in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(graph))
    return """
        [workflows.own]
        file = "own.json"
        outputs = ["9", "10"]
        inputs = { width = "1.width", picture = "2.image" }
        [workflows.unnamed]
        file = "own.json"
        [workflows.secret]
        file = "secret.json"
        inputs = { width = "1.width", label = "2.label", password = "2.password" }
        [workflows.empty-image]
        file = "sample:empty-image"
    """


async def test_a_workflow_whose_file_is_to_be_given_can_be_run_and_says_what_it_needs(
    open_door: Any, tmp_path: Path, own: str
) -> None:
    async with open_door(tmp_path, own, top='default_workflow = "own"') as door:
        await seen(door)
        answer = await describe(door, "own")
        inputs = by_name(answer)
        assert answer["data"]["backends"] == ["main"]
        picture = inputs["picture"]
        assert (picture["kind"], picture["medium"], picture["required"]) == ("file", "image", True)
        assert not inputs["width"].get("required", False)
        assert [one["node"] for one in answer["data"]["outputs"]] == ["9", "10"]
        unnamed = await describe(door, "unnamed")
        assert unnamed["data"]["suggested"]
        assert {name: one["label"] for name, one in by_name(unnamed).items()} == {
            "1.width": "width",
            "1.height": "height",
        }
        secret = await describe(door, "secret")
        assert set(by_name(secret)) == {"width", "label"}
        assert SECRET not in json.dumps(secret)


async def test_of_two_comfyuis_only_what_both_take_is_offered(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, backends={"main": "", "other": ""}) as door:
        await seen(door)
        installed = door.sims["other"]._installed
        both = by_name(await describe(door, "text-to-image"))["checkpoint"]["choices"]
        installed.change({"checkpoints": [both[0], "only-there.safetensors"]}, None)
        classes = door.context.node_classes["other"]
        classes.renew(asyncio.get_running_loop().time())
        await classes.latest()
        found = await describe(door, "text-to-image")
        assert by_name(found)["checkpoint"]["choices"] == [both[0]]
        assert found["data"]["backends"] == ["main", "other"]
