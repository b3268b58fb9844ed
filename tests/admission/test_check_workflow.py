"""`check_workflow` at the door of a daemon: it says what a submission says, and changes nothing."""

from __future__ import annotations

import http
import json
from typing import Any

import aiohttp
import pytest

from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.node_classes import NodeClasses

in_module = pytest.mark.asyncio(loop_scope="module")

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
DOCUMENT: dict[str, Any] = {
    "nodes": [
        {"id": 1, "type": "EmptyImage", "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
         "widgets_values": [64, 64, 1, 0]},
        {"id": 9, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
         "widgets_values": ["x"]},
    ],
    "links": [[1, 1, 0, 9, 0, "IMAGE"]],
    "version": 0.4,
}  # fmt: skip


def wrong(**inputs: Any) -> dict[str, Any]:
    return {**GRAPH, "1": {"class_type": "EmptyImage", "inputs": {**GRAPH["1"]["inputs"], **inputs}}}


@in_module
@pytest.mark.parametrize("workflow", [GRAPH, {"prompt": GRAPH}, DOCUMENT])
async def test_every_form_is_understood_and_changes_nothing(lasting_door: Any, workflow: Any) -> None:
    with lasting_door.unchanged():
        async with lasting_door.raw() as raw:
            data = (await raw.ask("check_workflow", workflow=workflow, strict=True, convert=True))["data"]
    assert (data["verdict"], data["checked"], data["batch_size"]) == ("accepted", "full", "1.batch_size")
    assert {node: one["inputs"] for node, one in data["graph"].items()} == {
        node: one["inputs"] for node, one in GRAPH.items()
    }


@in_module
@pytest.mark.parametrize(
    "workflow",
    [wrong(width=-1), wrong(width="wide"), {**GRAPH, "1": {"class_type": "Lacking", "inputs": {}}}, {"1": GRAPH["1"]}],
)
async def test_a_strict_check_says_what_a_submission_says(lasting_door: Any, workflow: Any) -> None:
    with lasting_door.unchanged():
        async with lasting_door.raw() as raw:
            report = (await raw.ask("check_workflow", workflow=workflow, strict=True))["data"]
            asked = {"request_id": "r", "username": "a", "character": "b", "quantity": 1, "workflow": workflow}
            error = (await raw.ask("submit_batch", **asked))["data"]
    assert report["verdict"] == "refused"
    assert [report[key] for key in ("code", "message", "hint")] == [error[key] for key in ("code", "message", "hint")]
    assert report.get("mistakes") == error.get("mistakes")


@in_module
async def test_without_strict_a_wrong_value_is_no_matter(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        report = (await raw.ask("check_workflow", workflow=wrong(width=-1)))["data"]
    assert (report["verdict"], report.get("graph")) == ("accepted", None)


@in_module
async def test_over_http_the_report_is_the_same(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        report = (await raw.ask("check_workflow", workflow=GRAPH, strict=True))["data"]
    headers = {"Authorization": f"Bearer {lasting_door.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{lasting_door.url}/v1/workflows/check", json={"workflow": GRAPH, "strict": True}, headers=headers
        ) as answer,
    ):
        assert answer.status == http.HTTPStatus.OK
        assert json.loads(await answer.read()) == report


@in_module
async def test_a_comfyui_that_cannot_be_asked_refuses_nothing(
    lasting_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(NodeClasses, "fresh", nothing)
    async with lasting_door.raw() as raw:
        report = (await raw.ask("check_workflow", workflow=wrong(width=-1), strict=True))["data"]
    assert (report["verdict"], report.get("checked")) == ("accepted", None)
    assert report["found"][-1] == checks.UNCHECKED
