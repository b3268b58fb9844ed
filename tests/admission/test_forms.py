"""The forms that the file of a configured workflow may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

from comfyledger.admission.configured import made_ready, read_workflows
from comfyledger.settings import Limits, Settings, Workflow
from comfyledger.sim.comfyui.media.stills import animated_png, animated_webp
from support.graphs import diffusion, refusal


def settings_of(path: Path, content: bytes) -> Settings:
    path.write_bytes(content)
    return Settings(workflows={"w": Workflow(file=str(path))})


def picture(made: Any, graph: Any) -> bytes:
    content: bytes = made([Image.new("RGB", (4, 4), color) for color in ("red", "blue")], 8.0, {"prompt": graph})
    return content


@pytest.mark.parametrize("made", [animated_png, animated_webp])
def test_a_configured_picture_is_its_graph(tmp_path: Path, made: Any) -> None:
    prepared = made_ready(read_workflows(settings_of(tmp_path / "portrait", picture(made, diffusion())))["w"])
    assert prepared.graph == diffusion()
    assert prepared.plan.seeds == ("3.seed",)


def test_a_secret_in_a_picture_is_taken_out_of_the_graph(tmp_path: Path) -> None:
    graph = diffusion()
    graph["6"]["inputs"]["api_key"] = "sk-1"
    prepared = made_ready(read_workflows(settings_of(tmp_path / "p.png", picture(animated_png, graph)))["w"])
    assert prepared.plan.secrets == ("6.api_key",)
    assert b"sk-1" not in prepared.template


def test_the_size_of_a_graph_in_a_picture_is_limited(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "p.png", picture(animated_png, diffusion()))
    refused = refusal(read_workflows, replace(settings, limits=Limits(graph_bytes_max=100)))
    assert refused.code == "config_invalid"
    assert "[workflows.w]" in refused.message
    assert "graph_bytes_max" in refused.hint


def test_a_document_in_a_picture_may_be_as_large_as_one_in_a_file(tmp_path: Path) -> None:
    document = {"nodes": [{"id": 1, "type": "Note", "widgets_values": ["x" * 600]}]}
    pictures = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    settings = settings_of(tmp_path / "p.png", animated_png(pictures, 8.0, {"workflow": document}))
    limited = replace(settings, limits=Limits(graph_bytes_max=200))
    assert json.loads(read_workflows(limited)["w"].document or b"") == document
    assert refusal(read_workflows, replace(settings, limits=Limits(graph_bytes_max=50))).code == "config_invalid"


def test_what_a_configured_workflow_has_beside_its_nodes_is_told(tmp_path: Path) -> None:
    content = json.dumps({"input": {"webhook": "x", "workflow": {**diffusion(), "_comment": "c"}}}).encode()
    prepared = made_ready(read_workflows(settings_of(tmp_path / "p.json", content))["w"])
    assert "no nodes, left out: input.webhook, input.workflow._comment" in prepared.found
    assert prepared.plan.no_nodes == ("input.webhook", "input.workflow._comment")


def test_of_a_file_no_more_is_read_than_a_workflow_may_have() -> None:
    endless = Settings(workflows={"w": Workflow(file="/dev/zero")}, limits=Limits(graph_bytes_max=1_000))
    refused = refusal(read_workflows, endless)
    assert refused.code == "config_invalid"
    assert "The workflow has more than 8,003 bytes." in refused.message
